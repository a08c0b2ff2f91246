"""A sample: what was measured, in one unit, and its summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self


class Sample(tuple[float, ...]):
    """Measured values, sorted."""

    __slots__ = ()

    def __new__(cls, values: Iterable[float]) -> Self:
        return super().__new__(cls, sorted(values))

    def quantile(self, share: float) -> float:
        """The value below which `share` (0 to 1) of the sample lies, linearly interpolated."""
        place = share * (len(self) - 1)
        low = int(place)
        high = min(low + 1, len(self) - 1)
        return self[low] + (self[high] - self[low]) * (place - low)

    @property
    def median(self) -> float:
        """The middle."""
        return self.quantile(0.5)

    def over(self, other: Sample) -> Sample:
        """Each value divided by the other sample's median."""
        return Sample(value / other.median for value in self)
