"""Typed decoding of an operation's arguments: unknown, missing and ill-typed ones are refused in words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen

from rdagentd.protocol.errors import INVALID, ProtocolError

REQUIRED: Any = object()

_INT64 = 2**63


_MOST_NUMBER = 10**12
_LONGEST_TEXT = 65536


@frozen
class Field:
    """One argument: what it must be, in words, as a check and as a JSON Schema (draft 2020-12), and its default.

    The schema takes what the check takes; it is for clients, the check is the one that counts.
    """

    what: str
    check: Callable[[Any], bool]
    schema: Mapping[str, Any]
    default: Any = REQUIRED

    def otherwise(self, default: Any) -> Field:
        """The same, with a default."""
        return evolve(self, default=default)

    def described(self) -> dict[str, Any]:
        """What a client is told about it."""
        needed = self.default is REQUIRED
        told = {"kind": self.what, "schema": dict(self.schema), "required": needed}
        return told if needed else {**told, "default": self.default}


def _is_text(value: Any) -> bool:
    return type(value) is str and "\0" not in value and len(value) <= _LONGEST_TEXT


def _is_int(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_MOST_NUMBER < value < _MOST_NUMBER


def _is_values(value: Any) -> bool:
    return type(value) is dict and all(
        _is_text(key) and (type(one) is bool or _is_text(one) or _is_int(one) or _is_number(one))
        for key, one in value.items()
    )


def _is_maps(value: Any) -> bool:
    return type(value) is list and all(type(item) is dict for item in value)


_WHOLE = {"type": "integer", "minimum": -_INT64, "maximum": _INT64 - 1}

TEXT = Field("a text", _is_text, {"type": "string", "maxLength": _LONGEST_TEXT, "pattern": "^[^\\u0000]*$"})
INT = Field("a whole number", _is_int, _WHOLE)
COUNT = Field("a whole number, 0 or more", lambda value: _is_int(value) and value >= 0, {**_WHOLE, "minimum": 0})
NUMBER = Field(
    "a number",
    _is_number,
    {"type": "number", "exclusiveMinimum": -_MOST_NUMBER, "exclusiveMaximum": _MOST_NUMBER},
)
BOOL = Field("true or false", lambda value: type(value) is bool, {"type": "boolean"})
MAP = Field("a map", lambda value: type(value) is dict, {"type": "object"})
VALUES = Field(
    "a map of names to texts, numbers or truth values",
    _is_values,
    {
        "type": "object",
        "propertyNames": TEXT.schema,
        "additionalProperties": {"anyOf": [TEXT.schema, INT.schema, NUMBER.schema, BOOL.schema]},
    },
)
TEXTS = Field(
    "a list of at most 64 texts",
    lambda value: type(value) is list and len(value) <= 64 and all(map(_is_text, value)),
    {"type": "array", "maxItems": 64, "items": TEXT.schema},
)
MAPS = Field("a list of maps", _is_maps, {"type": "array", "items": {"type": "object"}})


def maybe(field: Field) -> Field:
    """The field, or nil, which is also its default."""
    schema = {"anyOf": [field.schema, {"type": "null"}]}
    return Field(f"{field.what} or nil", lambda value: value is None or field.check(value), schema, None)


def up_to(most: int) -> Field:
    """A whole number from 0 to `most`."""
    schema = {"type": "integer", "minimum": 0, "maximum": most}
    return Field(f"a whole number from 0 to {most}", lambda value: _is_int(value) and 0 <= value <= most, schema)


def one_of(*texts: str) -> Field:
    """One of these texts."""
    what, schema = "one of " + ", ".join(texts), {"enum": list(texts)}
    return Field(what, lambda value: type(value) is str and value in texts, schema)


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
