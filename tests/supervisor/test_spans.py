"""Which run wrote which bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.model.run import Run
from rdagentd.supervisor.logs import Piece
from rdagentd.supervisor.spans import Spans


def run(name: str, start: int | None, end: int | None) -> Run:
    return Run(
        name, "w", 1, log_start={} if start is None else {"out": start}, log_end={} if end is None else {"out": end}
    )


def cut(spans: Spans, offset: int, data: bytes) -> list[tuple[int, bytes, str | None]]:
    return [(piece.offset, piece.data, name) for piece, name in spans.cut(Piece(offset, 1.0, data))]


def test_a_piece_is_cut_where_a_run_begins() -> None:
    spans = Spans([run("c", 20, None), run("a", 5, 10), run("b", 10, 20)], "out")
    assert cut(spans, 3, b"x" * 20) == [(3, b"xx", None), (5, b"x" * 5, "a"), (10, b"x" * 10, "b"), (20, b"xxx", "c")]
    assert cut(spans, 10, b"yy") == [(10, b"yy", "b")]
    assert cut(spans, 30, b"z") == [(30, b"z", "c")]
    assert spans.latest == "c" and spans.complete


def test_a_run_that_is_being_started_begins_where_the_one_before_has_ended() -> None:
    spans = Spans([run("a", 0, 7), run("b", None, None)], "out")
    assert cut(spans, 5, b"1234") == [(5, b"12", "a"), (7, b"34", "b")]
    assert not spans.complete


def test_a_run_that_could_not_start_wrote_nothing() -> None:
    spans = Spans([run("a", 0, 7), run("b", None, None), run("c", 7, 9)], "out")
    assert cut(spans, 6, b"12") == [(6, b"1", "a"), (7, b"2", "c")]


def test_without_runs_nobody_wrote_it() -> None:
    assert cut(Spans([], "out"), 0, b"x") == [(0, b"x", None)]
    assert cut(Spans([run("a", 3, 4)], "err"), 0, b"x") == [(0, b"x", "a")], "of a stream of which nothing is told"


def test_what_is_dropped_is_told_once() -> None:
    parts = list(Spans([run("a", 0, 2), run("b", 2, 4)], "out").cut(Piece(1, None, b"xy", 9)))
    assert [piece.dropped for piece, _ in parts] == [9, 0]


@given(st.lists(st.integers(0, 50), max_size=8).map(sorted), st.integers(0, 60), st.binary(max_size=60))
def test_the_parts_are_the_piece(starts: list[int], offset: int, data: bytes) -> None:
    names = [chr(97 + number) for number in range(len(starts))]
    spans = Spans([run(name, start, None) for name, start in zip(names, starts, strict=True)], "out")
    parts = cut(spans, offset, data)
    assert b"".join(part for _, part, _ in parts) == data
    for at, part, name in parts:
        for place in range(at, at + len(part)):
            known = [owner for owner, start in zip(names, starts, strict=True) if start <= place]
            assert name == (known[-1] if known else None)
