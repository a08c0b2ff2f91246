"""The workers as a person looks at them: sorted, filtered, one of them chosen, some of them in the window."""

from __future__ import annotations

import time

from rdagentctl.commands.status import detail
from rdagentctl.top.columns import COLUMNS, find
from rdagentctl.top.rates import Meter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rdagentctl.top.columns import Column, Row, Seen


class Board:
    """All rows, and the way they are looked at. chosen: a worker's name; it stays chosen wherever sorting takes it."""

    def __init__(self, sort: str = "state") -> None:
        self.rows: list[Row] = []
        self.meter = Meter()
        self.column = find(sort)
        self.backwards = False
        self.words = ""
        self.chosen: str | None = None
        self._top = 0
        self._view: list[Seen] | None = None

    def put(self, rows: list[Row]) -> None:
        """What `status` told."""
        self.rows = rows
        self._view = None

    def use(self, at: float, told: list[dict[str, Any]]) -> None:
        """What `usage` told, at monotonic time `at`."""
        runs = {row["name"]: row["run"]["id"] for row in self.rows if row["run"]}
        self.meter.take(at, told, runs)
        self._view = None

    def sort_by(self, column: Column) -> None:
        """By this column; by the one that it is sorted by already: the other way round."""
        self.backwards = column is self.column and not self.backwards
        self.column = column
        self._view = None

    def shift_sort(self, by: int) -> None:
        """By the column so many places to the right."""
        self.sort_by(COLUMNS[(COLUMNS.index(self.column) + by) % len(COLUMNS)])

    def filter(self, words: str) -> None:
        """Only workers that have each of these words in name, state, group, labels or detail, in upper or lower case."""
        self.words = words
        self._view = None

    def view(self) -> list[Seen]:
        """Those that pass the filter, in order."""
        if self._view is None:
            now = time.time()
            uses = self.meter.uses
            wanted = self.words.lower().split()
            rows = [row for row in self.rows if not wanted or _has(row, wanted)]
            self._view = self._sorted([(row, uses.get(row["name"]), now) for row in rows])
        return self._view

    def _sorted(self, seen: list[Seen]) -> list[Seen]:
        """Of equals the first by name comes first; what is not known comes last, whichever way round."""
        order = self.column.order
        seen.sort(key=lambda one: one[0]["name"])
        keyed = [(order(one), one) for one in seen]
        known = [pair for pair in keyed if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=self.column.most_first != self.backwards)
        return [one for _, one in known] + [one for key, one in keyed if key is None]

    def row(self) -> Row | None:
        """The chosen worker, if it is there."""
        return next((seen[0] for seen in self.view() if seen[0]["name"] == self.chosen), None)

    def move(self, by: int) -> None:
        """Chooses the worker so many lines further; where none was chosen, from above the first."""
        view = self.view()
        if not view:
            return
        at = self._at(view)
        to = (-1 if at is None else at) + by
        self.chosen = view[min(max(0, to), len(view) - 1)][0]["name"]

    def window(self, height: int) -> list[Seen]:
        """So many of them, the chosen one among them; from the top where none is chosen."""
        view = self.view()
        at = self._at(view)
        if at is None:
            self._top = 0
        else:
            self._top = min(max(self._top, at - height + 1), at)
        self._top = max(0, min(self._top, len(view) - height))
        return view[self._top : self._top + height]

    def _at(self, view: Sequence[Seen]) -> int | None:
        if self.chosen is None:
            return None
        return next((at for at, seen in enumerate(view) if seen[0]["name"] == self.chosen), None)


def _has(row: Row, words: list[str]) -> bool:
    labels = " ".join(f"{key}={value}" for key, value in row["labels"].items())
    text = f"{row['name']} {row['state']} {row['group']} {labels} {detail(row)}".lower()
    return all(word in text for word in words)
