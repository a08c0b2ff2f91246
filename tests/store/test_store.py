"""The store as its callers see it: what was committed is there after the next open, and is what history tells."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from attrs import evolve

from rdagentd.model.worker import State
from rdagentd.store.store import Loaded, Store, StoreError
from rdagentd.store.writes import ForgetWorker, SaveRun, SaveSpec, SaveWorker, SetMeta, Write

from .values import a_run, a_spec, a_worker, an_event, saves


def reopened(path: str, store: Store) -> Loaded:
    store.close()
    again = Store(path)
    try:
        return again.open()
    finally:
        again.close()


def test_a_new_store_is_empty_and_private(path: str) -> None:
    store = Store(path)
    assert store.open() == Loaded((), (), {}, None)
    assert {name: os.stat(f"{path}{name}").st_mode & 0o777 for name in ("", "-wal", "-shm")} == {
        "": 0o600,
        "-wal": 0o600,
        "-shm": 0o600,
    }
    store.close()
    assert os.listdir(os.path.dirname(path)) == ["state.db"]


def test_what_was_committed_is_loaded(path: str, store: Store) -> None:
    first, second = a_worker("a", a_run(1, "a"), state=State.RUNNING), a_worker("b")
    store.commit([*saves(first), *saves(second), SetMeta("epoch", "e1")]).result()
    assert reopened(path, store) == Loaded((first, second), (), {"epoch": "e1"}, None)


LATER = a_worker("w", a_run(2, ended=True), state=State.COMPLETED, attempt=2)
ORDERS: tuple[tuple[Sequence[Write], tuple[str, ...]], ...] = (
    ([*saves(a_worker()), *saves(LATER)], ("completed",)),
    ([*saves(LATER), *saves(a_worker())], ("stopped",)),
    ([*saves(a_worker()), ForgetWorker("w")], ()),
    ([ForgetWorker("w"), *saves(a_worker())], ("stopped",)),
    ([*saves(LATER), ForgetWorker("other")], ("completed",)),
)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("writes", "states"), ORDERS)
def test_the_last_write_wins(
    path: str, store: Store, writes: Sequence[Write], states: tuple[str, ...], together: bool
) -> None:
    for each in [writes] if together else [[write] for write in writes]:
        done = store.commit(each)
    done.result()
    assert tuple(worker.state for worker in reopened(path, store).workers) == states


def test_a_forgotten_worker_leaves_its_events(store: Store) -> None:
    store.commit([*saves(a_worker(run=a_run(ended=True))), an_event(), ForgetWorker("w")]).result()
    assert (store.runs("w"), store.revisions("w"), store.spec("w", 1)) == ([], [], None)
    assert [event["text"] for event in store.events(["w"])] == ["event 1"]


def test_a_future_gives_the_numbers_of_its_events(store: Store) -> None:
    assert store.commit([an_event(), SetMeta("k", "v"), an_event()]).result() == [1, 2]
    assert store.commit([SetMeta("k", "w")]).result() == []
    assert store.commit([]).result() == []
    assert store.commit([an_event()]).result() == [3]


def test_runs_are_told_newest_first(store: Store) -> None:
    runs = [a_run(number, ended=number < 4) for number in range(1, 5)]
    store.commit([SaveRun(run) for run in [*runs, a_run(9, "other")]]).result()
    assert store.runs("w") == runs[::-1]
    assert store.runs("w", limit=2) == runs[:1:-1]
    assert store.run(runs[1].id) == runs[1]
    assert (store.run("none"), store.runs("none")) == (None, [])


def test_a_run_is_saved_over_itself(store: Store) -> None:
    store.commit([SaveRun(a_run(1)), SaveRun(a_run(1, ended=True))]).result()
    assert store.runs("w") == [a_run(1, ended=True)]


def test_every_revision_is_told(store: Store) -> None:
    specs = [a_spec(nice=number) for number in (1, 2)]
    store.commit([SaveSpec("w", number, spec, 1.5 * number, 7) for number, spec in enumerate(specs, 1)]).result()
    assert store.revisions("w") == [(1, 1.5, 7), (2, 3.0, 7)]
    assert [store.spec("w", revision) for revision in (1, 2, 3)] == [*specs, None]


def test_an_event_is_told_whole(store: Store) -> None:
    event = evolve(an_event(pid=7), run="r1", text="said \udcff\0")
    store.commit([event]).result()
    assert store.events(None) == [
        {
            "seq": 1,
            "at": 1.5,
            "worker": "w",
            "run": "r1",
            "kind": "noted",
            "text": "said ?\0",
            "by": 1000,
            "data": {"pid": 7},
        }
    ]


EVENTS = (
    ({"workers": None}, [1, 2, 3, 4, 5, 6]),
    ({"workers": None, "since": 4}, [5, 6]),
    ({"workers": None, "limit": 2}, [1, 2]),
    ({"workers": None, "tail": 2}, [5, 6]),
    ({"workers": None, "tail": 0}, []),
    ({"workers": ["a"]}, [1, 4]),
    ({"workers": ["a"], "tail": 1}, [4]),
    ({"workers": {"a", "b"}, "since": 1}, [2, 4, 5]),
    ({"workers": ("a", "b"), "tail": 3}, [2, 4, 5]),
    ({"workers": []}, []),
    ({"workers": ["none"]}, []),
    ({"workers": None, "kinds": ["odd"]}, [1, 3, 5]),
    ({"workers": None, "kinds": ["odd"], "tail": 2}, [3, 5]),
    ({"workers": ["a"], "kinds": ["even", "none"]}, [4]),
    ({"workers": None, "after": 104.0}, [4, 5, 6]),
    ({"workers": ["b"], "after": 103.0, "kinds": ["odd"]}, [5]),
)
"""Events 1 to 6 are of a, b, nobody, a, b, nobody; of kind odd and even in turn; number n of second 100 + n."""


@pytest.mark.parametrize(("query", "numbers"), EVENTS)
def test_events_are_selected(store: Store, query: dict[str, object], numbers: list[int]) -> None:
    events = [an_event(number, worker) for number, worker in enumerate(("a", "b", None) * 2, 1)]
    store.commit([evolve(one, kind=("even", "odd")[n % 2], at=100.0 + n) for n, one in enumerate(events, 1)]).result()
    assert [event["seq"] for event in store.events(**query)] == numbers  # type: ignore[arg-type]


def test_event_numbers_go_on_after_a_restart(path: str, store: Store) -> None:
    store.commit([an_event(), an_event()]).result()
    store.close()
    again = Store(path)
    again.open()
    assert again.commit([an_event()]).result() == [3]
    again.close()


def test_close_waits_for_commits_and_then_refuses(path: str, store: Store) -> None:
    pending = [store.commit([an_event()]) for _ in range(500)]
    assert len(reopened(path, store).workers) == 0
    assert [future.result(timeout=0) for future in pending] == [[number] for number in range(1, 501)]
    with pytest.raises(StoreError, match="cannot write to the state database: it is closed"):
        store.commit([an_event()]).result()
    with pytest.raises(StoreError, match="cannot read"):
        store.events(None)
    assert not store.healthy()
    store.close()


def test_a_store_that_is_not_open_says_so(path: str) -> None:
    store = Store(path)
    with pytest.raises(StoreError, match="cannot write"):
        store.commit([])
    with pytest.raises(StoreError, match="cannot read"):
        store.runs("w")
    assert not store.healthy()
    store.close()


def test_a_worker_may_come_and_go_many_times(path: str, store: Store) -> None:
    for number in range(1, 30):
        store.commit([*saves(a_worker(run=a_run(number))), SaveWorker(a_worker()), ForgetWorker("w")])
    store.commit(saves(a_worker())).result()
    assert reopened(path, store).workers == (a_worker(),)
