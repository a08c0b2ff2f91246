"""Values in the JSON files that a run has written: of each glob the newest file, and what stands at a path in it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rdagentd.look.documents import document, newest_first, value_at


def values(places: Iterable[tuple[str, str]], since: float) -> list[tuple[str, str, Any]]:
    """(glob, path, value) of each place where a plain value stands. since: files written before that do not count."""
    documents: dict[str, Any] = {}
    found = []
    for pattern, path in places:
        if pattern not in documents:
            documents[pattern] = _document(pattern, since)
        value = at(documents[pattern], path)
        if isinstance(value, str | int | float | bool):
            found.append((pattern, path, value))
    return found


def at(document: Any, path: str) -> Any:
    """What stands there; None if nothing does."""
    with suppress(ValueError):
        return value_at(document, path)
    return None


def _document(pattern: str, since: float) -> Any:
    """The newest file that matches; None if there is none, or it is no JSON."""
    for path in newest_first(pattern, since)[:1]:
        with suppress(OSError, ValueError, RecursionError):
            return document(path)
    return None
