"""What is told of the host: each thing that can be missing, and whether somebody counts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rdagentd.core.engine import Engine
from rdagentd.drivers.docker_options import unmet as unmet_in_docker
from rdagentd.drivers.limits import Unmet
from rdagentd.drivers.limits import unmet as unmet_in_cgroup
from rdagentd.executor.cgroup import FILES
from rdagentd.model.container import Container, DriverName, Way
from rdagentd.model.isolation import Isolation
from rdagentd.model.requests import Capacity, Gpu
from rdagentd.model.spec import Limits, Spec
from rdagentd.model.worker import Worker
from rdagentd.supervisor.doctor import examine
from tests.supervisor.test_rows import engine_with

WHOLE = {"files": sorted(FILES), "problem": ""}
CONTAINED = Spec("b", driver=DriverName.DOCKER, container=Container("image"), limits=Limits(cpu=1.0))
ENGINE = dict.fromkeys(("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit"), True)


def asked(cgroup: dict[str, Any] = WHOLE, docker: dict[str, bool] = ENGINE) -> Any:
    """The drivers of a host whose executor and Docker engine can enforce so much."""

    def unmet(spec: Spec) -> list[Unmet]:
        contained = spec.driver is DriverName.DOCKER
        return unmet_in_docker(spec.limits, docker) if contained else unmet_in_cgroup(spec.limits, cgroup)

    return unmet


def found(engine: Engine, unmet: Any = None, store_error: str | None = None, bwrap: str = "/bin/sh") -> dict[str, str]:
    """Subject → state and text of what is not as it should be."""
    findings = examine(engine, unmet or asked(), store_error, bwrap)
    return {one.subject: f"{one.state}: {one.text}" for one in findings if one.state != "ok"}


def test_a_host_that_has_everything_lacks_nothing() -> None:
    engine = engine_with()
    engine.queue.offer(Capacity(8 << 30, 2.0, 1 << 30, (Gpu("0"),)))
    assert found(engine) == {}
    told = {one.subject: one.text for one in examine(engine, asked(), None, "/bin/sh")}
    assert told["host"] == "has 8 GiB of memory, 2 CPUs, 1 GiB of disk, 1 GPUs to give away"
    assert told["limits of processes"] == told["limits of containers"] == "all can be enforced"


def test_each_limit_that_cannot_be_enforced_is_named_with_what_follows() -> None:
    lame = {"files": sorted(FILES - {"io.weight"}), "problem": ""}
    text = "limits.io_weight cannot be enforced: this kernel has no io.weight; runs go without"
    assert found(engine_with(), asked(lame)) == {"limits of processes": f"absent: {text}; no worker needs it"}
    others = (Worker("a", Spec("a", ("true",), limits=Limits(tasks=9)), 0), Worker("b", CONTAINED, 0))
    assert found(engine_with(*others), asked(lame))["limits of processes"].startswith("absent: ")
    weighed = Worker("w", Spec("w", ("true",), limits=Limits(io_weight=9)), 0)
    assert found(engine_with(*others, weighed), asked(lame)) == {"limits of processes": f"missing: {text}"}
    none = {"files": [], "problem": "this host has no cgroups"}
    told = [one.text for one in examine(engine_with(), asked(none), None) if one.subject == "limits of processes"]
    assert len(told) == len(FILES - {"memory.oom.group"})
    assert told[0].startswith("limits.memory cannot be enforced: this host has no cgroups; so no run is started")
    swapless = found(engine_with(), asked(docker={**ENGINE, "SwapLimit": False}))
    assert "this Docker engine has no SwapLimit" in swapless["limits of containers"]


@pytest.mark.parametrize(
    ("way", "subject", "spec"),
    [
        (Way.DOCKER, "Docker", Spec("w", ("true",), driver=DriverName.DOCKER)),
        (Way.SOCKET, "Docker proxy", Spec("w", ("true",), docker_socket=True)),
    ],
)
def test_what_no_worker_needs_is_absent_and_no_fault(way: Way, subject: str, spec: Spec) -> None:
    engine = engine_with()
    engine.away = {way: "cannot be reached since noon"}
    assert found(engine)[subject].startswith("absent: the Docker ")
    engine = engine_with(Worker("w", spec, 0))
    engine.away = {way: "cannot be reached since noon"}
    assert found(engine)[subject].startswith("missing: the Docker ")
    assert found(engine)[subject].endswith("cannot be reached since noon")


def test_without_an_executor_nobody_tells_of_limits() -> None:
    engine = engine_with()
    engine.away = {Way.PROCESS: "cannot be reached"}
    assert found(engine) == {"executor": "missing: the executor cannot be reached"}
    assert "limits of processes" not in {one.subject for one in examine(engine, asked(), None)}


def test_a_state_that_cannot_be_written_and_pressure_that_is_not_seen_are_told() -> None:
    engine = engine_with()
    engine.pressure = evolve(engine.pressure, problem="pressure on this host is not seen")
    told = found(engine, store_error="no space left on device")
    assert told == {
        "state": "missing: no space left on device",
        "pressure": "missing: pressure on this host is not seen",
    }


def test_bubblewrap_is_missing_where_a_worker_is_confined(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "bwrap")
    assert found(engine_with(), bwrap=nowhere)["isolation"].startswith("absent: ")
    confined = Worker("w", Spec("w", ("true",), isolation=Isolation(network=False)), 0)
    assert found(engine_with(confined), bwrap=nowhere)["isolation"].startswith("missing: ")
