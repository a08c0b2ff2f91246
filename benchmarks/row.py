"""A row of the table: what is measured, in which unit, and what is to be reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.sample import Sample

Values = Mapping[str, Sample]
"""What a measure found, by the key of the row."""

RDAGENTD = "rdagentd"
BARE = "bare limit"

QUOTIENTS = " of bare"
"""Behind the key of a row: the quotients of pairs that were measured in turn."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `scale` multiplies seconds or bytes for printing; `quantile` (0 to 1) is shown, 0.5 the median.

    target: in the printed unit; at most that, or at least that if `more_is_better`. over_bare: the target is for the
    quotient with the bare limit's median, or the median of the quotients if pairs were measured. bare: what the bare limit is.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0
    target: float | None = None
    more_is_better: bool = False
    over_bare: bool = False
    quantile: float = 0.5
    bare: str = ""

    def value(self, found: Values) -> float:
        """The printed number of one subject."""
        return found[self.key].quantile(self.quantile) * self.scale

    def judged(self, found: Values, bare: Values) -> float:
        """The number that is held against the target."""
        if self.key + QUOTIENTS in found:
            return found[self.key + QUOTIENTS].median
        return self.value(found) / self.value(bare) if self.over_bare else self.value(found)

    def reached(self, found: Values, bare: Values) -> bool:
        """Whether the target is reached."""
        assert self.target is not None
        judged = self.judged(found, bare)
        return judged >= self.target if self.more_is_better else judged <= self.target
