"""Reading captured output: offsets in, pieces out. Only reads; the executor writes. The format is in protocol/segments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from attrs import frozen

from rdagentd.protocol.segments import INDEX_RECORD, base_of, index_name, log_name

PIECE = 64 << 10
"""Most bytes in one piece."""

_BACKWARDS = 64 << 10


@frozen
class Piece:
    """Bytes at an offset; time: when they arrived, in seconds since the epoch (None: unknown); dropped: bytes gone before."""

    offset: int
    time: float | None
    data: bytes
    dropped: int = 0


class LogReader:
    """One stream of one worker's log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    # --- where ----------------------------------------------------------------------------------------------------------

    def segments(self) -> list[int]:
        """First offsets of the segments that are there, ascending."""
        try:
            names = [entry.name for entry in self._directory.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(base for base in map(base_of, names) if base is not None)

    def bounds(self) -> tuple[int, int]:
        """The oldest offset that is there, and the end."""
        segments = self.segments()
        if not segments:
            return 0, 0
        return segments[0], segments[-1] + self._size(segments[-1])

    def _size(self, base: int) -> int:
        try:
            return (self._directory / log_name(base)).stat().st_size
        except FileNotFoundError:
            return 0

    def at_time(self, seconds: float, now: float) -> int:
        """First offset that arrived at `seconds` since the epoch or later; the end if none did. now: the clock as it is.

        A clock that was set back leaves stamps that are yet to come. What bears them arrived before what came next, by as much
        as they differ from the last of them.
        """
        wanted, latest, end = int(seconds * 1e6), int(now * 1e6), self.bounds()[1]
        records = chain.from_iterable(map(self._index, self.segments()))
        ahead: list[tuple[int, int]] = []
        for offset, micros in chain(records, [(end, latest)]):
            ahead.append((offset, micros))
            if micros > latest:
                continue
            shift = ahead[-2][1] - micros if len(ahead) > 1 else 0
            for place, stamp in ahead:
                if min(stamp - shift * (stamp > latest), micros) >= wanted:
                    return place
            ahead.clear()
        return end

    def tail(self, lines: int, start: int, end: int) -> int:
        """Offset at which the last `lines` lines between start and end begin."""
        if lines <= 0:
            return end
        position, left = end, lines
        while position > start:
            size = min(_BACKWARDS, position - start)
            data = b"".join(piece.data for piece in self.pieces(position - size, position))
            searched = len(data) - 1 if position == end and data.endswith(b"\n") else len(data)
            while (searched := data.rfind(b"\n", 0, searched)) >= 0:
                left -= 1
                if left == 0:
                    return position - len(data) + searched + 1
            position -= size
        return start

    def read(self, start: int, most: int) -> tuple[int, bytes]:
        """At most so many bytes from `start` on, or from where the log goes on if those are gone; and where they begin."""
        begin, data = start, b""
        for base in self.segments():
            if base + self._size(base) <= start or len(data) >= most:
                continue
            if not data:
                begin = max(start, base)
            elif base != begin + len(data):
                break
            with suppress(FileNotFoundError), (self._directory / log_name(base)).open("rb") as file:
                file.seek(begin + len(data) - base)
                data += file.read(most - len(data))
        return (begin, data) if data else (start, data)

    # --- what -----------------------------------------------------------------------------------------------------------

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The bytes from start to end, cut where the time of arrival changes; what is gone is told as `dropped`."""
        for base in self.segments():
            size = self._size(base)
            if base + size <= start:
                continue
            if base >= end:
                return
            gap = max(0, base - start)
            start += gap
            for piece in self._segment(base, start, min(end, base + size)):
                yield Piece(piece.offset, piece.time, piece.data, gap)
                gap = 0
                start = piece.offset + len(piece.data)

    def _segment(self, base: int, start: int, end: int) -> Iterator[Piece]:
        records = self._index(base)
        offsets = [offset for offset, _ in records]
        with suppress(FileNotFoundError), (self._directory / log_name(base)).open("rb") as file:  # dropped since listed
            file.seek(start - base)
            while start < end:
                place = bisect_right(offsets, start)
                upto = offsets[place] if place < len(offsets) else end
                data = file.read(min(PIECE, upto - start, end - start))
                if not data:
                    return
                yield Piece(start, records[place - 1][1] / 1e6 if place else None, data)
                start += len(data)

    def _index(self, base: int) -> list[tuple[int, int]]:
        try:
            raw = (self._directory / index_name(base)).read_bytes()
        except FileNotFoundError:
            return []
        whole = len(raw) - len(raw) % INDEX_RECORD.size
        return [record for record in INDEX_RECORD.iter_unpack(raw[:whole]) if record[0] >= base]
