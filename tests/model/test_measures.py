"""What a report does to the measures of a run, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.model.measures import COUNTS, MOST_CUSTOM, MOST_TEXT, UNTOLD, Measures, Spent, told


def after(values: dict[str, Any] | None = None, before: Measures = UNTOLD, **added: float) -> Measures:
    measures, wrong = told(before, values or {}, added)
    assert not wrong
    return measures


def test_a_report_replaces_what_it_names_and_nothing_else() -> None:
    before = Measures(progress=0.5, tokens=10, custom={"accuracy": 0.5, "loss": 2.0})
    now = after({"progress": 0.25, "accuracy": 0.75, "step": "coding"}, before)
    assert now == Measures(progress=0.25, tokens=10, step="coding", custom={"accuracy": 0.75, "loss": 2.0})


def test_what_is_added_goes_on_top_and_begins_at_nothing() -> None:
    assert after(before=Measures(tokens=10), tokens=5, errors=1, rows=2) == Measures(
        tokens=15, errors=1, custom={"rows": 2.0}
    )


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_total_never_falls(name: str) -> None:
    assert getattr(after({name: 3}, after({name: 7})), name) == 7


def test_a_step_may_be_a_number_or_a_name_and_is_cut() -> None:
    assert after({"step": 3.0}).step == "3"
    assert after({"status": "a\nb" + "x" * 999}).status == "a b" + "x" * (MOST_TEXT - 3)


@pytest.mark.parametrize(
    ("values", "added", "sentence"),
    [
        ({"progress": 1.5}, {}, "cannot take progress 1.5: it must be between 0 and 1"),
        ({"tokens": -1.0}, {}, "cannot take tokens -1: it is negative"),
        ({"tokens": "many"}, {}, "cannot take tokens 'many': it is no number"),
        ({"cost_usd": float("nan")}, {}, "cannot take cost_usd nan: it is no number that counts anything"),
        ({"accuracy": float("inf")}, {}, "cannot take accuracy inf: it is no number that counts anything"),
        ({"tokens": 10**400}, {}, "it is no number"),
        ({}, {"cost_usd": float("inf")}, "cannot take cost_usd inf"),
        ({}, {"step": 1.0}, "cannot add to step: it is no number"),
    ],
)
def test_what_cannot_be_taken_is_told_and_changes_nothing(values: Any, added: Any, sentence: str) -> None:
    before = Measures(progress=0.5, tokens=10, cost_usd=1.0)
    measures, wrong = told(before, {**values, "iteration": 4}, added)
    assert measures == after({"iteration": 4}, before)
    assert len(wrong) == 1
    assert sentence in wrong[0]


def test_custom_measures_are_bounded_in_number() -> None:
    full = after({f"m{number}": 1.0 for number in range(MOST_CUSTOM)})
    measures, wrong = told(full, {"one_more": 1.0, "m0": 2.0}, {})
    assert measures.custom == {**full.custom, "m0": 2.0}
    assert wrong == [f"cannot take 'one_more': there are {MOST_CUSTOM} custom measures, which is the most"]


@given(st.lists(st.integers(0, 10**9).map(lambda millionths: millionths / 1e6), max_size=30), st.data())
def test_money_comes_to_the_same_in_whatever_pieces_it_is_read(costs: list[float], data: Any) -> None:
    """After a crash the same lines are read in other pieces."""

    def total(cuts: list[int]) -> float | None:
        measures = Measures()
        for start, end in zip([0, *cuts], [*cuts, len(costs)], strict=True):
            measures, wrong = told(measures, {}, {"cost_usd": sum(costs[start:end])})
            assert not wrong
        return measures.cost_usd

    cuts = data.draw(st.lists(st.integers(0, len(costs)), max_size=5).map(sorted))
    assert total(cuts) == total([])


def test_what_ended_runs_come_to() -> None:
    runs = Measures(tokens=5, cost_usd=0.1, iteration=3, errors=1), Measures(cost_usd=0.2, provider_errors=2)
    spent = Spent().plus(runs[0], 10.0, 100).plus(runs[1], 5.0, 50)
    assert spent == Spent(5, 0.3, 3, 1, 2, 15.0, 150)
