"""Bounds of the history: what is dropped, and what never is."""

from __future__ import annotations

import pytest
from attrs import evolve

from rdagentd.store.store import Store
from rdagentd.store.tables import Keep
from rdagentd.store.writes import SaveRun, SaveSpec, SaveWorker

from .values import a_run, a_spec, a_worker, an_event, saves


def opened(path: str, **keep: int) -> Store:
    store = Store(path, **keep)  # type: ignore[arg-type]
    store.open()
    return store


@pytest.mark.parametrize("together", [True, False])
def test_the_newest_ended_runs_stay_and_every_live_one(path: str, together: bool) -> None:
    store = opened(path, keep_runs=3)
    live = (2, 5)
    writes = [SaveRun(a_run(number, ended=number not in live)) for number in range(1, 11)]
    writes += [SaveRun(a_run(number, "other", ended=True)) for number in range(20, 22)]
    for each in [writes] if together else [[write] for write in writes]:
        store.commit(each)
    store.commit([]).result()
    assert [run.pid for run in store.runs("w")] == [10, 9, 8, 5, 2]
    assert [run.pid for run in store.runs("other")] == [21, 20]
    store.close()


def test_a_live_run_that_ends_late_counts_as_old(path: str) -> None:
    store = opened(path, keep_runs=2)
    store.commit([SaveRun(a_run(1)), *(SaveRun(a_run(number, ended=True)) for number in (2, 3))])
    store.commit([SaveRun(a_run(1, ended=True))]).result()
    assert [run.pid for run in store.runs("w")] == [3, 2]
    store.close()


def test_the_newest_revisions_stay_and_the_one_in_use(path: str) -> None:
    store = opened(path, keep_revisions=2)
    store.commit(saves(a_worker()))
    store.commit([SaveSpec("w", number, a_spec(), 1.5, 0) for number in range(2, 6)]).result()
    assert [row[0] for row in store.revisions("w")] == [1, 4, 5]
    store.commit([SaveWorker(evolve(a_worker(), revision=5)), SaveSpec("w", 6, a_spec(), 1.5, 0)]).result()
    assert [row[0] for row in store.revisions("w")] == [5, 6]
    store.close()


def test_the_newest_events_stay_give_or_take_a_batch(path: str) -> None:
    keep = Keep(events=1000)
    store = opened(path, keep_events=keep.events)
    most = 0
    for start in range(0, 2500, 50):
        last = store.commit([an_event(number) for number in range(start, start + 50)]).result()[-1]
        numbers = [event["seq"] for event in store.events(None, limit=10_000)]
        assert numbers == list(range(max(1, last - len(numbers) + 1), last + 1))
        assert len(numbers) >= min(last, keep.events)
        most = max(most, len(numbers))
    assert most <= keep.events + keep.batch + 50
    store.close()


def test_a_bound_of_one_keeps_the_newest(path: str) -> None:
    store = opened(path, keep_events=1, keep_runs=1, keep_revisions=1)
    for number in range(1, 6):
        store.commit([an_event(number), SaveRun(a_run(number, ended=True)), SaveSpec("w", number, a_spec(), 1.5, 0)])
    assert store.commit([an_event(6)]).result() == [6]
    assert [event["seq"] for event in store.events(None)] == [6]
    assert [run.pid for run in store.runs("w")] == [5]
    assert store.revisions("w") == [(5, 1.5, 0)]
    store.close()


def test_a_smaller_bound_takes_effect_with_the_next_writes(path: str) -> None:
    store = opened(path)
    store.commit([SaveRun(a_run(number, ended=True)) for number in range(1, 9)])
    store.commit([an_event(number) for number in range(1, 9)])
    store.close()
    store = opened(path, keep_runs=2, keep_events=2)
    store.commit([SaveRun(a_run(9, ended=True)), an_event(9)]).result()
    assert len(store.runs("w")) == 2
    assert len(store.events(None)) == 2
    store.close()
