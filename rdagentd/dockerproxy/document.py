"""JSON, read in the one way there is. Go's decoder takes `privileged` for `Privileged` and the last of two; here both end."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from rdagentd.dockerproxy.refusal import invalid

MAX_DOCUMENT = 1 << 20
"""Longest document that is decided on, in bytes."""

_INT64 = 1 << 63
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse_object(data: bytes, where: str = "body") -> dict[str, Any]:
    """A JSON object. Raises RefusedError for anything else, for a key twice, a fraction, a number beyond 64 bits, bad text."""
    value = parse(data, where)
    if not isinstance(value, dict):
        raise invalid(f"cannot read {where}: a JSON object is expected, not {type(value).__name__}")
    return value


def parse(data: bytes | str, where: str) -> Any:
    """Any JSON value, as strictly."""

    def refuse(text: str) -> NoReturn:
        raise invalid(f"cannot read {where}: {text[:24]} is not a whole number of 64 bits")

    def number(text: str) -> int:
        value = int(text) if len(text) < 21 else _INT64
        return value if -_INT64 <= value < _INT64 else refuse(text)

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise invalid(f"cannot read {where}: a key stands there twice, among {', '.join(found)[:120]}")
        return found

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=once, parse_int=number, parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise invalid(f"cannot read {where}: it is not JSON") from None
    _check_texts(value, where)
    return value


def write(value: Any) -> bytes:
    """JSON for the engine."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _check_texts(value: Any, where: str) -> None:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one)
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, str) and _NO_TEXT.search(one):
            raise invalid(f"cannot read {where}: a text holds NUL or half a character")
