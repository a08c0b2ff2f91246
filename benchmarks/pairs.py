"""Two ways measured in turn: what else the machine does at that moment then slows down both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from benchmarks.report import Results
from benchmarks.row import BARE, QUOTIENTS, RDAGENTD
from benchmarks.sample import Sample

T = TypeVar("T")
V = TypeVar("V")

Pairs = Mapping[str, Sequence[tuple[float, float]]]
"""By the key of the row: rdagentd's value, and that of the bare limit."""


def in_turn(things: Iterable[T], ours: Callable[[T], V], bare: Callable[[T], V]) -> list[tuple[V, V]]:
    """A pair for each thing; in every other one the bare limit comes first."""
    found = []
    for number, thing in enumerate(things):
        if number % 2:
            second = bare(thing)
            found.append((ours(thing), second))
        else:
            found.append((ours(thing), bare(thing)))
    return found


def apart(pairs: Pairs) -> Results:
    """The samples by subject, with the quotients of the pairs."""
    ours = {key: Sample(first for first, _ in found) for key, found in pairs.items()}
    quotients = {key + QUOTIENTS: Sample(first / second for first, second in found) for key, found in pairs.items()}
    bare = {key: Sample(second for _, second in found) for key, found in pairs.items()}
    return {RDAGENTD: ours | quotients, BARE: bare}
