"""What is whole, what is not, and that nothing is executed to find that out."""

from __future__ import annotations

import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rdagentd.look import verify
from rdagentd.look.verify import verdict
from tests.look.conftest import KEY, MAGIC, Trace, signed


def judged(path: Path, how: str, key: str = "") -> str:
    return verdict(str(path.parent), path.name, how, key)


class Trap:
    """Unpickled it would make a file."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("trapped", "w")


def test_a_signed_pickle_is_whole_if_its_signature_fits_and_is_never_unpickled(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trace.top)
    path, key = trace.top / "checkpoint", str(trace.top / "key")
    path.write_bytes(signed(Trap()))
    assert judged(path, "signed-pickle", key) == ""
    assert not (trace.top / "trapped").exists()
    pickle.loads(path.read_bytes()[len(MAGIC) + 32 :]).close()
    assert (trace.top / "trapped").exists(), "the trap is one"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (pickle.dumps(1), "is no signed pickle"),
        (MAGIC[:-1], "is no signed pickle"),
        (MAGIC + b"x" * 31, "is cut off in its signature"),
        (signed("x" * 100)[:-1], "its signature does not fit: cut off, changed, or signed with another key"),
        (signed("x" * 100) + b"x", "its signature does not fit: cut off, changed, or signed with another key"),
        (signed(1, KEY[::-1]), "its signature does not fit: cut off, changed, or signed with another key"),
    ],
)
def test_a_signed_pickle_that_is_not_whole(trace: Trace, content: bytes, problem: str) -> None:
    path = trace.top / "checkpoint"
    path.write_bytes(content)
    assert judged(path, "signed-pickle", str(trace.top / "key")) == problem


def test_a_key_that_is_none_is_told(trace: Trace) -> None:
    path = trace.top / "checkpoint"
    path.write_bytes(signed(1))
    assert judged(path, "signed-pickle", "/no/key") == "cannot be verified: /no/key: no such file or directory"
    os.mkfifo(trace.top / "pipe")
    assert judged(path, "signed-pickle", f"{trace.top}/pipe").endswith("has less than 32 bytes")
    (trace.top / "short").write_bytes(b"x" * 31)
    assert judged(path, "signed-pickle", f"{trace.top}/short").endswith("has less than 32 bytes")


@pytest.mark.parametrize(
    ("content", "problem"), [('{"a": 1}', ""), ('{"a": ', "is no JSON"), ("[" * 100000, "is no JSON")]
)
def test_json_is_whole_if_it_can_be_read_to_its_end(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "state.json").write_text(content)
    told = judged(tmp_path / "state.json", "json")
    assert told.startswith(problem) and bool(told) == bool(problem)


def database(path: Path, *pragmas: str) -> sqlite3.Connection:
    made = sqlite3.connect(path)
    for pragma in pragmas:
        made.execute(f"PRAGMA {pragma}")
    made.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY, state TEXT)")
    made.executemany("INSERT INTO steps (state) VALUES (?)", [("x" * 500,)] * 200)
    made.commit()
    return made


def test_a_database_is_whole_if_sqlite_says_so(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.db"
    database(path).close()
    assert judged(path, "sqlite") == ""
    assert sorted(os.listdir(tmp_path)) == ["AAPL.db"]
    torn = path.read_bytes()
    path.write_bytes(torn[:8192] + b"\0" * 8192 + torn[16384:])
    assert judged(path, "sqlite").startswith("is a damaged SQLite database: ")
    path.write_bytes(torn[: len(torn) // 2])
    assert judged(path, "sqlite").startswith("is a damaged SQLite database: ")
    path.write_bytes(b"x" * 9000)
    assert judged(path, "sqlite") == "is no SQLite database"


def test_what_is_still_in_the_log_of_a_database_counts_and_nothing_is_written_to_it(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.db"
    with closing(database(path, "journal_mode=WAL", "wal_autocheckpoint=0")):
        before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
        assert "AAPL.db-wal" in before
        assert judged(path, "sqlite") == ""
        assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_a_link_in_the_place_of_a_database_s_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    path = tmp_path / "top" / "AAPL.db"
    database(path).close()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "top" / "AAPL.db-wal").symlink_to(tmp_path / "secret")
    assert judged(path, "sqlite").startswith("cannot be read: ")


def test_what_is_written_to_meanwhile_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_text("x")

    def written(fd: int, directory: str, name: str, key: str) -> str:
        path.write_text("xy")
        return ""

    monkeypatch.setitem(verify.VERIFY, "size", written)
    assert judged(path, "size") == "is being written"


def test_what_is_no_file_that_can_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert judged(tmp_path / "fifo", "size") == "is no regular file"
    assert judged(tmp_path / "nothing", "size") == "cannot be read: no such file or directory"
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert judged(tmp_path / "link", "size") == "cannot be read: too many levels of symbolic links"
    (tmp_path / "file").write_text("x")
    assert judged(tmp_path / "file", "size") == ""
