"""The database as files: made whole or not at all, looked at before it is trusted, set aside when it is damaged."""

from __future__ import annotations

import glob
import os
import re
import time
from pathlib import Path
from sqlite3 import Connection, connect

from rdagentd.store.schema import migrate

SUFFIXES = ("", "-wal", "-shm", "-journal")
"""A database and what SQLite keeps beside it."""

WAL_BYTES = 16 << 20
"""The WAL is cut to this after a checkpoint; it is longer only while a reader holds it or one transaction is larger."""


def link(path: str, mode: str) -> Connection:
    """A connection, `mode` "ro" or "rw": the file must exist. Transactions are begun by hand. Raises sqlite3.Error."""
    connection = connect(
        f"{Path(path).absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5,
    )
    # A text that is no longer UTF-8 must not hide the other rows; its checksum tells.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def create(path: str) -> None:
    """Make an empty database: under another name, then renamed, so that a file with our name was once whole.

    Raises OSError or sqlite3.Error, and then leaves nothing behind.
    """
    draft = f"{path}.new"
    _remove(draft)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = link(draft, "rw")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        Path(draft).rename(path)
        sync_directory(path)
    except BaseException:
        _remove(draft)
        raise


def set_aside(path: str) -> str:
    """Move a damaged database, unchanged, with all that belongs to it; the new name. Raises OSError.

    Open connections must be closed afterwards, not before: a last close would write the WAL back.
    """
    name = target = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    count = 1
    while any(os.path.lexists(target + suffix) for suffix in SUFFIXES):
        count += 1
        target = f"{name}.{count}"
    for suffix in SUFFIXES:
        if os.path.lexists(path + suffix):
            Path(path + suffix).rename(target + suffix)
    sync_directory(path)
    return target


def newest_set_aside(path: str) -> str | None:
    """The database that was set aside last, or None."""
    target = Path(path)
    found = [str(each) for each in target.parent.glob(f"{glob.escape(target.name)}.damaged-*")]
    return max((re.sub("-(wal|shm|journal)$", "", each) for each in found), default=None)


def sync_directory(path: str) -> None:
    """Make the names in the directory of `path` durable: fsync(2)."""
    descriptor = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    for suffix in SUFFIXES:
        Path(path + suffix).unlink(missing_ok=True)
