"""Opening the database: what is there is looked at first, read-only; only what is sound is written to.

An empty or missing file is new only if nothing lies beside it. New databases come into place by a rename, whole, so
an empty file with our name has lost what it held; and a WAL without its database holds commits that SQLite would delete.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from sqlite3 import Connection

from attrs import frozen

from rdagentd.store import files, schema, wal
from rdagentd.store.errors import Damaged, NewerSchema, StoreError
from rdagentd.store.loading import Loaded, load

MAGIC = b"SQLite format 3\0"
"""The first bytes of every database: https://www.sqlite.org/fileformat2.html."""

SMALLEST = 512
"""Bytes in the smallest page."""

NOT_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something of the machine and nothing of the content."""


class _Unsound(Exception):  # noqa: N818
    """The content is damaged; the message says how."""


@frozen
class Opened:
    """The writer's connection, the readers' connection, and what was loaded."""

    writer: Connection
    reader: Connection
    loaded: Loaded


def open_database(path: str) -> Opened:
    """Open or make the database. Raises Damaged, NewerSchema, StoreError."""
    connections: list[Connection] = []
    try:
        return _open(path, connections)
    except _Unsound as error:
        raise _damaged(path, str(error)) from error
    except sqlite3.Error as error:
        if not _is_damage(error):
            raise _cannot_open(path, str(error)) from error
        raise _damaged(path, str(error)) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which cites what it found
        raise _damaged(path, "the names of its tables are damaged") from error
    except OSError as error:
        raise _cannot_open(path, error.strerror or str(error)) from error
    finally:
        # After a database was moved its connections may close: SQLite leaves a moved file alone.
        for connection in connections:
            connection.close()


def _open(path: str, connections: list[Connection]) -> Opened:
    aside = None
    if _absent(path):
        files.create(path)
        aside = files.newest_set_aside(path)
    _tighten(path)
    look = files.link(path, "ro")
    connections.append(look)
    _examine(look, path)
    look.close()
    if fault := wal.fault(path):
        raise _Unsound(fault)
    writer = files.link(path, "rw")
    connections.append(writer)
    _prepare(writer)
    loaded = load(writer, aside)
    if loaded.bad:  # a fault of one row, or of the order of the rows, which only the long check sees
        _check(writer, "integrity_check")
    reader = files.link(path, "ro")
    reader.execute("PRAGMA query_only = ON")
    connections.remove(writer)
    return Opened(writer, reader, loaded)


def _absent(path: str) -> bool:
    """Whether a new database may be made here. Raises _Unsound, OSError."""
    sizes = {suffix: Path(path + suffix).stat().st_size for suffix in files.SUFFIXES if os.path.lexists(path + suffix)}
    if "" not in sizes:
        if sizes.get("-wal") or sizes.get("-journal"):
            raise _Unsound("the database is missing, and the commits beside it (-wal) belong to it")
        return True
    if not sizes[""]:
        raise _Unsound("the file is empty, and was not when it was made")
    return False


def _tighten(path: str) -> None:
    """It holds keys: nobody else reads it. (Before SQLite opens it: closing a descriptor would drop SQLite's locks.)"""
    with Path(path).open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC or os.fstat(file.fileno()).st_size < SMALLEST:
            raise _Unsound("it is not a database")
    if Path(path).stat().st_mode & 0o077:
        Path(path).chmod(0o600)


def _examine(connection: Connection, path: str) -> None:
    """Raises _Unsound, NewerSchema, StoreError, sqlite3.Error."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != schema.APPLICATION_ID:
        raise StoreError(f"cannot open the state database {path}: it is a database of another program; move it away")
    if version > schema.VERSION:
        raise NewerSchema(
            f"cannot open the state database {path}: it has schema {version}, and this rdagentd knows those up to"
            f" {schema.VERSION}; install the newer rdagentd again, or restore a backup from before the upgrade"
        )
    if version < 1:
        raise _Unsound(f"its schema number is {version}")
    _check(connection, "quick_check")


def _check(connection: Connection, pragma: str) -> None:
    (verdict,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    if verdict != "ok":
        raise _Unsound(verdict.replace("\n", ": "))


def _prepare(connection: Connection) -> None:
    """Settings of the writer's connection, and the newest schema. Raises _Unsound, sqlite3.Error."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {files.WAL_BYTES}")
    schema.migrate(connection)
    if lost := schema.missing(connection):
        raise _Unsound(f"these are not as schema {schema.VERSION} has them: {', '.join(lost)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")  # fails here, with a reason, where nothing can be written
    connection.execute("ROLLBACK")


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF not in NOT_DAMAGE


def _damaged(path: str, reason: str) -> Damaged:
    try:
        where = f"it was moved, unchanged, to {files.set_aside(path)}"
    except OSError as error:
        return Damaged(
            f"cannot use the state database {path}: {reason}; it was left there, because it cannot be moved:"
            f" {error.strerror}; move it away and restore a backup, or start again to begin with an empty one"
        )
    return Damaged(
        f"cannot use the state database {path}: {reason}; {where}; restore a backup as {path},"
        " or start again to begin with an empty one"
    )


def _cannot_open(path: str, reason: str) -> StoreError:
    return StoreError(
        f"cannot open the state database {path}: {reason}; see that its directory exists, that this user may write to it,"
        " and that the disk is not full; nothing was changed"
    )
