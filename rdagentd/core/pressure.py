"""Whether the host is too busy to start anything, with hysteresis. A value: each reading makes a new one.

The kernel's triggers look at 10 seconds at most, so they only wake us; what counts are its averages over 10 and 60 seconds.
They are read when a trigger fires, then every LOOK seconds while the queue is held, and for LINGER seconds after a trigger,
by when it has fired again if that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, asdict, evolve, frozen

from rdagentd.model.requests import Thresholds
from rdagentd.model.worker import Reason

LOOK = 2.0
"""Seconds between two readings: so often the kernel computes its averages."""

LINGER = 10.0

RELEASE = 0.75
"""Share of its threshold below which an average has to fall before the queue goes on."""


@frozen
class Pressure:
    """averages, held: by the names of Thresholds. busy_until: monotonic time. problem: why pressure is not seen, or ""."""

    thresholds: Thresholds = Factory(Thresholds)
    averages: Mapping[str, float] = Factory(dict)
    held: tuple[str, ...] = ()
    busy_until: float = 0.0
    problem: str = ""

    def after(self, averages: Mapping[str, float], triggered: bool, now: float) -> Pressure:
        """What a reading at monotonic time `now` makes of it; an average that is missing is no pressure."""
        busy_until = now + LINGER if triggered else self.busy_until
        return evolve(self, averages=averages, held=self._held(averages), busy_until=busy_until)

    def under(self, thresholds: Thresholds) -> Pressure:
        """The same with other thresholds."""
        moved = evolve(self, thresholds=thresholds)
        return evolve(moved, held=moved._held(self.averages))

    def _held(self, averages: Mapping[str, float]) -> tuple[str, ...]:
        limits = {name: most for name, most in asdict(self.thresholds).items() if most is not None}
        low = {name: most * RELEASE if name in self.held else most for name, most in limits.items()}
        return tuple(name for name, most in low.items() if averages.get(name, 0.0) > most)

    def look_at(self, now: float) -> float | None:
        """When it is to be read again; None: not before a trigger fires."""
        return now + LOOK if self.held or now + LOOK <= self.busy_until else None

    @property
    def reason(self) -> Reason | None:
        """Why nothing is started; None if something may be."""
        if not self.held:
            return None
        told = {name.partition("_")[0]: self._told(name) for name in reversed(self.held)}
        return Reason("pressure", f"waits for {' and '.join(reversed(told.values()))}")

    def _told(self, name: str) -> str:
        resource, _, span = name.partition("_")
        most, now = getattr(self.thresholds, name), self.averages[name]
        bound = f"more than {most:g} %" if now > most else f"not yet below {most * RELEASE:g} %"
        what = {"cpu": "CPU", "io": "I/O"}.get(resource, resource)
        return f"{what} pressure to fall: {now:g} % over {span.removesuffix('s')} s, {bound}"
