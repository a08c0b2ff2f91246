"""rdagentctl status: workers as a table that shows trouble first."""

from __future__ import annotations

import gc
import sys
import time

from rdagentctl import render
from rdagentctl.selection import LIVE, select
from rdagentd.protocol.errors import EXIT_NOT_RUNNING, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

    Row = dict[str, Any]

ORDER = ("failed", "backoff", "stopping", "paused", "queued", "starting", "running", "stopped", "completed")
"""Trouble first, then what moves, then what is quiet."""

QUIET = frozenset({"running", "stopped", "completed"})
"""States whose rows may be left out when a screen is too small for all."""

RANK = {state: rank for rank, state in enumerate(ORDER)}
_HEADING = ("NAME", "STATE", "TIME", "PID", "RESTARTS", "DETAIL")
_DROP = (4, 3, 2)
_USES = ("CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "LOG", "BUDGET")


def run(client: Client, arguments: Arguments) -> int:
    """The exit code: EXIT_NOT_RUNNING if workers were named and one of them is not running."""
    gc.disable()  # thousands of rows, none of them garbage
    chosen = select(arguments)
    rows: list[Row] = client.call("status", {"select": chosen})
    if arguments.flag("long"):
        _add_usage(client, chosen, rows)
    if arguments.flag("json"):
        render.show_json(rows)
    elif arguments.flag("quiet"):
        print("".join(f"{render.plain(row['name'])}\n" for row in rows), end="")
    else:
        size = render.screen()
        sys.stdout.write(text(rows, size, everything=arguments.flag("all") or not size, colour=render.coloured()))
    named = chosen["names"] or chosen["labels"]
    return EXIT_NOT_RUNNING if named and any(row["state"] not in LIVE for row in rows) else EXIT_OK


def text(rows: list[Row], size: tuple[int, int] | None, *, everything: bool, colour: bool) -> str:
    """The whole answer for a screen of `size` columns and lines."""
    if not rows:
        return "no workers yet. Begin with: rdagentctl submit -- COMMAND\n"
    rows.sort(key=lambda row: (rank(row), row["name"]))
    shown = rows if everything or size is None else _cut(rows, size[1])
    now = time.time()
    lines = [_HEADING, *[_cells(row, now) for row in shown]]
    if any("usage" in row for row in shown):
        lines = [(*line[:-1], *more, line[-1]) for line, more in zip(lines, [_USES, *map(_uses, shown)], strict=True)]
    colours = [render.COLOUR_OF_STATE.get(row["state"], "") for row in shown] if colour else ()
    table = render.table(lines, size[0] if size else None, colours, _DROP)
    return f"{_counts(rows, colour)}\n\n{table}{_rest(rows[len(shown) :])}"


def _add_usage(client: Client, chosen: dict[str, Any], rows: list[Row]) -> None:
    used = {one["name"]: one["usage"] for one in client.call("usage", {"select": chosen})} if rows else {}
    for row in rows:
        row["usage"] = used.get(row["name"])


def _uses(row: Row) -> tuple[str, ...]:
    used = row["usage"]
    if not used:
        return (*("-",) * (len(_USES) - 1), _budget(row))
    return (
        render.seconds(used["user"], used["system"]),
        render.size(used["memory"]),
        str("-" if used["tasks"] is None else used["tasks"]),
        *(render.size(used[key]) for key in ("read", "written", "log")),
        _budget(row),
    )


def _budget(row: Row) -> str:
    """How much is used of the budget of which the least is left."""
    parts = [(one["used"] / one["budget"], one["measure"]) for one in row.get("budgets", ()) if one["budget"]]
    most, measure = max(parts, default=(0.0, ""))
    return f"{most:.0%} {render.plain(measure)}" if parts else "-"


def _counts(rows: list[Row], colour: bool) -> str:
    """The line at the top: how many workers are in which state."""
    numbers: dict[str, int] = {}
    for row in rows:
        numbers[row["state"]] = numbers.get(row["state"], 0) + 1
    parts = [
        render.paint(f"{number} {render.plain(state)}", render.COLOUR_OF_STATE.get(state, "") if colour else "")
        for state, number in numbers.items()
    ]
    return f"{render.count(len(rows), 'worker')}: {', '.join(parts)}"


def _cut(rows: list[Row], lines: int) -> list[Row]:
    """All rows in trouble, and as many quiet ones as the screen has room for beside the other lines."""
    loud = sum(row["state"] not in QUIET or row["health"] == "unhealthy" for row in rows)
    room = max(lines - 5, 5)
    return rows if len(rows) <= room + 1 else rows[: max(loud, room)]


def _rest(left: list[Row]) -> str:
    if not left:
        return ""
    return f"… and {_counts(left, colour=False).partition(': ')[2]}; to see them: rdagentctl status --all\n"


def _cells(row: Row, now: float) -> tuple[str, ...]:
    run = row["run"]
    return (
        render.plain(row["name"]),
        state(row),
        since(row, now),
        str(run["pid"] or "-") if row["state"] in LIVE and run else "-",
        str(row["restarts"]),
        detail(row),
    )


def state(row: Row) -> str:
    """State, and health if that is not well; else whether it can be used."""
    health = row["health"] or "healthy"
    if health == "healthy" and row["state"] == "running" and row.get("ready") is False:
        health = "not ready"
    return render.plain(row["state"] if health == "healthy" else f"{row['state']}, {health}")


def rank(row: Row) -> int:
    """By trouble, most first."""
    return RANK["backoff"] if row["health"] == "unhealthy" else RANK.get(row["state"], 0)


def detail(row: Row) -> str:
    """The reason for the state, how it ended, or what runs: what a person most wants to know."""
    if row["reason"] and row["state"] != "running":
        said = row["reason"]["text"]
    elif row["state"] in ("failed", "completed") and row["exit"]:
        said = render.ending(row["exit"])
    else:
        command = row["command"]
        said = command if type(command) is str else " ".join(command)
    return render.plain(said)


def since(row: Row, now: float) -> str:
    """How long it has been so, or when it will go on; now: seconds since the epoch."""
    run = row["run"]
    if row["state"] in LIVE:
        return render.ago(render.lasts(run, now)) if run and run["started_at"] else "-"
    if row["due_in"] is not None:
        return f"in {render.ago(row['due_in'] + 0.999)}"
    return f"{render.ago(now - run['ended_at'])} ago" if run and run["ended_at"] else "-"
