"""Which run wrote which bytes of a log. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from attrs import evolve

from rdagentd.model.run import Run
from rdagentd.supervisor.logs import Piece


class Spans:
    """Where the runs of a worker begin in one stream of its log.

    A run of which that is not known yet (it is being started) begins where the one before has ended; complete: there is none
    such at the end.
    """

    def __init__(self, runs: Iterable[Run], stream: str) -> None:
        self._starts: list[int] = []
        self._ids: list[str] = []
        end, self.complete = 0, True
        for run in sorted(runs, key=lambda run: run.id):
            start = max(end, run.log_start.get(stream, end))
            end = max(start, run.log_end.get(stream, start))
            self.complete = stream in run.log_start  # of the last one
            self._starts.append(start)
            self._ids.append(run.id)

    @property
    def latest(self) -> str | None:
        """The last of the runs."""
        return self._ids[-1] if self._ids else None

    def cut(self, piece: Piece) -> Iterator[tuple[Piece, str | None]]:
        """The piece in parts of one run each; None: of a run that is forgotten."""
        end = piece.offset + len(piece.data)
        index, offset = bisect_right(self._starts, piece.offset), piece.offset
        while True:
            upto = min(end, self._starts[index]) if index < len(self._starts) else end
            if upto > offset or not piece.data:
                data = piece.data[offset - piece.offset : upto - piece.offset]
                dropped = piece.dropped if offset == piece.offset else 0
                yield evolve(piece, offset=offset, data=data, dropped=dropped), self._ids[index - 1] if index else None
            if upto == end:
                return
            offset, index = upto, bisect_right(self._starts, upto)
