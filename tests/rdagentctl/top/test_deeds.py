"""What keys do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.top.columns import COLUMNS
from rdagentctl.top.deeds import CLOSE, LOGS, QUIT, REDRAW, WHY, press
from rdagentctl.top.pane import LogPane
from rdagentctl.top.scene import Scene
from tests.rdagentctl.fake import row
from tests.rdagentctl.top.values import scene, some

ASKS = [
    ("running", "s", "stop"), ("queued", "s", "stop"), ("backoff", "s", "stop"), ("failed", "s", "start"),
    ("stopped", "s", "start"), ("completed", "s", "start"), ("running", "p", "pause"), ("paused", "p", "resume"),
    ("running", "r", "restart"), ("running", "k", "kill"),
]  # fmt: skip


def chosen(state: str = "running") -> Scene:
    made = scene([row("web", state)])
    made.board.move(1)
    return made


@pytest.mark.parametrize(("state", "key", "verb"), ASKS)
def test_a_verb_asks_first(state: str, key: str, verb: str) -> None:
    made = chosen(state)
    assert press(made, key, 10) is None
    assert made.question == (verb, "web")
    assert press(made, "y", 10) == (verb, "web")
    assert made.question is None


@pytest.mark.parametrize("key", ["n", "escape", "enter", "s", "q", " "])
def test_all_but_y_is_no(key: str) -> None:
    made = chosen()
    press(made, "k", 10)
    assert press(made, key, 10) is None
    assert made.question is None
    assert made.said is not None
    assert made.said[0] == "nothing was done"


@pytest.mark.parametrize("key", ["s", "p", "r", "k", "l", "enter", "w"])
def test_without_a_chosen_worker_nothing_is_asked(key: str) -> None:
    made = scene(some())
    assert press(made, key, 10) is None
    assert (made.question, made.pane) == (None, None)
    assert made.said is not None


def test_nothing_is_asked_of_a_daemon_that_is_away() -> None:
    made = chosen()
    made.gone = "connection refused"
    assert press(made, "s", 10) is None
    assert made.question is None
    assert made.said is not None


def test_a_filter_is_typed_and_kept_or_dropped() -> None:
    made = scene(some())
    for key in ("/", "w", "e", "x", "backspace", "b"):
        assert press(made, key, 10) is None
    assert (made.board.words, made.typing, len(made.board.view())) == ("web", True, 1)
    press(made, "enter", 10)
    assert (made.board.words, made.typing) == ("web", False)
    press(made, "/", 10)
    press(made, "clear", 10)
    assert (made.board.words, made.typing) == ("", True)
    press(made, "q", 10)  # a letter like any other
    press(made, "escape", 10)
    assert (made.board.words, made.typing) == ("", False)


def test_every_column_has_its_key() -> None:
    made = scene(some())
    for column in COLUMNS:
        press(made, column.key, 10)
        assert made.board.column is column
    press(made, ">", 10)
    assert made.board.column is COLUMNS[0]
    press(made, "<", 10)
    assert made.board.column is COLUMNS[-1]


def test_panes_open_change_and_close() -> None:
    made = chosen()
    assert press(made, "enter", 10) == (LOGS, "web")
    assert isinstance(made.pane, LogPane)
    assert press(made, "w", 10) == (WHY, "web")
    assert made.pane is not None
    assert made.pane.kind == WHY
    assert press(made, "q", 10) == (CLOSE, "web")
    assert made.pane is None
    assert press(made, "?", 10) is None
    assert made.pane is not None
    assert press(made, "h", 10) == (CLOSE, "")
    assert press(made, "q", 10) == (QUIT, "")
    assert press(made, "redraw", 10) == (REDRAW, "")


def test_moving_goes_by_lines_and_by_pages() -> None:
    made = scene([row(f"w{number}") for number in range(8)], "name")
    went = []
    for key in ("down", "down", "page down", "up", "end", "page up", "home"):
        press(made, key, 3)
        went.append(made.board.chosen)
    assert went == ["w0", "w1", "w4", "w3", "w7", "w4", "w0"]
    press(made, "escape", 3)
    assert made.board.chosen is None


KEYS = st.sampled_from([
    *"sprklw/<>?hqyn x", *(column.key for column in COLUMNS), "up", "down", "page up", "page down", "home", "end", "enter",
    "escape", "backspace", "clear", "left", "right", "redraw", "ü",
])  # fmt: skip
ASKED = ("start", "stop", "pause", "resume", "restart", "kill")


@given(st.lists(KEYS, max_size=30))
def test_nothing_is_done_to_a_worker_without_a_y_to_its_question(keys: list[str]) -> None:
    made = scene(some())
    for key in keys:
        question = made.question
        deed = press(made, key, 4)
        if deed is not None and deed[0] in ASKED:
            assert (key, deed) == ("y", question)
