"""Reading logs, against the bytes that were written."""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from pathlib import Path

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.protocol.segments import INDEX_RECORD, index_name, log_name
from rdagentd.supervisor.logs import PIECE, LogReader, Piece

LINES = st.lists(st.sampled_from([b"a", b"\n", b"long line\n", b"", b"x" * 700, b"\n\n"]), max_size=12).map(b"".join)


@define
class Written:
    """A log as it was written: `data` from offset `oldest` on, and when the byte at an offset arrived."""

    oldest: int
    data: bytes
    times: list[tuple[int, int]]

    @property
    def end(self) -> int:
        return self.oldest + len(self.data)

    def __getitem__(self, bounds: tuple[int, int]) -> bytes:
        start, end = bounds
        return self.data[max(0, start - self.oldest) : max(0, end - self.oldest)]

    def time(self, offset: int) -> float | None:
        known = [micros for at, micros in self.times if at <= offset]
        return known[-1] / 1e6 if known else None


@st.composite
def logs(draw: st.DrawFn) -> tuple[Written, list[tuple[int, bytes, list[tuple[int, int]]]]]:
    """A log, and its segments: first offset, bytes, index records."""
    oldest = offset = draw(st.integers(0, 5000))
    micros = draw(st.integers(10**6, 10**7))
    segments, times, data = [], [], b""
    for _ in range(draw(st.integers(0, 4))):
        base, written, records = offset, b"", []
        for chunk in draw(st.lists(LINES.filter(bool), min_size=1, max_size=4)):
            micros += draw(st.integers(1, 10**7))
            records.append((offset, micros))
            written += chunk
            offset += len(chunk)
        segments.append((base, written, records))
        times += records
        data += written
    return Written(oldest if segments else 0, data, times), segments


def put(directory: Path, segments: list[tuple[int, bytes, list[tuple[int, int]]]]) -> LogReader:
    for base, data, records in segments:
        (directory / log_name(base)).write_bytes(data)
        (directory / index_name(base)).write_bytes(b"".join(INDEX_RECORD.pack(*record) for record in records))
    (directory / "notes.txt").write_text("not a segment")
    return LogReader(directory)


@settings(deadline=None)
@given(logs(), st.data())
def test_pieces_are_the_bytes_that_were_written(log, data) -> None:
    written, segments = log
    with tempfile.TemporaryDirectory() as directory:
        reader = put(Path(directory), segments)
        assert reader.bounds() == (written.oldest, written.end)
        start = data.draw(st.integers(0, written.end + 10))
        end = data.draw(st.integers(0, written.end + 10))
        pieces = list(reader.pieces(start, end))
        assert b"".join(piece.data for piece in pieces) == (written[start, end] if start < end else b"")
        for piece in pieces:
            assert written[piece.offset, piece.offset + len(piece.data)] == piece.data
            assert piece.time == written.time(piece.offset)
            assert 0 < len(piece.data) <= PIECE
        gone = [piece.dropped for piece in pieces]
        assert gone == ([max(0, written.oldest - start)] + [0] * (len(pieces) - 1) if pieces else [])


@settings(deadline=None)
@given(logs(), st.integers(0, 30), st.data())
def test_a_tail_is_the_last_lines(log, lines, data) -> None:
    written, segments = log
    with tempfile.TemporaryDirectory() as directory:
        reader = put(Path(directory), segments)
        start = data.draw(st.integers(written.oldest, written.end))
        end = data.draw(st.integers(start, written.end))
        expected = b"".join(written[start, end].splitlines(keepends=True)[-lines:]) if lines else b""
        assert reader.tail(lines, start, end) == end - len(expected)


@settings(deadline=None)
@given(logs(), st.floats(0, 120))
def test_a_time_finds_the_first_byte_that_arrived_then_or_later(log, seconds) -> None:
    written, segments = log
    with tempfile.TemporaryDirectory() as directory:
        reader = put(Path(directory), segments)
        place = bisect_left([micros for _, micros in written.times], int(seconds * 1e6))
        expected = written.times[place][0] if place < len(written.times) else written.end
        assert reader.at_time(seconds, 1e9) == expected


@pytest.mark.parametrize(
    ("stamps", "since", "expected"),
    [
        ([10, 11, 90, 91, 12, 13, 14], 13, 5),  # set forward and back: the last seconds, as if nothing had been
        ([10, 11, 90, 91, 12, 13, 14], 12, 3),
        ([10, 11, 90, 91, 12, 13, 14], 11, 1),
        ([50, 51, 52, 12, 13, 14], 13, 4),  # set back
        ([50, 51, 52, 12, 13, 14], 11, 1),
        ([50, 51, 52, 12, 13, 14], 5, 0),
        ([12, 13, 2, 3, 14], 13, 1),  # set back and forward: nothing is left out
        ([12, 90, 91], 13, 1),  # set back, and nothing came since
        ([12, 90, 91], 14, 2),
        ([12, 13, 14], 15, 3),
    ],
)
def test_a_clock_that_was_set_hides_nothing_and_brings_up_nothing_old(tmp_path: Path, stamps, since, expected) -> None:
    index = [(place, stamp * 10**6) for place, stamp in enumerate(stamps)]
    half = len(index) // 2
    reader = put(tmp_path, [(0, b"x" * half, index[:half]), (half, b"x" * (len(index) - half), index[half:])])
    assert reader.at_time(since, now=14.5) == expected


def test_a_long_piece_is_cut(tmp_path: Path) -> None:
    data = bytes(range(256)) * (3 * PIECE // 256) + b"rest"
    reader = put(tmp_path, [(0, data, [(0, 10**6)])])
    pieces = list(reader.pieces(0, len(data)))
    assert [len(piece.data) for piece in pieces] == [PIECE, PIECE, PIECE, 4]
    assert b"".join(piece.data for piece in pieces) == data


def test_a_tail_is_found_across_many_reads_and_segments(tmp_path: Path) -> None:
    line = b"y" * 9_999 + b"\n"
    reader = put(tmp_path, [(n * 200_000, line * 20, [(n * 200_000, 10**6 + n)]) for n in range(3)])
    assert reader.tail(25, 0, 600_000) == 350_000
    assert reader.tail(1000, 0, 600_000) == 0
    assert reader.tail(1, 0, 600_000) == 590_000


def test_what_was_dropped_between_the_listing_and_the_reading_is_told(tmp_path: Path) -> None:
    reader = put(tmp_path, [(0, b"one", [(0, 10**6)]), (3, b"two", [(3, 2 * 10**6)]), (6, b"three", [(6, 3 * 10**6)])])
    pieces = reader.pieces(0, 11)
    assert next(pieces) == Piece(0, 1.0, b"one")
    (tmp_path / log_name(3)).unlink()
    assert next(pieces) == Piece(6, 3.0, b"three", dropped=3)


def test_a_torn_index_and_a_missing_one_leave_the_bytes_readable(tmp_path: Path) -> None:
    reader = put(tmp_path, [(0, b"abc", [(0, 10**6), (1, 2 * 10**6)]), (3, b"def", [])])
    with (tmp_path / index_name(0)).open("ab") as file:
        file.write(b"torn")
    (tmp_path / index_name(3)).unlink()
    assert list(reader.pieces(0, 6)) == [Piece(0, 1.0, b"a"), Piece(1, 2.0, b"bc"), Piece(3, None, b"def")]
    assert reader.at_time(1.5, 1e9) == 1


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "nobody" / "out")
    assert reader.bounds() == (0, 0)
    assert list(reader.pieces(0, 10)) == []
    assert reader.tail(5, 0, 0) == reader.at_time(1.0, 1e9) == 0
