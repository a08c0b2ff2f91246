"""Arguments of an operation as HTTP brings them: the query of a GET, the JSON of a POST. The daemon judges what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from rdagentd.protocol import frames
from rdagentd.protocol.errors import INVALID, ProtocolError

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_TRUTH = {"true": True, "false": False}

_READ_AS: dict[str, Callable[[str], Any]] = {
    "integer": lambda text: int(text) if _WHOLE.fullmatch(text) else None,
    "number": lambda text: float(text) if _NUMBER.fullmatch(text) else None,
    "boolean": _TRUTH.get,
}
"""JSON type → the value that a text stands for, or None."""


def of_query(args: Mapping[str, Any], query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Arguments from names and texts. args: those of the operation, as `describe` tells them.

    One that is a list stands there once for each of its texts. `name` and `label` (key=value), as often as wished, make a
    `select`. What the operation does not know goes on as it is: the daemon has better words for it. Raises
    ProtocolError(invalid).
    """
    found: dict[str, Any] = {}
    select: dict[str, Any] = {}
    for name, text in query:
        if name in args and args[name]["schema"].get("type") == "array":
            found.setdefault(name, []).append(text)
        elif name in args or "select" not in args or name not in ("name", "label"):
            if name in found:
                raise ProtocolError(INVALID, f"cannot read the query: {name[:64]!r} stands in it twice")
            found[name] = read_as(args[name]["schema"], text) if name in args else text
        elif name == "name":
            select.setdefault("names", []).append(text)
        else:
            key, equals, value = text.partition("=")
            if not equals:
                raise ProtocolError(INVALID, f"cannot read the query: label {text[:64]!r} must be key=value")
            select.setdefault("labels", {})[key] = value
    return {**found, **({"select": select} if select else {})}


def read_as(schema: Mapping[str, Any], text: str) -> Any:
    """The first value of a type in the schema that the text stands for; else the text."""
    values = (_READ_AS[kind](text) for kind in _types(schema) if kind in _READ_AS)
    return next((value for value in values if value is not None), text)


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    if "type" in schema:
        yield schema["type"]
    for part in schema.get("anyOf", ()):
        yield from _types(part)


def of_body(body: bytes) -> dict[str, Any]:
    """Arguments from JSON (RFC 8259); none from an empty body. Raises ProtocolError(invalid)."""
    if not body.strip():
        return {}
    try:
        args = json.loads(body.decode(), parse_constant=_no_number)
    except RecursionError:
        raise ProtocolError(INVALID, f"cannot read the body: nested deeper than {frames.MAX_DEPTH}") from None
    except ValueError as error:  # also what is no UTF-8, and a number of thousands of digits
        raise ProtocolError(INVALID, f"cannot read the body: not JSON ({_short(error)})") from None
    if type(args) is not dict:
        raise ProtocolError(INVALID, f"cannot read the body: a JSON object is expected, not {_JSON[type(args)]}")
    return args


_JSON = {list: "an array", str: "a text", int: "a number", float: "a number", bool: "a truth value", type(None): "null"}


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _short(error: Exception) -> str:
    return str(error)[:128]


def check(op: str, args: Mapping[str, Any]) -> None:
    """Raises ProtocolError(invalid) for what the daemon would take for a broken frame.

    It closes the connection on which one comes, and others have their requests on it.
    """
    try:
        frames.Decoder().feed(frames.pack({"v": 1, "id": 2**63, "op": op, "args": args}))
    except OverflowError:
        raise ProtocolError(INVALID, f"cannot {op}: a number is larger than 64 bits") from None
    except UnicodeEncodeError:
        raise ProtocolError(
            INVALID, f"cannot {op}: a text holds half of a surrogate pair, which is no character"
        ) from None
    except ValueError as error:  # FrameError; msgpack's own limit of depth
        raise ProtocolError(INVALID, f"cannot {op}: {_short(error)}") from None
