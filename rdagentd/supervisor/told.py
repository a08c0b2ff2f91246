"""What reporters found, until it becomes an event: of totals the highest, of what is added the sum, of all else the latest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import Factory, define, frozen

from rdagentd.core.events import Reported
from rdagentd.model.measures import COUNTS, Value
from rdagentd.model.pattern import Pattern, compile_pattern
from rdagentd.model.reporters import Reporter, Source

_DROPPED = compile_pattern("[rdagentd: {int} bytes dropped: {any}]")
"""What the executor writes where a full disk took output away."""


@define(eq=False)
class Told:
    """values, added: as in Reported; errors: how often something could not be read, trouble: the last of that."""

    values: dict[str, Value] = Factory(dict)
    added: dict[str, float] = Factory(dict)
    errors: int = 0
    trouble: str = ""

    @property
    def anything(self) -> bool:
        """Whether there is something to tell."""
        return bool(self.values or self.added or self.errors)

    def take(self, reporter: Reporter, value: Value | None) -> None:
        """A match. value: None where the rule says how often, not how much."""
        name = reporter.measure
        if reporter.add:
            more = value if isinstance(value, float | int) else 1.0
            self.added[name] = self.added.get(name, 0.0) + more
        elif value is not None:
            if name in COUNTS and not isinstance(value, str):
                value = max(value, float(self.values.get(name, 0.0)))
            self.values[name] = value

    def wrong(self, trouble: str) -> None:
        """Something could not be read."""
        self.errors += 1
        self.trouble = trouble

    def event(self, worker: str, run: str, source: str, log: dict[str, int]) -> Reported:
        """What happened, in the core's vocabulary."""
        return Reported(worker, run, self.values, source, self.added, log, self.errors, self.trouble)


@frozen
class LogRules:
    """The rules of a worker that look into its log."""

    rules: tuple[tuple[Reporter, Pattern], ...]

    @classmethod
    def of(cls, reporters: Sequence[Reporter]) -> LogRules:
        """Those of these reporters whose source is the log."""
        chosen = [reporter for reporter in reporters if reporter.source is Source.LOG]
        return cls(tuple((reporter, compile_pattern(reporter.pattern or "")) for reporter in chosen))

    def read(self, data: bytes, told: Told) -> Iterator[None]:
        """Takes what whole lines say; yields whenever it is a moment to pause: behind each line, and between two rules.

        Of two rules for one measure that is no total, what stands further behind counts.
        """
        latest: dict[str, int] = {}
        for reporter, pattern in self.rules:
            for match in pattern.matches(data):
                if match is None:
                    yield
                    continue
                place, value = match
                if place >= latest.get(reporter.measure, 0) or reporter.add or reporter.measure in COUNTS:
                    latest[reporter.measure] = place
                    told.take(reporter, value)
            yield
        for match in _DROPPED.matches(data):
            if match is not None:
                told.wrong(f"{match[1]:.0f} bytes of its output were lost before they could be read")
            yield
