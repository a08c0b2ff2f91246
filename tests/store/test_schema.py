"""Every schema that was ever released opens, and holds what was put in."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from rdagentd.store import schema
from rdagentd.store.store import NewerSchema, Store
from rdagentd.store.writes import SetMeta

from .schemas import make_v1

SCHEMAS = Path(__file__).parent / "schemas"


def test_there_is_a_pinned_database_of_every_schema() -> None:
    assert {each.name for each in SCHEMAS.glob("*.db")} == {f"v{number + 1}.db" for number in range(schema.VERSION)}


@pytest.fixture
def pinned(path: str) -> Store:
    shutil.copy(SCHEMAS / "v1.db", path)
    return Store(path)


def test_v1_holds_what_was_put_in(pinned: Store) -> None:
    loaded = pinned.open()
    assert loaded.workers == (make_v1.FULL, make_v1.PLAIN)
    assert (loaded.bad, loaded.meta, loaded.set_aside) == ((), make_v1.META, None)
    assert pinned.runs("full") == [make_v1.FULL_RUN, make_v1.EARLIER]
    assert pinned.revisions("full") == [(1, 1767225500.0, 0), (2, 1767225550.5, 1000)]
    assert pinned.spec("full", 1) == make_v1.OLD_SPEC
    event = make_v1.EVENT
    assert pinned.events(None) == [
        {
            "seq": 1,
            "at": event.at,
            "worker": "full",
            "run": event.run,
            "kind": "ended",
            "text": event.text,
            "by": 1000,
            "data": event.data,
        }
    ]
    pinned.close()


def test_v1_is_written_to_and_opens_again(pinned: Store, path: str) -> None:
    pinned.open()
    pinned.commit([*make_v1.WRITES, SetMeta("epoch", "e-2")]).result()
    pinned.close()
    again = Store(path)
    assert again.open().meta == {**make_v1.META, "epoch": "e-2"}
    assert len(again.events(None)) == 2
    again.close()


def test_v1_has_a_column_for_each_thing_that_people_ask_for(pinned: Store, path: str) -> None:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("SELECT name, state, want, revision, run, reason FROM workers").fetchall() == [
            ("full", "backoff", "up", 2, "0198c0ffee01", "it starts again in 3 s"),
            ("plain", "stopped", "up", 1, None, None),
        ]
        assert connection.execute("SELECT id, worker, exit, code, signal FROM runs ORDER BY id").fetchall() == [
            ("0198c0ffee00", "full", "could_not_start", None, None),
            ("0198c0ffee01", "full", "signal", None, "SIGSEGV"),
        ]
        assert connection.execute("PRAGMA application_id").fetchone() == (0x72646167,)
    finally:
        connection.close()


def test_a_newer_schema_is_refused_and_left_as_it_is(pinned: Store, path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    before = Path(path).read_bytes()
    said = (
        f"it has schema {schema.VERSION + 1}, and this rdagentd knows those up to {schema.VERSION}; install the newer"
    )
    with pytest.raises(NewerSchema, match=said):
        pinned.open()
    assert Path(path).read_bytes() == before
    assert not list(Path(path).parent.glob("*damaged*"))


def test_a_migration_that_fails_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    monkeypatch.setattr(schema, "MIGRATIONS", (("CREATE TABLE one (a)", "CREATE TABLE one (a)"),))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        schema.migrate(connection)
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == []
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_migration_begins_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    monkeypatch.setattr(schema, "MIGRATIONS", (("CREATE TABLE one (a)",), ("ALTER TABLE one ADD COLUMN b",)))
    monkeypatch.setattr(schema, "VERSION", 2)
    connection.execute("CREATE TABLE one (a)")
    connection.execute("PRAGMA user_version = 1")
    for _ in range(2):
        schema.migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert len(connection.execute("PRAGMA table_info(one)").fetchall()) == 2
    connection.close()
