"""What a log comes to: errors in groups, slow operations, costs, rates. Pure: lines in, a report out; memory is bounded."""

from __future__ import annotations

from heapq import heappush, heappushpop
from math import floor

from rdagentctl import patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SLOW = 10.0
"""Seconds from which on an operation is slow."""

_GROUPS = 1000
"""Groups of messages that are told apart; what comes later is counted together."""

_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))

_LONGEST = 10
"""Silences that are kept: the longest."""

_SHOWN = 300
"""Characters that are kept of an example."""

_TAIL = 1000
"""Bytes at the end of a block in which a time is looked for."""

_COLUMNS = 60
_STEPS = (1, 2, 10, 30, 60, 120, 600, 1800, 3600, 7200, 21600, 43200, 86400)
"""Seconds of an interval of the rates, each a multiple of the one before; doubled beyond."""


class Groups:
    """Messages that differ in numbers, ids, paths and times only, counted together."""

    def __init__(self) -> None:
        self.count = 0
        self._other = 0
        self._keys: dict[str, str] = {}
        self._groups: dict[str, dict[str, Any]] = {}

    def add(self, line: str, at: float | None, seconds: float = 0.0) -> None:
        """Counts a line that came at `at`."""
        self.count += 1
        key = self._key(line)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _GROUPS:
                self._other += 1
                return
            group = {"message": key, "count": 0, "first": at, "last": at, "seconds": 0.0, "longest": 0.0, "example": ""}
            self._groups[key] = group
        group["count"] += 1
        group["last"] = at
        group["seconds"] += seconds
        if not group["example"] or seconds > group["longest"]:
            group["longest"], group["example"] = seconds, line.strip()[:_SHOWN]

    def _key(self, line: str) -> str:
        """The line's signature; lines that differ in digits alone have one, and the first of them is looked at."""
        bare = line.translate(_NO_DIGITS)
        key = self._keys.get(bare)
        if key is None:
            if len(self._keys) >= _GROUPS:
                self._keys.clear()
            key = self._keys[bare] = patterns.signature(line)
        return key

    def report(self, *, timed: bool) -> dict[str, Any]:
        """Groups, largest first; timed: with their seconds."""
        order = "longest" if timed else "count"
        groups = sorted(self._groups.values(), key=lambda group: -float(group[order]))
        without = () if timed else ("seconds", "longest")
        kept = [{key: value for key, value in group.items() if key not in without} for group in groups]
        return {"count": self.count, "groups": kept, "in_other_groups": self._other}


