"""Requests and connections of the control socket, counted as they come and go: how each request ended, and how long it took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import product

from rdagentd.protocol.errors import INTERNAL, UNAVAILABLE

OK, CANCELLED = "ok", "cancelled"
"""Outcomes of requests beside the codes of errors."""

UNKNOWN = "unknown"
"""In the place of an operation that there is not: clients could make up any number of names."""

BUCKETS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Upper bounds of the histogram of durations, in seconds."""


class Durations:
    """How many took how long. counts: for each bound, in seconds, those above the one before it, at last those above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Traffic:
    """connections: clients at the moment, of `most`. requests: by operation and outcome. durations: by operation."""

    def __init__(self) -> None:
        self.connections = 0
        self.most = 0
        self.requests: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Durations] = {}

    def expect(self, ops: Iterable[str]) -> None:
        """These are the operations. Of errors that are the daemon's own 0 is told from the start, so that the first is seen."""
        self.requests.update(dict.fromkeys(product(ops, (OK, UNAVAILABLE, INTERNAL)), 0))

    def answered(self, op: str, outcome: str, seconds: float | None) -> None:
        """A request has got its last answer. seconds: None for one that takes as long as it is meant to."""
        self.requests[op, outcome] += 1
        if seconds is not None:
            known = self.durations.get(op)
            if known is None:
                known = self.durations[op] = Durations()
            known.add(seconds)
