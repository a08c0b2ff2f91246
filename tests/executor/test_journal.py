"""What the journal still knows after a death, a torn write, damage, a full disk and a reboot."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdagentd.executor import journal as module
from rdagentd.executor.journal import Journal
from tests.executor.conftest import Executor, needs_root


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path)


def end(run: str) -> dict[str, Any]:
    return {"notice": "exited", "run": run, "worker": "w", "kind": "code", "code": 0}


def fill(journal: Journal) -> None:
    """a: acknowledged, b: ended, c: running, d: about to be forked."""
    for run in "abcd":
        journal.spawned(run, "w")
    for number, run in enumerate("abc"):
        journal.born(run, 100 + number, 7, 1.5, {"out": 10})
    journal.exited(end("a"))
    journal.exited(end("b"))
    journal.ack("a")


def known(journal: Journal) -> tuple[object, ...]:
    return journal.live, journal.exits, list(journal.acked)


def test_knows_all_again(place: str) -> None:
    first = Journal(place)
    fill(first)
    again = Journal(place)
    assert known(again) == known(first) == (
        {"c": ["w", 102, 7, 1.5, {"out": 10}], "d": ["w", 0, 0, 0.0, {}]}, {"b": end("b")}, ["a"],
    )  # fmt: skip
    assert again.epoch == first.epoch and not again.stale
    assert all(again.seen(run) for run in "abcd") and not again.seen("e")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["spawned", "born", "exited", "ack", "rewrite"]), st.integers(0, 6)), max_size=30
    )
)
def test_any_history_is_read_back(tmp_path: Path, history: list[tuple[str, int]]) -> None:
    (tmp_path / "journal").unlink(missing_ok=True)
    first = Journal(str(tmp_path))
    for what, number in history:
        run = f"run{number}"
        if what == "spawned" and not first.seen(run):
            first.spawned(run, "w")
        elif what == "born" and run in first.live:
            first.born(run, number + 1, 9, 2.5, {"err": 0, "out": 3})
        elif what == "exited" and run in first.live:
            first.exited(end(run))
        elif what == "ack":
            first.ack(run)
        elif what == "rewrite":
            first.rewrite()
    again = Journal(str(tmp_path))
    assert known(again) == known(first) and again.epoch == first.epoch
    os.close(first.fd)
    os.close(again.fd)


def test_torn_at_every_byte(place: str) -> None:
    """What stands before the tear is known; as something may be missing, the epoch changes; and it can be written on."""
    first = Journal(place)
    fill(first)
    path = Path(place, "journal")
    whole = path.read_bytes()
    ends = [0]
    unpacker = msgpack.Unpacker()
    unpacker.feed(whole)
    for _ in unpacker:
        ends.append(unpacker.tell())
    expected: dict[int, str] = {}
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = Journal(place)
        assert (found.epoch == first.epoch) == (cut in ends[1:]), cut
        last = max(position for position in ends if position <= cut)
        assert repr(known(found)) == expected.setdefault(last, repr(known(found))), (
            f"the same as without the torn part, at {cut}"
        )
        found.spawned("new", "w")
        again = Journal(place)
        assert again.seen("new") and again.epoch == found.epoch
        os.close(found.fd)
        os.close(again.fd)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), garbage=st.binary(min_size=1, max_size=40))
def test_damage_changes_the_epoch_or_nothing(tmp_path: Path, position: int, garbage: bytes) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    first = Journal(str(tmp_path))
    fill(first)
    whole = path.read_bytes()
    damaged = whole[:position] + garbage + whole[position + len(garbage) :]
    path.write_bytes(damaged)
    try:
        found = Journal(str(tmp_path))
    except ValueError as error:
        assert "newer" in str(error)  # it may look like that
    else:
        found.spawned("new", "w")
        os.close(found.fd)
    os.close(first.fd)


def test_another_boot(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Journal(place)
    fill(first)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    again = Journal(place)
    assert again.stale and again.epoch != first.epoch
    assert known(again) == known(first)


def test_newer_version_is_refused(place: str) -> None:
    Path(place, "journal").write_bytes(msgpack.packb(["epoch", 99, "e", "b"]))
    with pytest.raises(ValueError, match="version 99 is newer"):
        Journal(place)
    assert msgpack.unpackb(Path(place, "journal").read_bytes())[1] == 99, "it was left as it is"


def test_acknowledged_ids_are_bounded(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    monkeypatch.setattr(module, "SLACK", 2000)
    journal = Journal(place)
    for number in range(500):
        journal.spawned(f"r{number}", "w")
        journal.exited(end(f"r{number}"))
        journal.ack(f"r{number}")
    assert list(journal.acked) == [f"r{number}" for number in range(490, 500)]
    assert Path(place, "journal").stat().st_size < 5000
    assert known(Journal(place)) == known(journal)


@contextmanager
def no_room(path: Path) -> Iterator[None]:
    """Files cannot grow beyond what the journal has now, save for two bytes: a torn write."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 2, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)


def test_no_room(place: str) -> None:
    journal = Journal(place)
    fill(journal)
    with no_room(Path(place, "journal")):
        with pytest.raises(OSError, match=r"No space|File too large"):
            journal.spawned("e", "w")
        assert not journal.seen("e")
        journal.exited(end("c"))
        journal.exited(end("x"))
        journal.ack("x")
        assert list(journal.pending) == ["c", "x"]
    journal.spawned("f", "w")
    again = Journal(place)
    assert known(again) == known(journal)
    assert again.exits.keys() == {"b", "c"} and list(again.acked) == ["a", "x"] and again.live.keys() == {"d", "f"}


@needs_root
def test_full_disk_refuses_runs_and_loses_no_exit(small_state: Executor) -> None:
    executor = small_state
    assert executor.client is not None
    running = executor.spawn("sleep", "1000")
    executor.client.wait("started", run=running)
    ballast = executor.state / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    refused = []
    for _ in range(200):  # until the journal's last page is full
        refused = [executor.run("true")]
        if refused[0]["kind"] == "could_not_start":
            break
    assert (refused[0]["stage"], refused[0]["errno"]) == ("journal", 28)
    executor.client.send("signal", run=running, signal=9, scope="main")
    assert executor.client.wait("exited", run=running)["signal"] == "SIGKILL"
    ballast.unlink()
    assert executor.run("true")["kind"] == "code"
    executor.kill()
    executor.start()
    exits = (
        {notice["run"]: notice for notice in executor.client.ask("hello", "hello")["exits"]} if executor.client else {}
    )
    assert exits[running]["signal"] == "SIGKILL"
    assert exits[refused[0]["run"]]["stage"] == "journal"
