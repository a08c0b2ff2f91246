"""Sorting, filtering, choosing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.table import SORTS
from rdagentctl.top.board import Board
from rdagentctl.top.columns import COLUMNS, DROP, NAMES, find, per_cent
from tests.rdagentctl.fake import row
from tests.rdagentctl.top.values import rows, sample, scene, some, used


def names(board: Board) -> list[str]:
    return [seen[0]["name"] for seen in board.view()]


def test_the_command_line_knows_the_columns() -> None:
    assert SORTS == NAMES
    assert set(DROP) == set(NAMES) - {"name", "state"}
    assert len({column.key for column in COLUMNS}) == len(COLUMNS)
    assert all(column.key in column.title for column in COLUMNS)


ORDERS = {
    "name": ["again", "broken", "done", "frozen", "new", "web"],
    "state": ["broken", "again", "frozen", "new", "web", "done"],
    "restarts": ["broken", "web", "again", "done", "frozen", "new"],
    "cpu": ["web", "frozen", "again", "broken", "done", "new"],  # what is not known comes last, by name
}


@pytest.mark.parametrize("column", ORDERS)
def test_it_is_sorted(column: str) -> None:
    made = scene(some(), column)
    used(made, web=(1.0, 2.0), frozen=(1.0, 1.5), done=(0.0, 9.0))
    assert names(made.board) == ORDERS[column]


def test_the_same_column_again_turns_it_round_but_what_is_not_known_stays_last() -> None:
    made = scene(some(), "cpu")
    used(made, web=(1.0, 2.0), frozen=(1.0, 1.5))
    made.board.sort_by(find("cpu"))
    assert names(made.board) == ["frozen", "web", "again", "broken", "done", "new"]
    made.board.sort_by(find("name"))
    assert names(made.board) == ORDERS["name"]
    made.board.shift_sort(-1)
    assert made.board.column is COLUMNS[-1]
    made.board.shift_sort(1)
    assert made.board.column is COLUMNS[0]


FILTERS = {
    "": 6,
    "WEB": 1,
    "queued": 1,
    "batch": 1,
    "team=res": 1,
    "exit code": 3,
    "exit 3": 1,
    "  3   exit ": 1,
    "no such": 0,
}


@pytest.mark.parametrize("words", FILTERS)
def test_each_word_is_somewhere(words: str) -> None:
    board = scene(some()).board
    board.filter(words)
    assert len(board.view()) == FILTERS[words]


def test_the_chosen_worker_stays_chosen_and_in_sight() -> None:
    board = scene([row(f"w{number:03}", restarts=number) for number in range(100)], "name").board
    assert [seen[0]["name"] for seen in board.window(3)] == ["w000", "w001", "w002"]
    assert board.row() is None
    board.move(1)
    assert board.chosen == "w000"
    board.move(4)
    assert [seen[0]["name"] for seen in board.window(3)] == ["w002", "w003", "w004"]
    board.move(-1)
    assert [seen[0]["name"] for seen in board.window(3)] == ["w002", "w003", "w004"]
    board.sort_by(find("restarts"))
    assert board.chosen == "w003"
    assert board.window(3)[-1][0]["name"] == "w003"
    board.move(1 << 20)
    assert board.chosen == "w000"
    board.move(-(1 << 20))
    assert board.chosen == "w099"
    board.put([row("other")])
    assert board.row() is None
    assert len(board.window(3)) == 1


def test_a_chosen_worker_that_is_filtered_out_is_not_acted_upon() -> None:
    board = scene(some()).board
    board.move(1)
    assert board.row() is not None
    board.filter("web")
    assert board.row() is None


@given(rows, st.sampled_from(NAMES), st.booleans(), st.integers(0, 20), st.lists(st.integers(-5, 5), max_size=6))
def test_nobody_is_lost_and_the_window_holds_what_it_can(
    found: list[dict[str, object]], column: str, twice: bool, height: int, moves: list[int]
) -> None:
    board = scene(found, column).board
    board.use(1.0, [{"name": one["name"], "usage": sample(1.0)} for one in found])
    if twice:
        board.sort_by(find(column))
    assert sorted(names(board)) == sorted(str(one["name"]) for one in found)
    for by in moves:
        board.move(by)
        window = board.window(height)
        assert len(window) == min(height, len(found))
        if height and found:
            assert board.chosen in [seen[0]["name"] for seen in window]


@pytest.mark.parametrize(("cores", "said"), [(0.0, "0.0"), (0.123, "12.3"), (0.9999, "100"), (4.0, "400")])
def test_per_cent_of_one_cpu(cores: float, said: str) -> None:
    assert per_cent(cores) == said
