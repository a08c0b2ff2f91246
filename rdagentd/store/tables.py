"""Each kind of write as SQL. Runs in the writer thread, inside its transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sqlite3 import Connection
from typing import Any
from zlib import crc32

from attrs import frozen

from rdagentd.store.codec import encode, encode_worker, pack
from rdagentd.store.writes import AddEvent, ForgetWorker, SaveRun, SaveSpec, SaveWorker, SetMeta, Write


@frozen
class Keep:
    """How much history stays: ended runs and revisions per worker, events in all. Each at least 1."""

    runs: int = 100
    events: int = 100_000
    revisions: int = 50

    @property
    def batch(self) -> int:
        """Events are trimmed each time that so many have come: up to so many more than `events` are there."""
        return max(1, self.events // 256)


def write(connection: Connection, keep: Keep, writes: Iterable[Write]) -> list[int]:
    """Carry out writes in their order; the sequence numbers of the events among them."""
    numbers = (_WRITERS[type(each)](connection, keep, each) for each in writes)
    return [number for number in numbers if number is not None]


def _save_worker(connection: Connection, keep: Keep, write: SaveWorker) -> None:
    worker = write.worker
    data = encode_worker(worker)
    run = worker.run.id if worker.run else None
    reason = _plain(worker.reason.text) if worker.reason else None
    row = (worker.name, worker.state, worker.want, worker.revision, run, reason, crc32(data), data)
    connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def _save_spec(connection: Connection, keep: Keep, write: SaveSpec) -> None:
    data = encode(write.spec)
    row = (write.name, write.revision, write.at, write.by, crc32(data), data)
    connection.execute("INSERT OR REPLACE INTO specs VALUES (?, ?, ?, ?, ?, ?)", row)
    # The revision that the worker still names stays, however old: its row is saved by another write.
    connection.execute(
        """DELETE FROM specs WHERE name = :name
            AND revision IN (SELECT revision FROM specs WHERE name = :name ORDER BY revision DESC LIMIT -1 OFFSET :keep)
            AND revision IS NOT (SELECT revision FROM workers WHERE name = :name)""",
        {"name": write.name, "keep": keep.revisions},
    )


def _save_run(connection: Connection, keep: Keep, write: SaveRun) -> None:
    run, end = write.run, write.run.exit
    data = encode(run)
    ending = (end.kind, end.code, end.signal) if end else (None, None, None)
    row = (run.id, run.worker, run.started_at, run.ended_at, *ending, crc32(data), data)
    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    if end:
        connection.execute(
            """DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE worker = ? AND exit IS NOT NULL
                ORDER BY id DESC LIMIT -1 OFFSET ?)""",
            (run.worker, keep.runs),
        )


def _add_event(connection: Connection, keep: Keep, write: AddEvent) -> int:
    row = (write.at, write.worker, write.run, write.kind, _plain(write.text), write.by, pack(write.data))
    added = connection.execute(
        'INSERT INTO events (at, worker, run, kind, text, "by", data) VALUES (?, ?, ?, ?, ?, ?, ?)', row
    )
    number = added.lastrowid
    assert number is not None
    if number % keep.batch == 0:
        trim_events(connection, keep)
    return number


def trim_events(connection: Connection, keep: Keep) -> None:
    """Drop all but the newest events. Numbers have no holes, and the newest stays: none is given twice."""
    connection.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", (keep.events,))


def _forget_worker(connection: Connection, keep: Keep, write: ForgetWorker) -> None:
    for statement in (
        "DELETE FROM workers WHERE name = ?",
        "DELETE FROM specs WHERE name = ?",
        "DELETE FROM runs WHERE worker = ?",
    ):
        connection.execute(statement, (write.name,))


def _set_meta(connection: Connection, keep: Keep, write: SetMeta) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (write.key, write.value))


def _plain(text: str) -> str:
    """Text that SQLite takes: file names that are not UTF-8 come as surrogates."""
    return text.encode("utf-8", "replace").decode()


_WRITERS: dict[type[Any], Callable[[Connection, Keep, Any], int | None]] = {
    SaveWorker: _save_worker,
    SaveSpec: _save_spec,
    SaveRun: _save_run,
    AddEvent: _add_event,
    ForgetWorker: _forget_worker,
    SetMeta: _set_meta,
}
