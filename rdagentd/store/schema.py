"""The tables, as numbered migrations. A released migration never changes; the next one is added behind it.

Each blob column `data` is msgpack and the truth, with its CRC-32 in `sum`; the columns beside it are keys, or copies for the
curious with `sqlite3 state.db`. Foreign keys are off: a row whose partner is lost must stay, and be told.
"""

from __future__ import annotations

from sqlite3 import Connection, connect

APPLICATION_ID = 0x72646167
"""`rdag`, at offset 68 of the file; see the `application_id` pragma of SQLite."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE workers (name TEXT PRIMARY KEY, state TEXT NOT NULL, want TEXT NOT NULL, revision INTEGER NOT NULL,
            run TEXT, reason TEXT, sum INTEGER NOT NULL, data BLOB NOT NULL) STRICT, WITHOUT ROWID""",
        """CREATE TABLE specs (name TEXT, revision INTEGER, at REAL NOT NULL, "by" INTEGER NOT NULL, sum INTEGER NOT NULL,
            data BLOB NOT NULL, PRIMARY KEY (name, revision)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE runs (id TEXT PRIMARY KEY, worker TEXT NOT NULL, started_at REAL, ended_at REAL, exit TEXT,
            code INTEGER, signal TEXT, sum INTEGER NOT NULL, data BLOB NOT NULL) STRICT, WITHOUT ROWID""",
        "CREATE INDEX runs_of_worker ON runs (worker, id, exit)",
        """CREATE TABLE events (seq INTEGER PRIMARY KEY, at REAL NOT NULL, worker TEXT, run TEXT, kind TEXT NOT NULL,
            text TEXT NOT NULL, "by" INTEGER, data BLOB NOT NULL) STRICT""",
        "CREATE INDEX events_of_worker ON events (worker, seq)",
    ),
)

VERSION = len(MIGRATIONS)
"""The schema that this program reads and writes; kept in the file as `user_version`."""


def migrate(connection: Connection) -> None:
    """Bring the database to VERSION in one transaction. Raises sqlite3.Error, and then nothing has changed."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def missing(connection: Connection) -> list[str]:
    """The tables and indexes that should be there and are not, or not as they should be. Others do not matter."""
    query = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    fresh = connect(":memory:", isolation_level=None)
    try:
        migrate(fresh)
        wanted = set(fresh.execute(query))
    finally:
        fresh.close()
    return sorted(name for name, _ in wanted - set(connection.execute(query)))
