"""The columns of top in one literal table: what a cell says, and what its column sorts by."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.commands.status import detail, rank, since, state
from rdagentctl.selection import LIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rdagentctl.top.rates import Use

    Row = dict[str, Any]
    Seen = tuple[Row, Use | None, float]


class Column:
    """One column. name: as --sort takes it. key: the letter that sorts by it, one of the title's. least: narrowest in columns.

    cell and order get what is seen of a worker: row, use, seconds since the epoch. order: None for what is not known, which
    comes last. most_first: the largest is on top. needs_use: sorting by it takes the usage of all workers. told: workers tell
    it of themselves, and where none does the column stays away.
    """

    __slots__ = ("cell", "key", "least", "most_first", "name", "needs_use", "order", "right", "title", "told")

    def __init__(  # noqa: PLR0913 -- a row of a table
        self,
        name: str,
        title: str,
        key: str,
        least: int,
        *,
        cell: Callable[[Seen], str],
        order: Callable[[Seen], Any],
        right: bool = False,
        most_first: bool = False,
        needs_use: bool = False,
        told: bool = False,
    ) -> None:
        self.name = name
        self.title = title
        self.key = key
        self.least = least
        self.cell = cell
        self.order = order
        self.right = right
        self.most_first = most_first
        self.needs_use = needs_use
        self.told = told


def _used(name: str, title: str, key: str, least: int) -> Column:
    """An amount that a run has now."""

    def amount(seen: Seen) -> Any:
        row, use, _ = seen
        return use.sample.get(name) if use is not None and row["state"] in LIVE else None

    def cell(seen: Seen) -> str:
        return render.size(amount(seen))

    return Column(name, title, key, least, cell=cell, order=amount, right=True, most_first=True, needs_use=True)


def _rate(name: str, title: str, key: str, least: int, show: Callable[[float], str]) -> Column:
    """How fast an amount grows."""

    def amount(seen: Seen) -> float | None:
        row, use, _ = seen
        return use.rates[name] if use is not None and row["state"] in LIVE else None

    def cell(seen: Seen) -> str:
        rate = amount(seen)
        return "-" if rate is None else show(rate)

    return Column(name, title, key, least, cell=cell, order=amount, right=True, most_first=True, needs_use=True)


def _told(name: str, title: str, key: str, field: str, show: Callable[[float], str]) -> Column:
    """What workers tell of themselves."""

    def amount(seen: Seen) -> Any:
        return seen[0].get(field)

    def cell(seen: Seen) -> str:
        found = amount(seen)
        return "" if found is None else show(found)

    return Column(name, title, key, 5, cell=cell, order=amount, right=True, most_first=True, told=True)


def _bytes(rate: float) -> str:
    return render.size(round(rate))


def per_cent(cores: float) -> str:
    """CPU seconds per second as per cent of one CPU: "0.3", "12.5", "400"."""
    share = cores * 100
    return f"{share:.1f}" if share < 99.95 else f"{share:.0f}"


def _age(seen: Seen) -> float | None:
    """Seconds that it is so, or (negative) until it goes on."""
    row, _, now = seen
    run = row["run"]
    if row["state"] in LIVE:
        return render.lasts(run, now) if run and run["started_at"] else None
    if row["due_in"] is not None:
        return -float(row["due_in"])
    return now - run["ended_at"] if run and run["ended_at"] else None


COLUMNS = (
    Column("name", "NAME", "N", 4, cell=lambda seen: render.plain(seen[0]["name"]), order=lambda seen: seen[0]["name"]),
    Column("state", "STATE", "S", 9, cell=lambda seen: state(seen[0]), order=lambda seen: rank(seen[0])),
    _rate("cpu", "CPU%", "C", 5, per_cent),
    _used("memory", "MEMORY", "M", 6),
    _used("tasks", "TASKS", "K", 5),
    _rate("read", "READ/s", "R", 6, _bytes),
    _rate("written", "WRITE/s", "W", 7, _bytes),
    _rate("log", "LOG/s", "L", 5, _bytes),
    Column("time", "TIME", "T", 7, cell=lambda seen: since(seen[0], seen[2]), order=_age, right=True, most_first=True),
    Column(
        "restarts", "RESTARTS", "A", 8,
        cell=lambda seen: str(seen[0]["restarts"]), order=lambda seen: seen[0]["restarts"], right=True, most_first=True,
    ),
    _told("progress", "PROGRESS", "P", "progress", "{:.0%}".format),
    _told("cost", "COST", "O", "cost_usd", "${:.2f}".format),
    Column("detail", "DETAIL", "D", 6, cell=lambda seen: detail(seen[0]), order=lambda seen: detail(seen[0])),
)  # fmt: skip

DROP = ("restarts", "tasks", "read", "written", "log", "time", "cost", "progress", "memory", "cpu", "detail")
"""Left out in this order where the screen is too narrow."""

NAMES = tuple(column.name for column in COLUMNS)


def find(name: str) -> Column:
    """The column of this name."""
    return next(column for column in COLUMNS if column.name == name)
