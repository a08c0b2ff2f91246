"""What a run tells about itself: progress, money, errors. And what all runs of a worker have come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from attrs import Factory, evolve, frozen

Value = float | str
"""What is reported: a number, or the words of a step or status."""

MOST_CUSTOM = 64
"""Most measures of the user's own that a run may have: each is a series for Prometheus."""

MOST_TEXT = 200
"""Characters of a step or status that are kept."""

_DIGITS = 9
"""Decimal places of money and custom sums: what was added in other pieces, after a crash, must come to the same."""

_MOST = 2**53
"""Numbers above are not exact as floats, and no count of an agent comes near."""


@frozen
class Measures:
    """What a run has told of itself. None: never told.

    progress: 0 to 1. iteration: which one it is in, step: by number or name. Of this run: tokens, cost_usd (US dollars),
    its errors, provider_errors (refusals and faults of model providers). custom: by the user's names. status: in words.
    """

    progress: float | None = None
    iteration: int | None = None
    step: str | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    errors: int | None = None
    provider_errors: int | None = None
    custom: Mapping[str, float] = Factory(dict)
    status: str | None = None


@frozen
class Spent:
    """What the ended runs of a worker come to. run_time: seconds, pauses aside; log_bytes: output of all streams."""

    tokens: int = 0
    cost_usd: float = 0.0
    iterations: int = 0
    errors: int = 0
    provider_errors: int = 0
    run_time: float = 0.0
    log_bytes: int = 0

    def plus(self, run: Measures, run_time: float = 0.0, log_bytes: int = 0) -> Spent:
        """With one more run."""
        return Spent(
            self.tokens + (run.tokens or 0),
            round(self.cost_usd + (run.cost_usd or 0.0), _DIGITS),
            self.iterations + (run.iteration or 0),
            self.errors + (run.errors or 0),
            self.provider_errors + (run.provider_errors or 0),
            self.run_time + run_time,
            self.log_bytes + log_bytes,
        )


def told(measures: Measures, values: Mapping[str, Value], added: Mapping[str, float]) -> tuple[Measures, list[str]]:
    """The measures after a report, and what of it cannot be taken, in words.

    values: totals of the run; added: on top of what was told before. Totals never fall: a lower one is an agent that began to
    count anew, or a report that came late, and no budget must be won by it.
    """
    now, wrong = measures, []
    for name, value in values.items():
        try:
            now = _set(now, name, value)
        except ValueError as error:
            wrong.append(str(error))
    for name, more in added.items():
        try:
            now = _set(now, name, _sum(now, name, more))
        except ValueError as error:
            wrong.append(str(error))
    return now, wrong


def _sum(measures: Measures, name: str, more: float) -> float:
    number = _number(name, more)
    if name in WORDS:
        raise ValueError(f"cannot add to {name}: it is no number")
    before = getattr(measures, name, None) if name in STANDARD else measures.custom.get(name)
    return round(float(before or 0.0) + number, _DIGITS)


def _set(measures: Measures, name: str, value: Value) -> Measures:
    if name in WORDS:
        return evolve(measures, **_one(name, _words(value)))
    number = _number(name, value)
    if name == "progress":
        if not 0 <= number <= 1:
            raise ValueError(f"cannot take progress {number:g}: it must be between 0 and 1")
        return evolve(measures, progress=number)
    if name in COUNTS:
        if number < 0:
            raise ValueError(f"cannot take {name} {number:g}: it is negative")
        whole: Callable[[float], float] = float if name == "cost_usd" else int
        total = max(whole(number), getattr(measures, name) or 0)
        return evolve(measures, **_one(name, total))
    if name not in measures.custom and len(measures.custom) >= MOST_CUSTOM:
        raise ValueError(f"cannot take {name!r}: there are {MOST_CUSTOM} custom measures, which is the most")
    return evolve(measures, custom={**measures.custom, name: number})


def _one(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _words(value: Value) -> str:
    text = value if isinstance(value, str) else f"{value:.15g}"
    return "".join(letter if letter.isprintable() else " " for letter in text[:MOST_TEXT])


def _number(name: str, value: Value) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"cannot take {name} {str(value)[:40]!r}: it is no number") from None
    if not isfinite(number) or abs(number) > _MOST:
        raise ValueError(f"cannot take {name} {number:g}: it is no number that counts anything")
    return number


UNTOLD = Measures()
"""Of a run that has told nothing."""

NOTHING_SPENT = Spent()

WORDS = frozenset({"step", "status"})
"""Measures that are words; a number is told by its digits."""

COUNTS = frozenset({"iteration", "tokens", "cost_usd", "errors", "provider_errors"})
"""Totals of the run, which never fall."""

STANDARD = frozenset({"progress", *WORDS, *COUNTS})
"""All that is no custom measure."""
