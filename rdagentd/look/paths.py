"""Files below a directory by a pattern: globs, and fields of the path that say which is the newest. No link is followed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

MOST = 100_000
"""Entries of directories that are looked at; who has more gets an error, and not half of an answer."""

_TOKEN = re.compile(r"\{([a-z][a-z0-9_]*)(:int)?\}|(\*)|(\?)|([^*?{}]+)")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

Value = int | str


class Pattern(NamedTuple):
    """parts: one for each component of a path, None for `**`. fields: name → whether it is a whole number."""

    parts: tuple[re.Pattern[str] | None, ...]
    fields: dict[str, bool]


class Entry(NamedTuple):
    """A regular file. path: below the directory; at: nanoseconds since the epoch of its last change; size: bytes."""

    path: str
    fields: dict[str, Value]
    at: int
    size: int


def parse(text: str) -> Pattern:
    """`trace/**/{loop:int}/{step:int}_{name}`: `*` and `?` within a name, `**` for directories, fields. Raises ValueError."""
    fields: dict[str, bool] = {}
    components = text.split("/")
    if text.startswith("/") or ".." in components or "" in components or "." in components:
        raise ValueError("must be a path below the directory, without . and ..")
    if components[-1] == "**":
        raise ValueError("ends with **, which stands for directories")
    return Pattern(tuple(None if part == "**" else _component(part, fields) for part in components), fields)


def _component(text: str, fields: dict[str, bool]) -> re.Pattern[str]:
    made, place = "", 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"{text[place:]!r} is no field: {{name}} or {{name:int}}")
        name, number, star, one, literal = token.groups()
        if name and name in fields:
            raise ValueError(f"the field {name} stands in it twice")
        if name:
            fields[name] = number is not None
            made += f"(?P<{name}>{'[0-9]{1,18}' if number else '.+?'})"
        else:
            made += ".*" if star else "." if one else re.escape(literal)
        place = token.end()
    return re.compile(made, re.DOTALL)


def find(directory: str, text: str) -> list[Entry]:
    """All files that the pattern fits. Raises OSError for the directory itself, ValueError if there is too much in it."""
    pattern, budget = parse(text), iter(range(MOST))
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return list(_below(top, "", pattern, 0, {}, budget))
    finally:
        os.close(top)


def _below(  # noqa: PLR0913, PLR0917
    fd: int, path: str, pattern: Pattern, place: int, fields: dict[str, Value], budget: Iterator[int]
) -> Iterator[Entry]:
    part = pattern.parts[place]
    if part is None:  # no directory, or any
        yield from _below(fd, path, pattern, place + 1, fields, budget)
    for name in sorted(os.listdir(fd)):
        if next(budget, None) is None:
            raise ValueError(f"more than {MOST} files and directories are in it; name them more closely")
        match = part.fullmatch(name) if part else None
        if part and not match:
            continue
        found = {**fields, **_values(match, pattern)} if match else fields
        here, last = f"{path}{name}", part is not None and place == len(pattern.parts) - 1
        with suppress(OSError):  # gone meanwhile, closed to us, or no such thing
            if last:
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode):
                    yield Entry(here, found, seen.st_mtime_ns, seen.st_size)
                continue
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                yield from _below(below, f"{here}/", pattern, place if part is None else place + 1, found, budget)
            finally:
                os.close(below)


def _values(match: re.Match[str], pattern: Pattern) -> dict[str, Value]:
    return {name: int(value) if pattern.fields[name] else value for name, value in match.groupdict().items()}


@contextmanager
def parent(directory: str, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that a file below `directory` is in, and its name there, by no link. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *parents, name = path.split("/")
        for own in parents:
            above, fd = fd, os.open(own, _DIRECTORY, dir_fd=fd)
            os.close(above)
        yield fd, name
    finally:
        os.close(fd)


def opened(directory: str, path: str) -> int:
    """A descriptor to read a file below the directory. Raises OSError."""
    with parent(directory, path) as (fd, name):
        return os.open(name, _FILE, dir_fd=fd)


def newest_first(entries: Sequence[Entry], order: Sequence[str], since: int) -> list[Entry]:
    """By these fields, or ("mtime",); first those that were written since this time (nanoseconds), whatever their fields."""

    def key(entry: Entry) -> tuple[bool, tuple[Value, ...], int]:
        values = () if order == ("mtime",) else tuple(entry.fields[name] for name in order)
        return entry.at >= since, values, entry.at

    return sorted(entries, key=key, reverse=True)
