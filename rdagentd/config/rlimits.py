"""Resource limits as people write them: "4G", "1024:4096", "unlimited", 1024, {soft = 1024, hard = 4096}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rdagentd.config.kinds import Kind, whole
from rdagentd.config.problems import InvalidError, Problem, key_name, refused, show, wrong_type
from rdagentd.config.units import MAX_SIZE, parse_duration, parse_size
from rdagentd.model.size import UNLIMITED
from rdagentd.model.spec import Rlimit

_KEYS = ("soft", "hard")
_HINT = 'write one value, "soft:hard", or {soft = …, hard = …}'
_INTERNED: dict[tuple[int | None, int | None], Rlimit] = {}


def rlimit(says: str, parse_one: Callable[[Any], int | None]) -> Kind:
    """A soft and a hard limit whose values are read by `parse_one`. One value stands for both."""

    def one(value: Any) -> int | None:
        return None if value is None or value == UNLIMITED else parse_one(value)

    def parse(value: Any) -> Rlimit | None:
        if value is None:
            return None
        if type(value) is dict:
            soft, hard = _from_table(value, one)
        elif type(value) is str and ":" in value:
            soft, hard = (one(part.strip()) for part in value.split(":", 1))
        else:
            soft = hard = one(value)
        if hard is not None and (soft is None or soft > hard):
            raise refused(f"the soft limit {_shown(soft)} is above the hard limit {_shown(hard)}")
        return _intern(soft, hard)

    return Kind(f'{says}, "unlimited", or soft:hard', parse)


def _from_table(table: dict[Any, Any], one: Callable[[Any], int | None]) -> tuple[int | None, int | None]:
    problems = [Problem(key_name(key), "unknown key", "soft and hard") for key in table if key not in _KEYS]
    values: list[int | None] = []
    for key in _KEYS:
        try:
            if key not in table:
                raise refused("missing", _HINT)
            values.append(one(table[key]))
        except InvalidError as error:
            problems += [problem.under(key) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return values[0], values[1]


def _intern(soft: int | None, hard: int | None) -> Rlimit:
    if len(_INTERNED) > 1024:
        _INTERNED.clear()
    return _INTERNED.setdefault((soft, hard), Rlimit(soft, hard))


def _shown(value: int | None) -> str:
    return UNLIMITED if value is None else str(value)


def _seconds(value: Any) -> int | None:
    seconds = parse_duration(value)
    if seconds is not None and seconds != int(seconds):
        raise refused(f"{show(value)} is not whole", "the kernel counts this limit in seconds", value)
    return None if seconds is None else int(seconds)


_microseconds_number = whole(0, MAX_SIZE).parse


def _microseconds(value: Any) -> int:
    if type(value) is int or (type(value) is str and value.isdecimal()):
        return _microseconds_number(value)  # type: ignore[no-any-return]
    if type(value) is not str:
        raise wrong_type("microseconds or a duration", value)
    return round((parse_duration(value) or 0) * 1_000_000)


BYTES = rlimit("size", parse_size)
SECONDS = rlimit("duration in whole seconds", _seconds)
MICROSECONDS = rlimit("microseconds or duration", _microseconds)


def count(low: int, high: int) -> Kind:
    """A limit that is a plain number."""
    return rlimit(f"whole number, {low} to {high}" if high < MAX_SIZE else "whole number", whole(low, high).parse)
