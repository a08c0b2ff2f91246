"""When a directory is measured again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core.space import FIRST, LAST, Look, is_due, look

G = 1 << 30


def test_looks_become_rare_while_nothing_changes_and_frequent_when_something_does() -> None:
    last, waits = None, []
    for used in [5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6]:
        last = look(last, used, None, 0.0, 1000.0)
        waits.append(last.wait)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600, 10, 20]


def test_a_large_directory_is_looked_at_so_seldom_that_it_costs_a_hundredth_of_a_cpu() -> None:
    assert look(None, 1, None, 30.0, 0.0).wait == 3000.0


@pytest.mark.parametrize(
    ("passed", "filled", "due"),
    [
        (0.0, 0, False), (99.0, 0, False), (100.0, 0, True),
        (9.0, 9 * G, False),  # however full: a look takes a second
        (11.0, 2 * G, True), (11.0, 2 * G - 1, False), (11.0, -9 * G, False),
    ],
)  # fmt: skip
def test_what_fills_the_file_system_brings_the_next_look_forward(passed: float, filled: int, due: bool) -> None:
    last = Look(at=1000.0, used=6 * G, free=50 * G, took=1.0, wait=100.0)
    assert is_due(last, 10 * G, 50 * G - filled, 1000.0 + passed) is due


def test_without_a_quota_or_without_knowing_the_file_system_only_time_counts() -> None:
    last = Look(at=0.0, used=6 * G, free=50 * G, took=0.0, wait=100.0)
    assert not is_due(last, None, 0, 50.0) and not is_due(last, 10 * G, None, 50.0)
    assert is_due(None, 10 * G, None, 50.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), min_size=1, max_size=30))
def test_a_wait_is_never_less_than_the_first_nor_cheaper_than_its_share(looks: list[tuple[int, float]]) -> None:
    last = None
    for used, took in looks:
        last = look(last, used, None, took, 0.0)
        assert max(FIRST, 100 * took) <= last.wait <= max(LAST, 100 * took, 1000.0)
