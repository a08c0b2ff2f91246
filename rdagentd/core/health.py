"""When a run is asked whether it is well, and what is known of it at its beginning. Pure.

The times are a function of the clock, not of the probe before: nothing has to be kept for each probe, a restart of the daemon
moves none, and none is made up for. Each worker has its own place within the interval, so that a thousand that were started
at once, or are taken up at once by a new daemon, are not asked at once.
"""

from __future__ import annotations

from math import floor
from typing import Any
from zlib import crc32

from attrs import frozen

from rdagentd.model.health import Check, Health, Probe
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker

QUICK = 5.0
"""Seconds between two probes of a run that has not been well yet, as Docker's start_interval."""


@frozen
class Schedule:
    """begin, settles: monotonic times; until it settles failures do not count, and it is asked every QUICK seconds.

    interval: seconds. phase: its place within an interval, 0 to 1.
    """

    begin: float
    settles: float
    interval: float
    phase: float

    def after(self, now: float) -> float:
        """The first time after `now`."""
        if now < self.settles:
            at = self._after(now, min(QUICK, self.interval))
            if at < self.settles:
                return at
        return self._after(max(now, self.settles), self.interval)

    def _after(self, now: float, step: float) -> float:
        count = floor((now - self.begin) / step - self.phase) + 1
        at = self.begin + (count + self.phase) * step
        return at if at > now else at + step


def schedule(worker: Worker, check: Check) -> Schedule | None:
    """When it is to be asked; None while it is not: only a run that runs is."""
    health = worker.spec.health
    if health is None or worker.state is not State.RUNNING:
        return None
    probe = health.probe(check)
    if probe is None:
        return None
    begin = worker.probed_from
    settles = begin + max(probe.start_period, probe.interval) if _is_new(worker, check, probe) else begin
    return Schedule(begin, settles, probe.interval, crc32(f"{check} {worker.name}".encode()) / 2**32)


def _is_new(worker: Worker, check: Check, probe: Probe) -> bool:
    """Whether it has neither been well yet, nor been found wanting."""
    if check is Check.HEALTH:
        return worker.health is Health.STARTING
    return not worker.found_ready and worker.unready < probe.retries


def unknown(spec: Spec | None, now: float = 0.0) -> dict[str, Any]:
    """What is known of a run at its beginning, as fields of the worker. spec: None while there is no run."""
    health = spec.health if spec is not None else None
    asked = health is not None and health.probe(Check.HEALTH) is not None
    state = Health.STARTING if asked else Health.NONE
    return {
        "health": state, "found_ready": False, "failures": 0, "unready": 0, "ailment": "", "probed_from": now,
    }  # fmt: skip
