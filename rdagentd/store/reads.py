"""Reading history, from any thread, through a connection of its own: under WAL a reader never holds up the writer."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any, TypeVar

from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.store.codec import decode, unpack
from rdagentd.store.errors import StoreError, Unreadable

T = TypeVar("T")

log = logging.getLogger(__name__)

COLUMNS = ("seq", "at", "worker", "run", "kind", "text", "by", "data")
"""Of an event, in this order."""


class Reader:
    """Each method raises StoreError. One lock: a read is short, and a cursor must not be shared."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = Lock()

    def close(self) -> None:
        """Close the connection. May be called twice."""
        with self._lock:
            self._connection.close()

    def runs(self, worker: str, limit: int) -> list[Run]:
        """Runs of a worker, newest first; those that cannot be read are left out and logged."""
        runs = []
        query = "SELECT id, sum, data FROM runs WHERE worker = ? ORDER BY id DESC LIMIT ?"
        for run_id, checksum, data in self._all(query, (worker, limit)):
            try:
                runs.append(decode(data, checksum, Run))
            except Unreadable as error:
                log.warning("cannot read run %s of %s: %s; it is left out", run_id, worker, error)
        return runs

    def run(self, run_id: str) -> Run | None:
        """One run, None if there is none."""
        for checksum, data in self._all("SELECT sum, data FROM runs WHERE id = ?", (run_id,)):
            return _read(f"run {run_id}", checksum, data, Run)
        return None

    def revisions(self, name: str) -> list[tuple[int, float, int]]:
        """Revision, time and uid of each spec that is kept, oldest first."""
        return self._all('SELECT revision, at, "by" FROM specs WHERE name = ? ORDER BY revision', (name,))

    def spec(self, name: str, revision: int) -> Spec | None:
        """One revision of a spec, None if there is none."""
        query = "SELECT sum, data FROM specs WHERE name = ? AND revision = ?"
        for checksum, data in self._all(query, (name, revision)):
            return _read(f"spec of {name}, revision {revision}", checksum, data, Spec)
        return None

    def events(  # noqa: PLR0913 -- what can be asked
        self,
        workers: Collection[str] | None,
        since: int,
        limit: int,
        tail: int | None,
        *,
        kinds: Collection[str] = (),
        after: float | None = None,
    ) -> list[dict[str, Any]]:
        """Events with a number above `since`, of these workers or of all, ascending: the first `limit`, or the last `tail`.

        kinds: only of these, where there are any; after: none before that time, in seconds since the epoch.
        """
        where, values = _of_workers(workers)
        if kinds:
            where += " AND kind IN (SELECT value FROM json_each(?))"
            values = (*values, json.dumps(list(kinds)))
        if after is not None:
            where += " AND at >= ?"
            values = (*values, after)
        order, count = ("ASC", limit) if tail is None else ("DESC", tail)
        query = (
            f'SELECT seq, at, worker, run, kind, text, "by", data FROM events'  # noqa: S608 (constants only)
            f" WHERE seq > ? {where} ORDER BY seq {order} LIMIT ?"
        )
        rows = self._all(query, (since, *values, count))
        return [_event(row) for row in (rows if tail is None else reversed(rows))]

    def _all(self, query: str, values: Sequence[Any]) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the state database: {error}; see the kernel's log for faults") from error


def _of_workers(workers: Collection[str] | None) -> tuple[str, tuple[Any, ...]]:
    """A condition and its values. One worker goes by the index; many by number, because LIMIT ends that early."""
    if workers is None:
        return "", ()
    if len(workers) == 1:
        return "AND worker = ?", tuple(workers)
    return "AND +worker IN (SELECT value FROM json_each(?))", (json.dumps(list(workers)),)


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    event = dict(zip(COLUMNS, row, strict=True))
    try:
        event["data"] = unpack(event["data"])
    except Unreadable as error:
        event["data"] = {"unreadable": str(error)}
    return event


def _read(what: str, checksum: int, data: bytes, kind: type[T]) -> T:
    try:
        return decode(data, checksum, kind)
    except Unreadable as error:
        raise StoreError(f"cannot read the {what}: {error}; restore a backup, or submit the worker again") from error
