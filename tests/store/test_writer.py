"""The writer thread: groups, order, failures that stay with their cause, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Thread

import pytest

from rdagentd.store.store import Store, StoreError
from rdagentd.store.writes import SetMeta, Write

from .values import a_spec, a_worker, an_event, saves


class Gate:
    """A failpoint that counts commits, and can hold the first one up until it is opened."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.reached = Event()
        self.opened = Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.reached.set()
        assert self.opened.wait(30)

    @property
    def commits(self) -> int:
        return self.names.count("after-commit")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(path: str, gate: Gate) -> Iterator[Store]:
    """A store whose first transaction waits at the gate."""
    store = Store(path, failpoint=gate)
    store.open()
    store.commit([SetMeta("first", "1")])
    assert gate.reached.wait(30)
    yield store
    gate.opened.set()
    store.close()


def test_calls_that_wait_share_a_transaction(gated: Store, gate: Gate) -> None:
    futures = [gated.commit([an_event(number), an_event(number)]) for number in range(100)]
    gate.opened.set()
    assert [future.result(30) for future in futures] == [[2 * n + 1, 2 * n + 2] for n in range(100)]
    assert gate.commits == 2
    assert gate.names == ["before-commit", "after-commit"] * 2


def test_threads_share_transactions_and_each_keeps_its_order(gated: Store, gate: Gate) -> None:
    futures: dict[int, list[Future[list[int]]]] = {thread: [] for thread in range(4)}

    def hand_over(thread: int) -> None:
        futures[thread] = [gated.commit([an_event(number, f"w{thread}")]) for number in range(50)]

    threads = [Thread(target=hand_over, args=(thread,)) for thread in futures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.opened.set()
    for thread, mine in futures.items():
        numbers = [future.result(30)[0] for future in mine]
        assert numbers == sorted(numbers)
        assert [event["text"] for event in gated.events([f"w{thread}"])] == [f"event {number}" for number in range(50)]
    assert gate.commits == 2


def test_a_future_is_done_only_after_the_commit(gated: Store, gate: Gate) -> None:
    future = gated.commit([an_event()])
    assert not future.done()
    assert not future.cancel()
    assert gated.events(None) == []
    gate.opened.set()
    assert future.result(30) == [1]
    assert len(gated.events(None)) == 1


def test_readers_read_while_a_transaction_is_open(gated: Store, gate: Gate) -> None:
    gated.commit([an_event()])
    assert gated.events(None) == []
    assert gated.runs("w") == []


BAD_WRITES: tuple[tuple[Write, str], ...] = (
    (an_event(strange=object()), "can ?not serialize"),
    (an_event(huge=1 << 70), "out of range|too large|too big"),
    (SetMeta("key", "\udcff"), "surrogates not allowed"),
    (SetMeta("key", None), "NOT NULL constraint failed: meta.value"),  # type: ignore[arg-type]
    ("nonsense", "str"),  # type: ignore[arg-type]
)


@pytest.mark.parametrize(("bad", "reason"), BAD_WRITES)
def test_a_bad_write_fails_alone_and_whole(gated: Store, gate: Gate, bad: Write, reason: str) -> None:
    before = gated.commit([an_event(1)])
    failing = gated.commit([an_event(2), bad, an_event(3)])
    after = gated.commit([an_event(4)])
    gate.opened.set()
    with pytest.raises(StoreError, match=f"(?i)cannot write to the state database: .*({reason})"):
        failing.result(30)
    assert (before.result(30), after.result(30)) == ([1], [2])
    assert [event["text"] for event in gated.events(None)] == ["event 1", "event 4"]
    assert gated.healthy()


def test_an_error_does_not_tell_the_environment(store: Store) -> None:
    spec = a_spec()
    with pytest.raises(StoreError) as caught:
        store.commit([*saves(a_worker()), SetMeta(spec, "v")]).result()  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_a_failure_before_the_commit_keeps_nothing(path: str) -> None:
    failing = [True]

    def failpoint(name: str) -> None:
        if name == "before-commit" and failing[0]:
            raise OSError(28, "No space left on device")

    store = Store(path, failpoint=failpoint)
    store.open()
    with pytest.raises(StoreError, match="No space left"):
        store.commit([an_event()]).result()
    failing[0] = False
    assert store.commit([an_event()]).result() == [1]
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system: needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_fails_commits_until_there_is_room(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(small_disk / "state.db")
    store = Store(path)
    store.open()
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    kept: list[int] = []
    failure = None
    for number in range(4000):
        try:
            kept += store.commit([an_event(number, padding="x" * 2000)]).result()
        except StoreError as error:
            failure = str(error)
            break
    assert failure == (
        "cannot write to the state database: database or disk is full; make room on its disk, and try again"
    )
    assert (store.healthy(), store.error) == (False, failure)
    several = [store.commit([an_event(padding="x" * 20_000)]) for _ in range(3)]
    assert all(isinstance(future.exception(30), StoreError) for future in several)
    assert [event["seq"] for event in store.events(None, limit=10_000)] == kept
    filler.unlink()
    kept += store.commit([an_event()]).result()
    assert (store.healthy(), store.error) == (True, None)
    copy = str(tmp_path_factory.mktemp("copy") / "state.db")
    for suffix in ("", "-wal"):
        shutil.copy(path + suffix, copy + suffix)
    store.close()
    for each in (
        path,
        copy,
    ):  # after a clean end, and as after a kill: with the WAL, and the remains of what failed in it
        again = Store(each)
        again.open()
        assert [event["seq"] for event in again.events(None, limit=10_000)] == kept == list(range(1, len(kept) + 1))
        again.close()


def test_the_wal_does_not_grow_without_bound(path: str, store: Store) -> None:
    largest = 0
    for number in range(300):
        store.commit([an_event(number, padding="x" * 60_000)]).result()
        largest = max(largest, Path(f"{path}-wal").stat().st_size)
    assert largest < 6 << 20
