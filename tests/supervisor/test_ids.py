"""Run ids."""

from __future__ import annotations

import time

import pytest

from rdagentd.supervisor.ids import RunIds


def test_ids_are_unique_and_ascend() -> None:
    ids = RunIds()
    made = [ids() for _ in range(5000)]
    assert made == sorted(set(made))
    assert {len(each) for each in made} == {20}


def test_ids_ascend_although_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = RunIds()
    before = ids()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert before < ids() < ids()


def test_ids_go_on_after_the_last_one_that_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    last = RunIds()()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert RunIds(last)() > last


def test_an_id_of_something_else_does_not_hinder() -> None:
    assert RunIds("r1")()[:4] == RunIds()()[:4]
    assert len(RunIds("~~~~~~~~~~~~")()) == 20


def test_the_order_is_that_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = RunIds()
    first = ids()
    monkeypatch.setattr(time, "time_ns", lambda: 4_000_000_000_000_000_000)  # the year 2096
    assert first < ids()
