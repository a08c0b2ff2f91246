"""A WAL that a crash tore is fine; one that was damaged in its middle is not."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.store import wal

COMMITS = 6
PAGE = 4096
FRAME = 24 + PAGE


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database whose WAL has COMMITS commits; the first makes the table."""
    live = tmp_path / "live.db"
    connection = sqlite3.connect(live, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    for number in range(COMMITS - 1):
        connection.execute("INSERT INTO t VALUES (?)", (number,))
    path = tmp_path / "x.db"
    for suffix in ("", "-wal"):
        Path(f"{path}{suffix}").write_bytes(Path(f"{live}{suffix}").read_bytes())
    yield path
    connection.close()


def fault(path: Path) -> str | None:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.execute("SELECT * FROM sqlite_schema").fetchall()
    connection.close()
    return wal.fault(str(path))


def commit_frames(data: bytes) -> list[int]:
    """Where the frames begin that end a commit."""
    return [at for at in range(32, len(data), FRAME) if struct.unpack_from(">I", data, at + 4)[0]]


def change(path: Path, at: int) -> None:
    file = Path(f"{path}-wal")
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_sound_wal(database: Path) -> None:
    assert len(commit_frames(Path(f"{database}-wal").read_bytes())) == COMMITS
    assert fault(database) is None


def test_no_wal_an_empty_one_and_one_of_zeros(database: Path) -> None:
    file = Path(f"{database}-wal")
    size = file.stat().st_size
    for data in (bytes(size), bytes(31), b""):
        file.write_bytes(data)
        assert fault(database) is None
    file.unlink()
    assert fault(database) is None


@pytest.mark.parametrize("commit", range(COMMITS))
def test_a_damaged_commit(database: Path, commit: int) -> None:
    """The last one may have been torn by a crash; behind any other there is one that was promised."""
    frames = commit_frames(Path(f"{database}-wal").read_bytes())
    change(database, frames[commit] + 24 + 100)
    found = fault(database)
    if commit == COMMITS - 1:
        assert found is None
    else:
        assert found is not None
        assert f"{COMMITS - commit} commits behind that place cannot be read" in found


def test_a_damaged_header(database: Path) -> None:
    for at in (0, 5, 9, 13, 17, 21, 25, 31):
        change(database, at)
        assert fault(database) == "the header of its write-ahead log (-wal) is damaged"
        change(database, at)
    assert fault(database) is None


def test_a_torn_tail(database: Path) -> None:
    file = Path(f"{database}-wal")
    data = file.read_bytes()
    for length in range(32, len(data), 1000):
        file.write_bytes(data[:length])
        assert fault(database) is None


def test_frames_of_an_earlier_round_do_not_count(database: Path) -> None:
    """After a checkpoint the WAL is written again from its start; what is left of the last round has other salts."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    connection.execute("INSERT INTO t VALUES (1)")
    copy = database.with_name("copy.db")
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{database}{suffix}").read_bytes())
    connection.close()
    assert len(commit_frames(Path(f"{copy}-wal").read_bytes())) >= COMMITS
    assert fault(copy) is None
