"""Deadlines of workers, on the loop's monotonic clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rdagentd.core.events import Due, Timer


class Timers:
    """At most one deadline per worker and timer; `fire` gets the event when it comes."""

    def __init__(self, fire: Callable[[Due], None]) -> None:
        self._fire = fire
        self._handles: dict[tuple[str, Timer], asyncio.TimerHandle] = {}

    def arm(self, worker: str, timer: Timer, at: float) -> None:
        """Sets or moves a deadline to monotonic time `at`."""
        self.disarm(worker, timer)
        loop = asyncio.get_running_loop()
        self._handles[worker, timer] = loop.call_at(at, self._due, Due(worker, timer, at))

    def disarm(self, worker: str, timer: Timer) -> None:
        """Drops a deadline, if there is one."""
        handle = self._handles.pop((worker, timer), None)
        if handle:
            handle.cancel()

    def _due(self, event: Due) -> None:
        self._handles.pop((event.worker, event.timer), None)
        self._fire(event)
