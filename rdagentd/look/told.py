"""What a worker tells in JSON files and at a Prometheus endpoint of its own: read as its user, bounded, and never believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from rdagentd.look.documents import document, newest_first, value_at

MAX_ANSWER = 8 << 20
"""Largest answer of an endpoint, in bytes."""

MOST_FILES = 1000
"""Files that are read for a sum."""

MOST_LINES = 200
"""Lines of one metric: each series is one."""

_PATIENCE = 5.0
"""Seconds between two bytes of an endpoint."""

Answer = tuple[Any, str]
"""A value, or None, and what was wrong. Neither: there is nothing yet."""


def told(wanted: Mapping[str, Any]) -> list[Answer]:
    """An answer for each of `files` (glob, path, whether all are summed) and of `metrics` (URL, name), in this order.

    since: files last written before that, in seconds since the epoch, are of an earlier run.
    """
    files = [_answered(_in_files, *file, wanted["since"]) for file in wanted["files"]]
    return files + [_answered(_at_endpoint, *metric) for metric in wanted["metrics"]]


def _answered(ask: Any, *args: Any) -> Answer:
    try:
        return ask(*args), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, HTTPException, ValueError, OverflowError, RecursionError) as error:
        return None, f"cannot read {args[0]}: {getattr(error, 'strerror', None) or error or type(error).__name__}"


# --- files ------------------------------------------------------------------------------------------------------------


def _in_files(pattern: str, path: str, add: bool, since: float) -> Any:
    files = newest_first(pattern, since)
    if not files:
        raise FileNotFoundError
    if not add:
        return at(document(files[0]), path)
    return sum(float(at(document(name), path)) for name in files[:MOST_FILES])


def at(document: Any, path: str) -> float | str:
    """What stands there, by keys and by numbers in lists; of a list or an object how much is in it. Raises ValueError."""
    value = value_at(document, path)
    if isinstance(value, list | dict):
        return len(value)
    if value is None:
        raise ValueError(f"{path} is null")
    return value if isinstance(value, str) else float(value)


# --- an endpoint ------------------------------------------------------------------------------------------------------


def _at_endpoint(url: str, metric: str) -> str:
    """The lines of one metric, in Prometheus's text format."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=_PATIENCE)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"it answers {response.status}")
        text = response.read(MAX_ANSWER + 1)
    finally:
        connection.close()
    if len(text) > MAX_ANSWER:
        raise ValueError(f"it answers with more than {MAX_ANSWER} bytes")
    return "\n".join(_lines_of(metric, text.decode(errors="replace").splitlines())) + "\n"


def _lines_of(metric: str, lines: Sequence[str]) -> list[str]:
    found = [line for line in lines if line.startswith((f"{metric} ", f"{metric}{{", f"{metric}\t"))]
    if not found:
        raise ValueError(f"there is no metric {metric}")
    if len(found) > MOST_LINES:
        raise ValueError(f"{metric} has {len(found)} series, at most {MOST_LINES} are summed")
    return found
