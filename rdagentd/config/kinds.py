"""Kinds of values: what may stand at a key, in words for the reference and as a parser. All parsers raise InvalidError."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import frozen

from rdagentd.config.problems import MAX_PROBLEMS, InvalidError, Problem, nearest, refused, show, wrong_type
from rdagentd.config.units import parse_duration, parse_signal, parse_size, parse_umask
from rdagentd.model.size import UNLIMITED

_WHOLE = re.compile("-?[0-9]{1,19}")


@frozen
class Kind:
    """What may stand at a key: `says` tells a person, `parse` makes the value of it."""

    says: str
    parse: Callable[[Any], Any]


def whole(low: int, high: int) -> Kind:
    """A whole number from low to high, or the same in digits (the command line knows only text)."""

    def parse(value: Any) -> int:
        number = int(value) if type(value) is str and _WHOLE.fullmatch(value) else value
        if type(number) is str:
            raise refused(f"{show(value)} is not a whole number", f"{low} to {high}", value)
        if type(number) is not int:
            raise wrong_type("a whole number", value)
        if not low <= number <= high:
            raise refused(f"{show(value)} is out of range", f"{low} to {high}", value)
        return number

    return Kind(f"whole number, {low} to {high}", parse)


def fraction(low: float, high: float) -> Kind:
    """A number from low to high."""

    def parse(value: Any) -> float:
        if type(value) is not int and type(value) is not float:
            raise wrong_type("a number", value)
        if not low <= value <= high:  # false for NaN too
            raise refused(f"{show(value)} is out of range", f"{low:g} to {high:g}", value)
        return float(value) + 0.0

    return Kind(f"number, {low:g} to {high:g}", parse)


def duration(*, unlimited: bool = False, zero: bool = True) -> Kind:
    """A duration in seconds. unlimited: None is possible; zero: 0 is possible."""

    def parse(value: Any) -> float | None:
        if unlimited and value is None:
            return None
        seconds = parse_duration(value)
        if seconds is None and not unlimited:
            raise refused("cannot be unlimited", "write a duration", value)
        if seconds == 0 and not zero:
            raise refused("must be more than 0", 'for no limit write "unlimited"' if unlimited else "", value)
        return seconds

    return Kind('duration or "unlimited"' if unlimited else "duration", parse)


def size(low: int) -> Kind:
    """A size in bytes, at least `low`, never unlimited."""

    def parse(value: Any) -> int:
        count = parse_size(value)
        if count is None:
            raise refused("cannot be unlimited", "write a size", value)
        if count < low:
            raise refused(f"{show(value)} is too small", f"at least {low} bytes", value)
        return count

    return Kind(f"size, at least {low} bytes", parse)


def choice(words: type[StrEnum]) -> Kind:
    """One word of an enumeration."""
    names = [word.value for word in words]

    def parse(value: Any) -> StrEnum:
        if not isinstance(value, str):
            raise wrong_type(f"one of {', '.join(names)}", value)
        try:
            return words(value)
        except ValueError:
            near = nearest(value, names)
            hint = f"did you mean {near}?" if near else f"one of {', '.join(names)}"
            raise refused(f"{show(value)} is not known", hint, value) from None

    return Kind(", ".join(f"`{name}`" for name in names), parse)


def each(kind: Kind, most: int) -> Kind:
    """A list of at most `most` values, as a tuple. One value alone is no list."""

    def parse(value: Any) -> tuple[Any, ...]:
        if type(value) is not list and type(value) is not tuple:
            raise wrong_type("a list", value)
        if len(value) > most:
            raise refused(f"has {len(value)} values", f"at most {most}")
        return tuple(collect(kind.parse, value))

    return Kind(f"list of at most {most}: {kind.says}", parse)


def collect(parse: Callable[[Any], Any], values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The value of each, by `parse`. Raises InvalidError with the problems of all, up to MAX_PROBLEMS."""
    good: list[Any] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        try:
            good.append(parse(value))
        except InvalidError as error:
            problems += [problem.under(f"[{index}]") for problem in error.problems]
            if len(problems) >= MAX_PROBLEMS:
                break
    if problems:
        raise InvalidError(problems)
    return good


def _slots(value: Any) -> int | None:
    return None if value == UNLIMITED else _SLOT_COUNT.parse(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise wrong_type("true or false", value)
    return value


_SLOT_COUNT = whole(0, 100_000)
SLOTS = Kind(f'{_SLOT_COUNT.says}, or "{UNLIMITED}"', _slots)
FLAG = Kind("true or false", _flag)
SIGNALS = each(Kind("signal", parse_signal), 16)
UMASK = Kind("octal umask", parse_umask)
CODES = each(whole(0, 255), 256)
