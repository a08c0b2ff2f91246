"""What is left of a container is ended without asking its engine, which may not know of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.executor import proc
from rdagentd.executor.evict import evict
from tests.engine import IMAGE, Engine
from tests.executor.conftest import Executor
from tests.harness import eventually

PROGRAM = "setsid sleep 600 & sleep 600 & exec sleep 600"
OTHER = "0" * 64


@pytest.fixture
def containers(engine: Engine) -> Iterator[list[str]]:
    """Two that run, each with three processes."""
    made = []
    for _ in range(2):
        settings = {"Image": IMAGE, "Cmd": ["sh", "-c", PROGRAM], "HostConfig": {"NetworkMode": "none"}}
        made.append(engine.call("POST", "/containers/create", settings)["Id"])
        engine.call("POST", f"/containers/{made[-1]}/start")
        eventually(lambda: len(_processes(made[-1])) == 4, "its processes, and their shim")
    yield made
    engine.remove_containers()


def _processes(container: str) -> list[int]:
    """By the environment of what runs in it, and by the shim's arguments."""
    mark, found = f"HOSTNAME={container[:12]}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in told or (b"containerd-shim" in told and container.encode() in told):
            found.append(int(path.name))
    return found


def _gone(pids: list[int]) -> bool:
    """As `evict` counts: one that is about to be a zombie is there."""
    return all(stat is None or stat.state == "Z" for stat in map(proc.stat, pids))


def test_all_of_one_container_ends_and_nothing_of_another(containers: list[str]) -> None:
    one, other = containers
    mine, theirs = _processes(one), _processes(other)
    assert evict(one) > 0  # the kernel may end the others with the first of them: pid_namespaces(7)
    eventually(lambda: _gone(mine), "its processes to end")
    assert evict(one) == 0 and _processes(other) == theirs and not _gone(theirs)


def test_one_that_nothing_is_left_of_is_told_as_such() -> None:
    assert evict(OTHER) == 0


def test_the_executor_answers_how_many_there_were(executor: Executor, containers: list[str]) -> None:
    assert executor.client is not None
    pids = _processes(containers[0])
    assert executor.client.ask("evict", "evicted", container=containers[0])["found"] > 0
    eventually(lambda: _gone(pids), "its processes to end")
    assert executor.client.ask("evict", "evicted", container=containers[0])["found"] == 0


@pytest.mark.parametrize("name", ["", "/", "a" * 63, "A" * 64, "g" * 64, 7, None])
def test_what_is_no_container_s_id_is_refused(executor: Executor, name: object) -> None:
    """A shorter text would be found in the cgroups of others."""
    assert executor.client is not None
    refused = executor.client.ask("evict", "refused", container=name)
    assert refused["reason"].startswith("cannot do evict: container is wrong")
