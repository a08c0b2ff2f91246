"""How fast workers use what they use: from two samples of `usage` each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COUNTERS = {"cpu": ("user", "system"), "read": ("read",), "written": ("written",), "log": ("log",)}
"""Rate → the counters of a sample whose sum it is made of: CPU seconds per second, bytes per second."""

LEAST = 0.05
"""Seconds between two samples for a rate to mean something."""


class Use:
    """What a run uses. rates: None until there are two samples, or where nobody counts."""

    __slots__ = ("at", "rates", "run", "sample")

    def __init__(self, run: str, at: float, sample: dict[str, Any], before: Use | None) -> None:
        self.run = run
        self.at = at
        self.sample = sample
        self.rates: dict[str, float | None] = dict.fromkeys(COUNTERS)
        if before is not None and before.run == run and at - before.at >= LEAST:
            took = at - before.at
            self.rates = {name: _rate(keys, before.sample, sample, took) for name, keys in COUNTERS.items()}
        elif before is not None and before.run == run:
            self.at, self.sample, self.rates = before.at, before.sample, before.rates


class Meter:
    """The latest use of each worker, by name."""

    def __init__(self) -> None:
        self.uses: dict[str, Use] = {}

    def take(self, at: float, told: list[dict[str, Any]], runs: dict[str, str]) -> None:
        """A reply of `usage` that came at monotonic time `at`. runs: name → id of the run that it has."""
        for one in told:
            name = one["name"]
            if name in runs:
                self.uses[name] = Use(runs[name], at, one["usage"], self.uses.get(name))

    def forget(self, before: float) -> None:
        """What was measured before that is no longer true."""
        self.uses = {name: use for name, use in self.uses.items() if use.at >= before}


def _rate(keys: tuple[str, ...], before: dict[str, Any], now: dict[str, Any], took: float) -> float | None:
    """None where a part is not counted; never negative, though the sum over processes loses those that ended."""
    if any(sample.get(key) is None for sample in (before, now) for key in keys):
        return None
    grown: float = sum(now[key] - before[key] for key in keys)
    return max(0.0, grown / took)
