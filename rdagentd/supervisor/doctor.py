"""What this host lets the daemon keep of its promises: one finding each, in the order in which a person would look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from rdagentd.core.engine import BEHIND, Engine
from rdagentd.core.pool import RESOURCES, level
from rdagentd.drivers.limits import Unmet
from rdagentd.model.container import Container, DriverName, Way
from rdagentd.model.spec import DeviceRate, Limits, Spec

BWRAP = "/usr/bin/bwrap"
"""Where the executor looks for it."""

_ALL = Limits(
    memory=1, memory_high=1, swap=0, cpu=1.0, cpu_weight=1, cpuset="0", tasks=1, io_weight=1, io_max=(DeviceRate("/"),)
)
"""Every limit of a run as a whole."""

_ASKING = {
    DriverName.PROCESS: Spec("doctor", ("true",), limits=_ALL),
    DriverName.DOCKER: Spec(
        "doctor",
        driver=DriverName.DOCKER,
        container=Container("doctor"),
        limits=evolve(_ALL, io_weight=None, io_max=()),
    ),
}
"""Asks for everything that a driver may be asked for."""


@frozen
class Finding:
    """state: "ok", "missing" (somebody counts on it), or "absent" (nobody does)."""

    subject: str
    state: str
    text: str


def examine(
    engine: Engine, unmet: Callable[[Spec], Sequence[Unmet]], store_error: str | None, bwrap: str = BWRAP
) -> list[Finding]:
    """All findings. unmet: which limits of a spec cannot be enforced, by the drivers; bwrap: where it is to be."""
    return [
        Finding("state", "missing" if store_error else "ok", store_error or "can be written"),
        *_way(engine, Way.PROCESS, "executor"),
        *_limits(engine, unmet, DriverName.PROCESS, "limits of processes"),
        *_way(engine, Way.DOCKER, "Docker"),
        *_limits(engine, unmet, DriverName.DOCKER, "limits of containers"),
        *_way(engine, Way.SOCKET, "Docker proxy"),
        _isolation(engine, bwrap),
        Finding("pressure", "missing", engine.pressure.problem)
        if engine.pressure.problem
        else Finding("pressure", "ok", "is seen"),
        _host(engine),
    ]


def _way(engine: Engine, way: Way, subject: str) -> Iterator[Finding]:
    if way not in engine.away:
        yield Finding(subject, "ok", "answers")
        return
    used = way is Way.PROCESS or any(way in (worker.spec.driver, worker.spec.way) for worker in engine.workers.values())
    text = f"{BEHIND[way]} {engine.away[way]}"
    yield Finding(subject, "missing", text) if used else Finding(subject, "absent", f"{text}; no worker needs it")


def _limits(
    engine: Engine, unmet: Callable[[Spec], Sequence[Unmet]], driver: DriverName, subject: str
) -> Iterator[Finding]:
    if driver in engine.away:
        return  # nobody can tell
    lacking = unmet(_ASKING[driver])
    if not lacking:
        yield Finding(subject, "ok", "all can be enforced")
    specs = [worker.spec for worker in engine.workers.values() if worker.spec.driver is driver]
    used = {limit.field for spec in specs for limit in unmet(spec)}
    for limit in lacking:
        if limit.field in used:
            yield Finding(subject, "missing", limit.text)
        else:
            yield Finding(subject, "absent", f"{limit.text}; no worker needs it")


def _isolation(engine: Engine, bwrap: str) -> Finding:
    if os.access(bwrap, os.X_OK):
        return Finding("isolation", "ok", f"{bwrap} is there")
    used = any(worker.spec.isolation.confines for worker in engine.workers.values())
    text = f"there is no {bwrap}: install bubblewrap"
    return (
        Finding("isolation", "missing", text) if used else Finding("isolation", "absent", f"{text}; no worker needs it")
    )


def _host(engine: Engine) -> Finding:
    """What requests are admitted by."""
    pool = engine.queue.ledger.all
    told = [f"{level(resource, pool.has(resource))} {_UNITS[resource]}" for resource in RESOURCES]
    return Finding("host", "ok", f"has {', '.join(told)} to give away")


_UNITS = {"memory": "of memory", "cpu": "CPUs", "disk": "of disk", "gpus": "GPUs"}
