"""rdagentctl show: everything known about workers."""

from __future__ import annotations

import time

from rdagentctl import render
from rdagentctl.selection import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_RUNS = 10
_REVISIONS = 5


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    answers = client.call("show", {"select": select(arguments)})
    if arguments.flag("json"):
        render.show_json(answers)
    else:
        print("\n\n".join("\n".join(_lines(answer)) for answer in answers))
    return 0


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    row = answer["row"]
    yield render.plain(row["name"])
    reason = row["reason"]
    yield f"  state     {row['state']}{': ' + render.plain(reason['text']) if reason else ''}"
    yield f"  wish      {row['want']}"
    yield f"  owner     {render.user(row['owner'])}"
    if row["run"] and row["run"]["pid"] and not row["run"]["ended_at"]:
        yield f"  process   {row['run']['pid']}, for {render.ago(render.lasts(row['run'], time.time()))}"
    yield f"  attempt   {row['attempt']}, {render.count(row['restarts'], 'restart')}"
    yield f"  spec      revision {row['revision']}"
    yield from (f"    {path} = {told}" for path, told in _fields("", answer["spec"]))
    yield from _section("runs", ["RUN", "STARTED", "TOOK", "END"], map(_run, answer["runs"]), _RUNS)
    yield from _section("revisions", ["REVISION", "AT", "BY"], map(_revision, answer["revisions"]), _REVISIONS)


def _fields(path: str, spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that have a value, by dotted path."""
    for key, thing in spec.items():
        where = f"{path}{render.plain(key)}"
        if where == "environment":  # values are secrets often enough; --json tells those that the daemon tells
            yield where, ", ".join(map(render.plain, thing)) or "-"
        elif isinstance(thing, dict) and not where.startswith("limits."):
            yield from _fields(f"{where}.", thing)
        elif thing is not None and thing not in ([], "", {}):
            yield where, render.value(thing)


def _section(title: str, heading: list[str], lines: Any, most: int) -> Iterator[str]:
    rows = list(lines)
    if not rows:
        return
    yield f"  {title}"
    yield from (f"    {line}" for line in render.table([heading, *rows[:most]], None).splitlines())
    if len(rows) > most:
        yield f"    … and {len(rows) - most} more (--json shows all)"


def _run(run: dict[str, Any]) -> tuple[str, ...]:
    begin, end = run["started_at"], run["ended_at"]
    took = render.ago(end - begin if end else render.lasts(run, time.time())) if begin else "-"
    return render.plain(run["id"]), render.clock(begin), took, render.ending(run.get("exit")) or "-"


def _revision(revision: dict[str, Any]) -> tuple[str, ...]:
    return str(revision["revision"]), render.clock(revision["at"]), render.user(revision["by"])