class Silences:
    """Times in which nothing was written, by one clock."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.seen = 0
        self._last: float | None = None
        self._longest: list[tuple[float, float, str]] = []

    def pause(self) -> None:
        """What follows is not to be compared with what was: another run."""
        self._last = None

    def lasted(self, now: float) -> float:
        """Seconds since the clock was last seen; 0 if it never was."""
        return 0.0 if self._last is None else now - self._last

    def at(self, now: float, told: float, before: str) -> None:
        """The clock was seen. told: when to say that it began; before: the line before."""
        lasted = self.lasted(now)
        if lasted > SLOW:
            self.count += 1
            self.seconds += lasted
            push = heappush if len(self._longest) < _LONGEST else heappushpop
            push(self._longest, (lasted, told - lasted, before.strip()[:_SHOWN]))
        self._last = now
        self.seen += 1

    def report(self, by: str) -> dict[str, Any]:
        """How many, how long, and the longest of them."""
        longest = [{"seconds": lasted, "at": at, "after": line} for lasted, at, line in sorted(self._longest)[::-1]]
        return {"by": by, "count": self.count, "seconds": self.seconds, "longest": longest}


class Rates:
    """Counts over time in at most _COLUMNS intervals, which grow with the log."""

    def __init__(self) -> None:
        self.interval = _STEPS[0]
        self._first = 0
        self._counts: list[list[int]] = []

    def add(self, at: float, lines: int, errors: int) -> None:
        """Counts lines, and errors among them, that came at `at`; before the first: with the first."""
        if not self._counts:
            self._first = floor(at / self.interval)
        while (index := max(0, floor(at / self.interval) - self._first)) >= _COLUMNS:
            self._widen()
        while len(self._counts) <= index:
            self._counts.append([0, 0])
        self._counts[index][0] += lines
        self._counts[index][1] += errors

    def _widen(self) -> None:
        wider = next((step for step in _STEPS if step > self.interval), self.interval * 2)
        factor = wider // self.interval
        first = self._first // factor
        merged: dict[int, list[int]] = {}
        for index, (lines, errors) in enumerate(self._counts):
            into = merged.setdefault((self._first + index) // factor - first, [0, 0])
            into[0] += lines
            into[1] += errors
        self._counts = [merged[index] for index in range(len(merged))]
        self._first, self.interval = first, wider

    def report(self) -> dict[str, Any]:
        """When the first interval begins, how long one is, and what was counted in each."""
        lines, errors = ([count[place] for count in self._counts] for place in (0, 1))
        return {"start": self._first * self.interval, "interval": self.interval, "lines": lines, "errors": errors}


class Cost:
    """Dollars: single ones added up, running totals taken as they are; one that falls has begun anew."""

    def __init__(self) -> None:
        self._told = self._totals = 0
        self._sum = self._before = self._running = 0.0
        self._tokens: dict[str, int] = {}

    def add(self, line: str) -> None:
        """Whatever the line tells."""
        for total, dollars in patterns.costs(line):
            if total:
                self._totals += 1
                if dollars < self._running:
                    self._before += self._running
                self._running = dollars
            else:
                self._told += 1
                self._sum += dollars
        for kind, number in patterns.tokens(line):
            self._tokens[kind] = self._tokens.get(kind, 0) + number

    def report(self) -> dict[str, Any]:
        """usd: the sum of single costs; running_total_usd: of running totals. None for what was not told."""
        return {
            "usd": self._sum if self._told else None,
            "calls": self._told,
            "running_total_usd": self._before + self._running if self._totals else None,
            "tokens": dict(sorted(self._tokens.items())),
        }


class Analysis:
    """Takes whole lines in blocks, in order."""

    def __init__(self) -> None:
        self.bytes = self.lines = self.dropped = 0
        self.first: float | None = None
        self.last: float | None = None
        self._run: str | None = None
        self._errors, self._told = Groups(), Groups()
        self._stamped, self._arrived = Silences(), Silences()
        self._rates, self._cost = Rates(), Cost()
        self._line_before = ""

    def add(self, block: bytes, at: float | None, run: str | None = None) -> None:
        """Lines that came at `at`, each with its end, all of one run. None: nobody knows."""
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        self.bytes += len(block)
        self.lines += lines
        elapsed = 0.0 if self.last is None or at is None else at - self.last
        if run != self._run:
            self._run = run
            self._stamped.pause()
            self._arrived.pause()
        at = self.last if at is None else at
        if at is not None:
            self.first = at if self.first is None else self.first
            self.last = at
            self._arrived.at(at, at, self._line_before)
            self._stamps(block, at, elapsed)
        errors = self._look(block, at)
        if at is not None:
            self._rates.add(at, lines, errors)
        self._line_before = patterns.clean(_last_line(block))

    def _stamps(self, block: bytes, at: float, elapsed: float) -> None:
        """Silences by the log's own times, which say more where a program keeps its output back for a while.

        None can be longer than what has elapsed between this block and the one before: else it is another zone or a date
        that was written about.
        """
        if elapsed <= SLOW:  # so no silence can be in there
            for _, seconds in patterns.stamps(block[block.find(b"\n", len(block) - _TAIL) + 1 :]):
                self._see(seconds, at, elapsed, self._line_before)
            return
        end = 0
        for start, seconds in patterns.stamps(block):
            before = _last_line(block[end:start])
            self._see(seconds, at, elapsed, patterns.clean(before) if before else self._line_before)
            end = start

    def _see(self, seconds: float, at: float, elapsed: float, before: str) -> None:
        if self._stamped.lasted(seconds) > elapsed + 1:
            self._stamped.pause()
        self._stamped.at(seconds, at, before)

    def _look(self, block: bytes, at: float | None) -> int:
        """Recognises what there is in lines that have something; the number of errors."""
        errors = 0
        for start, end, what in patterns.interesting(block):
            line = patterns.clean(block[start:end])
            if what & patterns.ERROR and patterns.is_error(line):
                errors += 1
                self._errors.add(line, at)
            if what & patterns.DURATION:
                longest = max(patterns.durations(line), default=0.0)
                if longest > SLOW:
                    self._told.add(line, at, longest)
            if what & patterns.MONEY:
                self._cost.add(line)
        return errors

    def report(self) -> dict[str, Any]:
        """All of it, as it is shown by --json."""
        stamped = self._stamped.seen * 2 >= self._arrived.seen
        silences = self._stamped.report("timestamps") if stamped else self._arrived.report("arrival")
        return {
            "bytes": self.bytes, "lines": self.lines, "dropped": self.dropped, "first": self.first, "last": self.last,
            "errors": self._errors.report(timed=False),
            "slow": {"from_seconds": SLOW, "told": self._told.report(timed=True), "silences": silences},
            "cost": self._cost.report(),
            "rates": self._rates.report(),
        }  # fmt: skip


def _last_line(block: bytes) -> bytes:
    end = len(block) - block.endswith(b"\n")
    return block[block.rfind(b"\n", 0, end) + 1 : end]
