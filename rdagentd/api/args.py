"""Typed decoding of an operation's arguments: unknown, missing and ill-typed ones are refused in words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from rdagentd.protocol.errors import INVALID, ProtocolError

REQUIRED: Any = object()

_INT64 = 2**63


@frozen
class Field:
    """One argument: what it must be, in words and as a check, and its default."""

    what: str
    check: Callable[[Any], bool]
    default: Any = REQUIRED

    def otherwise(self, default: Any) -> Field:
        """The same, with a default."""
        return Field(self.what, self.check, default)


def _is_text(value: Any) -> bool:
    return type(value) is str and "\0" not in value and len(value) <= 65536


def _is_int(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _is_number(value: Any) -> bool:
    return _is_int(value) or (type(value) is float and -1e12 < value < 1e12)


def _is_maps(value: Any) -> bool:
    return type(value) is list and all(type(item) is dict for item in value)


TEXT = Field("a text", _is_text)
INT = Field("a whole number", _is_int)
COUNT = Field("a whole number, 0 or more", lambda value: _is_int(value) and value >= 0)
NUMBER = Field("a number", _is_number)
BOOL = Field("true or false", lambda value: type(value) is bool)
MAP = Field("a map", lambda value: type(value) is dict)
MAPS = Field("a list of maps", _is_maps)


def maybe(field: Field) -> Field:
    """The field, or nil, which is also its default."""
    return Field(f"{field.what} or nil", lambda value: value is None or field.check(value), None)


def up_to(most: int) -> Field:
    """A whole number from 0 to `most`."""
    return Field(f"a whole number from 0 to {most}", lambda value: _is_int(value) and 0 <= value <= most)


def one_of(*texts: str) -> Field:
    """One of these texts."""
    return Field("one of " + ", ".join(texts), lambda value: type(value) is str and value in texts)


def decode(op: str, fields: Mapping[str, Field], given: Any) -> dict[str, Any]:
    """The arguments, complete. Raises ProtocolError(invalid) that names the argument."""
    if given is None:
        given = {}
    if type(given) is not dict:
        raise ProtocolError(INVALID, f"cannot {op}: args must be a map, not {type(given).__name__}")
    for name in given:
        if name not in fields:
            shown = str(name)[:64]
            near = difflib.get_close_matches(shown, fields, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ProtocolError(INVALID, f"cannot {op}: unknown argument {shown!r}{hint}", {"argument": shown})
    decoded = {}
    for name, field in fields.items():
        value = given.get(name, field.default)
        if value is REQUIRED:
            raise ProtocolError(
                INVALID, f"cannot {op}: argument {name} is missing; it must be {field.what}", {"argument": name}
            )
        if name in given and not field.check(value):
            text = f"cannot {op}: argument {name} must be {field.what}, not {_shown(value)}"
            raise ProtocolError(INVALID, text, {"argument": name})
        decoded[name] = value
    return decoded


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
