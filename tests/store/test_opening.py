"""Opening: what is missing, empty, foreign, forbidden or damaged, and what is told and left of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rdagentd.store.store import Damaged, Store, StoreError

from .values import a_worker, saves

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system or becomes another user: needs root")


def content(path: str) -> dict[str, bytes]:
    """Every file in the database's directory, but for the -shm, which SQLite rebuilds, and an empty -wal, which is none."""
    files = {each.name: each.read_bytes() for each in Path(path).parent.iterdir() if not each.name.endswith("-shm")}
    return {name: data for name, data in files.items() if data or not name.endswith("-wal")}


def make(path: str) -> None:
    store = Store(path)
    store.open()
    store.commit(saves(a_worker())).result()
    store.close()


def refused(path: str, kind: type[StoreError] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        Store(path).open()
    assert type(caught.value) is kind
    assert str(caught.value).startswith("cannot ")
    assert path in str(caught.value)
    return str(caught.value)


ALONE = "the database is missing, and the commits beside it (-wal) belong to it"
DAMAGES = (
    ("empty", {"": b""}, "the file is empty, and was not when it was made"),
    ("text", {"": b"hello\n"}, "it is not a database"),
    ("short", {"": b"SQLite format 3\0"}, "it is not a database"),
    ("zeros", {"": bytes(8192)}, "it is not a database"),
    ("empty-beside-a-wal", {"": b"", "-wal": b"x" * 5000}, "the file is empty, and was not when it was made"),
    ("wal-alone", {"-wal": b"x" * 5000}, ALONE),
    ("journal-alone", {"-journal": b"x" * 5000}, ALONE),
)


@pytest.mark.parametrize(("files", "reason"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_damaged_files_are_set_aside(path: str, files: dict[str, bytes], reason: str) -> None:
    for suffix, data in files.items():
        Path(path + suffix).write_bytes(data)
    message = refused(path, Damaged)
    assert f"cannot use the state database {path}: {reason}; it was moved, unchanged, to {path}.damaged-" in message
    assert "restore a backup" in message
    aside = message.split("unchanged, to ")[1].split(";")[0]
    assert content(path) == {Path(aside + suffix).name: data for suffix, data in files.items()}
    store = Store(path)
    loaded = store.open()
    assert (loaded.workers, loaded.set_aside) == ((), aside)
    store.close()


def test_each_damaged_database_gets_a_name_of_its_own(path: str) -> None:
    for number in range(3):
        Path(path).write_text(f"text {number}")
        refused(path, Damaged)
    assert sorted(content(path).values()) == [b"text 0", b"text 1", b"text 2"]


def test_a_later_open_of_a_good_database_tells_nothing_of_an_old_one(path: str) -> None:
    Path(path).write_text("text")
    refused(path, Damaged)
    make(path)
    store = Store(path)
    assert store.open().set_aside is None
    store.close()


SCHEMAS = (
    ("DROP TABLE events", "events, events_of_worker"),
    ("DROP INDEX runs_of_worker", "runs_of_worker"),
    ("ALTER TABLE workers RENAME COLUMN reason TO raison", "workers"),
    ("ALTER TABLE specs DROP COLUMN at", "specs"),
    ("DROP TABLE workers", "workers"),
)


@pytest.mark.parametrize(("statement", "names"), SCHEMAS)
def test_a_schema_that_is_not_ours_is_damage(path: str, statement: str, names: str) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    before = content(path)
    assert f"these are not as schema 1 has them: {names};" in refused(path, Damaged)
    assert list(content(path).values()) == list(before.values())


def test_tables_that_others_added_do_not_matter(path: str) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    store = Store(path)
    assert store.open().workers == (a_worker(),)
    store.close()


def test_schema_number_zero_is_damage(path: str) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.close()
    assert "its schema number is 0" in refused(path, Damaged)


def test_a_database_of_another_program_is_left_alone(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = content(path)
    assert "it is a database of another program; move it away" in refused(path)
    assert content(path) == before


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    assert (
        "no such file or directory; see that its directory exists"
        in refused(str(tmp_path / "none" / "state.db")).lower()
    )


def test_a_directory_in_its_place_is_told(path: str) -> None:
    Path(path).mkdir()
    assert "is a directory" in refused(path).lower()
    assert Path(path).is_dir()


def test_a_half_made_database_is_made_anew(path: str) -> None:
    for suffix in ("", "-wal", "-journal"):
        Path(f"{path}.new{suffix}").write_text("half")
    make(path)
    assert list(content(path)) == ["state.db"]


def test_a_database_that_others_could_read_is_closed_to_them(path: str) -> None:
    make(path)
    os.chmod(path, 0o644)
    make(path)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_backup_without_wal_mode_opens(path: str) -> None:
    make(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
    store = Store(path)
    assert store.open().workers == (a_worker(),)
    assert Path(f"{path}-shm").exists()
    store.close()


TRY = """
import os, sys
from rdagentd.store.store import Store, StoreError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Store(sys.argv[1]).open()
except StoreError as error:
    print(type(error).__name__, error)
"""


def as_nobody(path: str) -> str:
    done = subprocess.run([sys.executable, "-c", TRY, path], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@root_only
@pytest.mark.parametrize("exists", [True, False])
def test_permission_denied_is_told_and_nothing_moved(path: str, exists: bool) -> None:
    for parent in list(Path(path).parents)[:3]:
        os.chmod(parent, 0o755)
    if exists:
        make(path)
    before = content(path)
    assert (
        as_nobody(path).lower().startswith(f"storeerror cannot open the state database {path}: permission denied; see")
    )
    assert content(path) == before


@root_only
def test_a_read_only_file_system_is_told_and_nothing_moved(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=True)
    try:
        path = str(tmp_path / "state.db")
        make(path)
        before = content(path)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        assert "cannot open the state database" in refused(path)
        assert content(path) == before
        other = str(tmp_path / "other.db")
        assert "read-only file system" in refused(other).lower()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@root_only
@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_is_told_and_nothing_moved(tmp_path: Path, exists: bool) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        path = str(tmp_path / "state.db")
        if exists:
            make(path)
        filler = tmp_path / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            for _ in range(1024):
                file.write(bytes(4096))
        before = content(path)
        assert "cannot open the state database" in refused(path)
        assert content(path) == before
        filler.unlink()
        make(path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
