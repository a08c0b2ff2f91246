"""JSON files that a worker writes: found by a glob, bounded, and never believed."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

MAX_FILE = 8 << 20
"""Largest file, in bytes."""

_MOST_MATCHES = 10_000


def newest_first(pattern: str, since: float) -> list[str]:
    """The files that match and were last written since then, in seconds since the epoch."""
    return [path for _, path in sorted(_dated(pattern, since), reverse=True)]


def _dated(pattern: str, since: float) -> Iterator[tuple[float, str]]:
    for path in islice(glob.iglob(pattern, recursive=True), _MOST_MATCHES):  # noqa: PTH207
        with suppress(OSError):
            written = os.stat(path).st_mtime  # noqa: PTH116
            if written >= since:
                yield written, path


def document(path: str) -> Any:
    """What it holds. Raises OSError, ValueError, RecursionError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would make us wait
    with open(fd, "rb") as file:  # noqa: PTH123
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE} bytes")
    return json.loads(text)


def value_at(document: Any, path: str) -> Any:
    """What stands there, by keys, or by numbers in lists. Raises ValueError."""
    for key in path.split("."):
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"there is no {path}") from None
    return document
