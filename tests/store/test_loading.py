"""A row that cannot be read does not block the others, is told with its reason, and stays as it is."""

from __future__ import annotations

import sqlite3
from typing import Any
from zlib import crc32

import msgpack
import pytest

from rdagentd.store.store import BadRow, Loaded, Store, StoreError
from rdagentd.store.writes import ForgetWorker

from .values import a_run, a_spec, a_worker, saves

GOOD = a_worker("good", a_run(1, "good"))
BAD = a_worker("bad", a_run(2, "bad"))


@pytest.fixture
def table(path: str) -> Any:
    """A database with a good and a (soon) bad worker, to be changed by hand."""
    store = Store(path)
    store.open()
    store.commit([*saves(GOOD), *saves(BAD)]).result()
    store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def put(table: sqlite3.Connection, into: str, blob: bytes) -> None:
    where = {"workers": "name = 'bad'", "specs": "name = 'bad'", "runs": "worker = 'bad'"}[into]
    table.execute(f"UPDATE {into} SET data = ?, sum = ? WHERE {where}", (blob, crc32(blob)))


def change(table: sqlite3.Connection, into: str, **fields: Any) -> None:
    where = {"workers": "name = 'bad'", "specs": "name = 'bad'", "runs": "worker = 'bad'"}[into]
    (blob,) = table.execute(f"SELECT data FROM {into} WHERE {where}").fetchone()
    put(table, into, msgpack.packb({**msgpack.unpackb(blob), **fields}))


BREAKAGES = (
    (lambda table: put(table, "workers", b"\xc1garbage"), "cannot read its row: it is not msgpack"),
    (lambda table: put(table, "workers", b"\x01"), "cannot read its row: it is not a map"),
    (lambda table: table.execute("UPDATE workers SET sum = 1 WHERE name = 'bad'"), "cannot read its row: its checksum"),
    (lambda table: change(table, "workers", state="dreaming"), "cannot read its row: 'dreaming' is not a valid State"),
    (lambda table: change(table, "workers", name="good"), "cannot read its row: it says that its name is 'good'"),
    (lambda table: change(table, "workers", hold=True), "hold"),
    (
        lambda table: change(table, "workers", revision=2),
        "cannot read its row: it is of 'bad', revision 2, not 'bad', 1",
    ),
    (lambda table: table.execute("DELETE FROM specs WHERE name = 'bad'"), "cannot find its spec, revision 1"),
    (lambda table: put(table, "specs", b""), "cannot read its spec, revision 1: it is not msgpack"),
    (lambda table: change(table, "specs", restart={"policy": "maybe"}), "'maybe' is not a valid Policy"),
    (lambda table: change(table, "specs", name="good"), "its spec says 'good'"),
    (lambda table: table.execute("DELETE FROM runs WHERE worker = 'bad'"), "cannot find its run 000000000002"),
    (lambda table: put(table, "runs", b"\x80"), "cannot read its run 000000000002: the field 'id' is missing"),
    (lambda table: change(table, "runs", exit={"kind": "bored"}), "'bored' is not a valid ExitKind"),
    (
        lambda table: table.execute("UPDATE workers SET run = NULL WHERE name = 'bad'"),
        "its run 000000000002 is missing",
    ),
)


@pytest.mark.parametrize(("breakage", "reason"), BREAKAGES, ids=[reason for _, reason in BREAKAGES])
def test_one_bad_row(path: str, table: sqlite3.Connection, breakage: Any, reason: str) -> None:
    breakage(table)
    before = table.execute("SELECT * FROM workers, specs, runs").fetchall()
    store = Store(path)
    loaded = store.open()
    assert loaded.workers == (GOOD,)
    assert [row.name for row in loaded.bad] == ["bad"]
    assert reason in loaded.bad[0].reason
    assert "secret" not in loaded.bad[0].reason
    assert table.execute("SELECT * FROM workers, specs, runs").fetchall() == before
    store.close()


@pytest.mark.parametrize(("writes", "left"), [(saves(BAD), (BAD, GOOD)), ([ForgetWorker("bad")], (GOOD,))])
def test_a_bad_row_goes_when_it_is_saved_anew_or_forgotten(
    path: str, table: sqlite3.Connection, writes: Any, left: Any
) -> None:
    put(table, "workers", b"")
    store = Store(path)
    assert store.open().bad == (BadRow("bad", "cannot read its row: it is not msgpack: ValueError"),)
    store.commit(writes).result()
    store.close()
    store = Store(path)
    assert store.open() == Loaded(left, (), {}, None)
    store.close()


def test_history_that_cannot_be_read_is_left_out_or_told(
    path: str, table: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    put(table, "runs", b"\x01")
    put(table, "specs", b"\x01")
    store = Store(path)
    store.open()
    assert store.runs("bad") == []
    assert "cannot read run 000000000002 of bad" in caplog.text
    with pytest.raises(StoreError, match="cannot read the run 000000000002: it is not a map"):
        store.run("000000000002")
    with pytest.raises(StoreError, match="cannot read the spec of bad, revision 1"):
        store.spec("bad", 1)
    assert store.spec("good", 1) == a_spec("good")
    store.close()


def test_an_event_whose_data_cannot_be_read_is_told_without(path: str, table: sqlite3.Connection) -> None:
    table.execute("INSERT INTO events (at, kind, text, data) VALUES (1, 'noted', 'A', x'c1')")
    store = Store(path)
    store.open()
    assert store.events(None)[0]["data"] == {"unreadable": "it is not msgpack: FormatError"}
    store.close()
