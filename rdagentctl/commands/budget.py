"""rdagentctl budget: what workers have spent of their budgets; raises those."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.selection import act, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    wanted: dict[str, Any] = {"raise": arguments.pairs("raise")}
    if wanted["raise"]:
        return act(client, arguments, **wanted)
    rows = client.call("status", {"select": select(arguments)})
    if arguments.flag("json"):
        render.show_json([{"name": row["name"], "budgets": row["budgets"]} for row in rows])
        return 0
    lines = [line for row in rows for line in _lines(row)]
    heading = ("NAME", "BUDGET", "USED", "OF", "PART")
    print(render.table([heading, *lines], None).rstrip() if lines else "no budgets; they stand in specs, as `budgets`")
    return 0


def _lines(row: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in row["budgets"]:
        measure = one["measure"]
        used, most = (amount(measure, one[key]) for key in ("used", "budget"))
        yield render.plain(row["name"]), render.plain(f"{one['of']} {measure}"), used, most, part(one)


def amount(measure: str, value: float) -> str:
    """An amount of it, for a column."""
    if measure in ("log_bytes", "disk"):
        return render.size(int(value))
    return render.ago(value) if measure == "run_time" else f"{value:,.10g}"


def part(one: dict[str, Any]) -> str:
    """How much of a budget is used."""
    return f"{one['used'] / one['budget']:.0%}" if one["budget"] else "-"
