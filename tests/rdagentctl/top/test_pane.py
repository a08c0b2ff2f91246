"""Output and other texts to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.render import DIM, RED, width_of
from rdagentctl.top.pane import KEPT, LogPane, Pane, clean, fold


def shown(pane: Pane, width: int = 80, height: int = 5) -> list[str]:
    return [text for text, _ in pane.window(width, height)]


def test_the_end_is_followed_and_lines_come_together() -> None:
    pane = LogPane("web")
    pane.take("out", 0, b"one\ntw")
    assert shown(pane) == ["one", "tw"]
    pane.take("out", 6, b"o\nthree\n")
    assert shown(pane) == ["one", "two", "three"]
    assert shown(pane, height=2) == ["two", "three"]
    assert pane.offsets == {"out": 14}


def test_what_is_known_already_is_not_there_twice() -> None:
    pane = LogPane("web")
    pane.take("out", 0, b"one\ntwo\n")
    pane.take("out", 4, b"two\nthree\n")
    pane.take("out", 0, b"one\n")
    assert shown(pane) == ["one", "two", "three"]


def test_who_scrolled_back_sees_the_same_lines_while_more_come() -> None:
    pane = LogPane("web")
    pane.take("out", 0, b"".join(b"%d\n" % number for number in range(20)))
    pane.scroll(5)
    assert shown(pane) == ["10", "11", "12", "13", "14"]
    pane.take("out", 50, b"20\n21\n")
    assert shown(pane) == ["10", "11", "12", "13", "14"]
    pane.scroll(1 << 20)
    assert shown(pane) == ["0", "1", "2", "3", "4"]
    pane.scroll(-(1 << 20))
    assert shown(pane) == ["17", "18", "19", "20", "21"]


def test_errors_gaps_and_notes_are_told_apart() -> None:
    pane = LogPane("web")
    pane.take("out", 0, b"begun")
    pane.take("err", 0, b"bad\n")
    pane.gap("out", 100, 105)
    pane.take("out", 105, b"more\n")
    pane.over("web is stopped")
    pane.over("web is stopped")
    assert pane.window(80, 9) == [
        ("bad", RED), ("begun", ""), ("[100 bytes are gone: the log has a cap]", DIM), ("more", ""),
        ("[web is stopped]", DIM),
    ]  # fmt: skip


def test_a_flood_costs_no_more_than_what_is_kept() -> None:
    pane = LogPane("web")
    data = b"".join(b"%d\n" % number for number in range(KEPT * 3))
    pane.take("out", 0, data)
    assert len(pane.lines) == KEPT
    assert shown(pane, height=1) == [str(KEPT * 3 - 1)]
    pane.take("out", len(data), b"x" * (1 << 20))
    assert len(shown(pane, width=100, height=10**6)) < KEPT + 50


CLEAN = {
    b"plain": "plain",
    b"\x1b[1;31mred\x1b[0m": "red",
    b"\x1b]0;title\x07text": "text",
    b" 10%\r 50%\r100%\r": "100%",
    b"a\tb": "a       b",
    b"bell\x07": "bell\\x07",
    b"\xff\xfe": "\ufffd\ufffd",
    "日本".encode(): "日本",
    b"\x1b": "\\x1b",
}


@pytest.mark.parametrize("data", CLEAN)
def test_output_cannot_steer_the_terminal(data: bytes) -> None:
    assert clean(data) == CLEAN[data]


@given(st.binary(max_size=200))
def test_whatever_a_worker_writes_can_be_shown(data: bytes) -> None:
    assert clean(data).isprintable()


@given(st.text(max_size=100), st.integers(2, 40))
def test_folding_loses_nothing_and_fits(text: str, width: int) -> None:
    pieces = fold(text, width)
    assert "".join(pieces) == text
    assert all(width_of(piece) <= width for piece in pieces)


@given(
    st.lists(st.sampled_from(["", "short", "long " * 30, "日本語" * 20]), max_size=40),
    st.integers(1, 30), st.integers(0, 12), st.lists(st.integers(-9, 9), max_size=5),
)  # fmt: skip
def test_the_window_is_full_where_there_is_enough(lines: list[str], width: int, height: int, by: list[int]) -> None:
    pane = Pane("why", "web", [(line, "") for line in lines])
    whole = sum(len(fold(line, width)) for line in lines)
    for steps in by or [0]:
        pane.scroll(steps)
        window = pane.window(width, height)
        assert len(window) == min(height, whole)
        assert all(width_of(text) <= width for text, _ in window)
