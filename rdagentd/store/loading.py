"""What the store holds at the start of the daemon: every worker that can be read, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any

from attrs import frozen

from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.store.codec import decode, decode_worker
from rdagentd.store.errors import Unreadable


@frozen
class BadRow:
    """A worker that cannot be read, and why. Its rows stay until it is saved anew or forgotten."""

    name: str
    reason: str


@frozen
class Loaded:
    """What was there. set_aside: the newest damaged database beside it, if this one had to be made anew."""

    workers: tuple[Worker, ...]
    bad: tuple[BadRow, ...]
    meta: Mapping[str, str]
    set_aside: str | None


QUERY = """
    SELECT w.name, w.revision, w.sum, w.data, s.sum, s.data, w.run, r.sum, r.data FROM workers w
        LEFT JOIN specs s ON s.name = w.name AND s.revision = w.revision
        LEFT JOIN runs r ON r.id = w.run
    ORDER BY w.name
"""


def load(connection: Connection, set_aside: str | None) -> Loaded:
    """Read everything that the daemon starts from. Raises sqlite3.Error where the file itself is damaged."""
    workers: list[Worker] = []
    bad: list[BadRow] = []
    for row in connection.execute(QUERY):
        try:
            workers.append(_worker(row))
        except Unreadable as error:
            bad.append(BadRow(row[0], str(error)))
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    return Loaded(tuple(workers), tuple(bad), meta, set_aside)


def _worker(row: tuple[Any, ...]) -> Worker:
    name, revision, checksum, data, spec_sum, spec_data, run_id, run_sum, run_data = row
    spec = _part(Spec, f"spec, revision {revision}", spec_sum, spec_data)
    run = None if run_id is None else _part(Run, f"run {run_id}", run_sum, run_data)
    try:
        worker = decode_worker(data, checksum, spec, run)
    except Unreadable as error:
        raise Unreadable(f"cannot read its row: {error}") from error
    if (worker.name, worker.revision) != (name, revision):
        raise Unreadable(
            f"cannot read its row: it is of {worker.name!r}, revision {worker.revision}, not {name!r}, {revision}"
        )
    return worker


def _part(kind: type[Any], what: str, checksum: int | None, data: bytes | None) -> Any:
    if checksum is None or data is None:
        raise Unreadable(f"cannot find its {what}")
    try:
        return decode(data, checksum, kind)
    except Unreadable as error:
        raise Unreadable(f"cannot read its {what}: {error}") from error
