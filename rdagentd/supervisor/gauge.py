"""Reads the pressure on the host (/proc/pressure): when the executor says that a trigger fired, or at the time that was set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from attrs import asdict

from rdagentd.core import events as ev
from rdagentd.model.requests import Thresholds

PLACE = Path("/proc/pressure")

_PER_CENT = 100_000
"""Microseconds that are one per cent of the 10 seconds of a trigger."""


def stalls(thresholds: Thresholds) -> dict[str, int]:
    """When the kernel is to wake us, by resource: as soon as the lower of its thresholds is passed within 10 seconds.

    An average over 60 seconds only rises above its threshold while what it is made of is above it.
    """
    lowest: dict[str, float] = {}
    for name, most in asdict(thresholds).items():
        resource = name.partition("_")[0]
        if most is not None:
            lowest[resource] = min(most, lowest.get(resource, most))
    return {resource: round(most * _PER_CENT) for resource, most in lowest.items()}


def averages(resource: str, text: str) -> dict[str, float]:
    """`some avg10=1.23 avg60=… ` by the names of Thresholds. Raises ValueError."""
    words = dict(word.split("=") for word in text.partition("\n")[0].removeprefix("some ").split())
    return {f"{resource}_{seconds}s": float(words.get(f"avg{seconds}", "")) for seconds in (10, 60)}


class Gauge:
    """Makes events of what it reads."""

    def __init__(self, post: Callable[[ev.Event], None], thresholds: Thresholds, place: Path = PLACE) -> None:
        self._post = post
        self._place = place
        self._no_trigger = ""
        self._unreadable = ""
        self._told = ""
        self._timer: asyncio.TimerHandle | None = None
        self.watch(thresholds)

    def watch(self, thresholds: Thresholds) -> None:
        """Reads what these thresholds are about from now on, and now."""
        self._resources = tuple(stalls(thresholds))
        self.look()

    def look(self, triggered: bool = False) -> None:
        """Reads."""
        found: dict[str, float] = {}
        self._unreadable = ""
        for resource in self._resources:
            path = self._place / resource
            try:
                found |= averages(resource, path.read_text())
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not what psi.rst says"
                self._unreadable = f"pressure on this host is not seen: cannot read {path}: {reason}"
        self._tell()
        self._post(ev.PressureRead(found, triggered))

    def look_at(self, at: float) -> None:
        """Reads at monotonic time `at`, and not at the time that was set before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self.look)

    def unseen(self, problem: str) -> None:
        """Why no trigger can be set; "": they are being set."""
        self._no_trigger = problem
        self._tell()

    def _tell(self) -> None:
        problem = (self._unreadable or self._no_trigger) if self._resources else ""
        if problem != self._told:
            self._told = problem
            self._post(ev.PressureUnseen(problem))
