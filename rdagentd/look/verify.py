"""Whether a checkpoint is whole. Nothing in it is executed: a signed pickle is judged by its signature alone.

Each takes a descriptor; what is wrong is told in words, "" for nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing

from rdagentd.look.paths import opened

MAGIC = b"RDAGENT_SIGNED_PICKLE_V1\n"
"""Then 32 bytes of HMAC-SHA256 over the rest: rdagent/core/serialization.py of RD-Agent 1.0.0."""

_DIGEST = 32
_KEY = 32
"""Least length of a key in bytes."""

_MAX_JSON = 256 << 20
_PIECE = 1 << 20
_SQLITE = b"SQLite format 3\0"

Verify = Callable[[int, str, str, str], str]
"""Descriptor, directory, path below it, key file."""


def verdict(directory: str, path: str, how: str, key: str) -> str:
    """What is wrong with this file; "" if it is whole, and was not changed while we read it."""
    try:
        fd = opened(directory, path)
    except OSError as error:
        return _words(error)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return "is no regular file"
        if not before.st_size:
            return "is empty"
        problem = _readable(fd, before.st_size) or VERIFY[how](fd, directory, path, key)
        after = os.fstat(fd)
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        return problem if same else "is being written"
    except OSError as error:
        return _words(error)
    finally:
        os.close(fd)


def _words(error: OSError) -> str:
    return f"cannot be read: {(error.strerror or str(error)).lower()}"


def _pieces(fd: int, start: int = 0) -> Iterator[bytes]:
    while piece := os.pread(fd, _PIECE, start):
        yield piece
        start += len(piece)


def _readable(fd: int, size: int) -> str:
    read = sum(map(len, _pieces(fd)))
    return "" if read == size else f"has {size} bytes, of which {read} can be read"


def _size(fd: int, directory: str, path: str, key: str) -> str:
    return ""


def _json(fd: int, directory: str, path: str, key: str) -> str:
    if os.fstat(fd).st_size > _MAX_JSON:
        return f"has more than {_MAX_JSON} bytes"
    try:
        json.loads(b"".join(_pieces(fd)))
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {error}"
    return ""


def _signed_pickle(fd: int, directory: str, path: str, key: str) -> str:
    try:
        with open(os.open(key, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # else a pipe in its place would hold us up
            secret = file.read(_PIECE) or b""
    except OSError as error:
        return f"cannot be verified: {key}: {(error.strerror or '').lower()}"
    if len(secret) < _KEY:
        return f"cannot be verified: {key} has less than {_KEY} bytes"
    head = os.pread(fd, len(MAGIC) + _DIGEST, 0)
    if not head.startswith(MAGIC):
        return "is no signed pickle"
    if len(head) < len(MAGIC) + _DIGEST:
        return "is cut off in its signature"
    counted = hmac.new(secret, digestmod=hashlib.sha256)
    for piece in _pieces(fd, len(head)):
        counted.update(piece)
    whole = hmac.compare_digest(counted.digest(), head[len(MAGIC) :])
    return "" if whole else "its signature does not fit: cut off, changed, or signed with another key"


def _sqlite(fd: int, directory: str, path: str, key: str) -> str:
    if os.pread(fd, len(_SQLITE), 0) != _SQLITE:
        return "is no SQLite database"
    beside = [suffix for suffix in ("-wal", "-journal") if os.path.lexists(os.path.join(directory, path + suffix))]
    if not beside:
        return _integrity(f"file:/proc/self/fd/{fd}?mode=ro&immutable=1")
    with tempfile.TemporaryDirectory() as copy:  # its own would be written to: what is in the journal belongs to it
        for suffix in ("", *beside):
            _copy(directory, path + suffix, os.path.join(copy, "db" + suffix))
        return _integrity(f"file:{copy}/db?mode=rw")


def _copy(directory: str, path: str, to: str) -> None:
    fd = opened(directory, path)
    with open(fd, "rb") as source, open(to, "wb") as target:
        shutil.copyfileobj(source, target, _PIECE)


def _integrity(uri: str) -> str:
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            told = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        return f"is a damaged SQLite database: {error}"
    return "" if told == ["ok"] else f"is a damaged SQLite database: {'; '.join(told)}"


VERIFY: dict[str, Verify] = {"size": _size, "json": _json, "sqlite": _sqlite, "signed-pickle": _signed_pickle}
