"""Kinds of fields in a JSON object, for tables that say which fields there may be.

A kind takes the value, the place where it stands (for sentences) and what the decision needs, and returns what the engine gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rdagentd.dockerproxy.refusal import forbidden, invalid

Kind = Callable[[Any, str, Any], Any]
Table = Mapping[str, Kind]

_EMPTY: tuple[Any, ...] = (None, "", 0, False, [], {})


def clean(table: Table, given: Any, where: str, context: Any) -> dict[str, Any]:
    """The fields of the table that were given. Others are left out if empty (clients send all there are), else refused.

    Names count as they are written: the engine would take `privileged` for `Privileged`, this does not.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid(f"cannot read {where or 'body'}: an object is expected")
    cleaned = {}
    for name, value in given.items():
        kind, place = table.get(name), f"{where}.{name}" if where else name
        if kind is None:
            if value not in _EMPTY:
                raise forbidden(f"cannot set {place[:120]}: not allowed for what a run starts")
        elif value is not None:
            cleaned[name] = kind(value, place, context)
    return cleaned


def text(value: Any, where: str, _: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise invalid(f"cannot set {where}: a text is expected, not {value!r:.80}")
    return value


def flag(value: Any, where: str, _: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise invalid(f"cannot set {where}: true or false is expected, not {value!r:.80}")
    return value


def number(value: Any, where: str, _: Any) -> int:
    """A whole number."""
    if type(value) is not int:
        raise invalid(f"cannot set {where}: a number is expected, not {value!r:.80}")
    return value


def words(value: Any, where: str, _: Any) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid(f"cannot set {where}: a list of texts is expected")
    return value


def word_or_words(value: Any, where: str, _: Any) -> str | list[str]:
    """A text or a list of them."""
    return value if isinstance(value, str) else words(value, where, _)


def texts(value: Any, where: str, _: Any) -> dict[str, str]:
    """A map from text to text."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise invalid(f"cannot set {where}: a map of texts is expected")
    return value


def names(value: Any, where: str, _: Any) -> dict[str, Any]:
    """A set as Go writes it: a map from text to an empty object."""
    if not isinstance(value, dict) or any(one not in ({}, None) for one in value.values()):
        raise invalid(f"cannot set {where}: a map of empty objects is expected")
    return {key: {} for key in value}


def nested(rows: Table) -> Kind:
    """An object of its own."""
    return lambda value, where, context: clean(rows, value, where, context)


def listed(kind: Kind) -> Kind:
    """A list of things of one kind."""

    def check(value: Any, where: str, context: Any) -> list[Any]:
        if not isinstance(value, list):
            raise invalid(f"cannot set {where}: a list is expected")
        return [kind(one, f"{where}[{at}]", context) for at, one in enumerate(value)]

    return check


def one_of(*allowed: str) -> Kind:
    """One of some texts."""

    def check(value: Any, where: str, _: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            among = ", ".join(repr(one) for one in allowed if one)
            raise forbidden(f"cannot set {where} to {value!r:.80}: allowed is {among or 'nothing'}")
        return value

    return check


def at_least(least: int) -> Kind:
    """A number that is not below."""

    def check(value: Any, where: str, _: Any) -> int:
        if number(value, where, _) < least:
            raise forbidden(f"cannot set {where} to {value}: at least {least} is allowed")
        return int(value)

    return check
