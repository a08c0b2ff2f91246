"""Whether the daemon really works: its queue moves, its store answers, its executor answers. Feeds systemd, and only then."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from rdagentd.core.engine import BEHIND
from rdagentd.model.container import Way
from rdagentd.model.worker import State
from rdagentd.supervisor.supervisor import Supervisor

Notify = Callable[[str], None]

_STATUS_INTERVAL = 1.0
"""Least seconds between two STATUS lines."""


class Watchdog:
    """Each `tick` looks back at the last: what was asked then must have been answered. All well: `notify("WATCHDOG=1")`.

    patience: seconds that a batch of events may wait for the database.
    """

    def __init__(self, supervisor: Supervisor, notify: Notify, patience: float) -> None:
        self._supervisor = supervisor
        self._notify = notify
        self._patience = patience
        self._asked = False
        self._answered = True

    def pong(self) -> None:
        """The executor answered."""
        self._answered = True

    def tick(self) -> str | None:
        """Looks, tells systemd if all is well, and asks anew. Returns what is wrong, None if nothing."""
        problem = self._problem()
        if problem is None:
            self._notify("WATCHDOG=1")
        self._answered = False
        self._asked = self._supervisor.driver.facts() is not None
        self._supervisor.driver.ping()
        return problem

    def _problem(self) -> str | None:
        supervisor = self._supervisor
        if supervisor.stuck > self._patience:
            return f"the event queue does not move: the state database has not answered for {supervisor.stuck:.0f} s"
        if not supervisor.store.alive():
            return "the state database's writer has died"
        if self._asked and not self._answered:
            return "the executor does not answer"
        return None


def watchdog_interval(environ: Any = os.environ) -> float | None:
    """Seconds between two ticks: half of what systemd waits (sd_watchdog_enabled(3)); None if it does not watch us."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6


def status_line(supervisor: Supervisor) -> str:
    """What `systemctl status` shows: "37 running, 3 waiting, 1 failed"."""
    counts = Counter(_SHOWN[worker.state] for worker in supervisor.engine.workers.values())
    parts = [
        f"{counts[word]} {word}" for word in ("running", "paused", "waiting", "stopping", "failed") if counts[word]
    ]
    if supervisor.engine.pressure.held:
        parts.append("held by pressure on the host")
    if supervisor.store_error:
        parts.append("cannot write its state")
    if supervisor.driver.facts() is None:
        parts.append("no executor")
    for way in (Way.DOCKER, Way.SOCKET):
        trouble = supervisor.engine.away.get(way)
        if trouble and any(worker.spec.way is way for worker in supervisor.engine.workers.values()):
            parts.append(f"{BEHIND[way]} {trouble}")
    return ", ".join(parts) or "idle"


_SHOWN = {
    State.QUEUED: "waiting",
    State.BACKOFF: "waiting",
    State.STARTING: "running",
    State.RUNNING: "running",
    State.PAUSED: "paused",
    State.STOPPING: "stopping",
    State.STOPPED: "stopped",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
}


class StatusTeller:
    """Tells systemd the status line after changes, at most once a second; wakes up for nothing else."""

    def __init__(self, supervisor: Supervisor, notify: Notify) -> None:
        self._supervisor = supervisor
        self._notify = notify
        self._last = ""
        self._handle: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Something changed."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(_STATUS_INTERVAL, self._tell)

    def _tell(self) -> None:
        self._handle = None
        line = status_line(self._supervisor)
        if line != self._last:
            self._last = line
            self._notify(f"STATUS={line}")
