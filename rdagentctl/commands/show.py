"""rdagentctl show: everything known about workers."""

from __future__ import annotations

import time

from rdagentctl import render
from rdagentctl.commands.budget import amount, part
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
    yield from _health(row, answer.get("checks", {}))
    yield f"  wish      {row['want']}"
    yield f"  owner     {render.user(row['owner'])}"
    if row["run"] and row["run"]["pid"] and not row["run"]["ended_at"]:
        yield f"  process   {row['run']['pid']}, for {render.ago(render.lasts(row['run'], time.time()))}"
    if answer.get("usage"):
        yield f"  uses      {', '.join(_uses(answer['usage']))}"
    for one in row.get("budgets", ()):
        used, most = (amount(one["measure"], one[key]) for key in ("used", "budget"))
        yield f"  budget    {render.plain(one['measure'])} of {render.plain(one['of'])}: {used} of {most} ({part(one)})"
    yield f"  attempt   {row['attempt']}, {render.count(row['restarts'], 'restart')}"
    yield f"  spec      revision {row['revision']}"
    yield from (f"    {path} = {told}" for path, told in _fields("", answer["spec"]))
    heading = ["RUN", "STARTED", "TOOK", "CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "LOG", "END"]
    yield from _section("runs", heading, map(_run, answer["runs"]), _RUNS)
    yield from _section("revisions", ["REVISION", "AT", "BY"], map(_revision, answer["revisions"]), _REVISIONS)


def _health(row: dict[str, Any], checks: dict[str, Any]) -> Iterator[str]:
    """What is known by its checks, and the last answer to each."""
    known = [row["health"] or "", "" if row.get("ready", True) or row["state"] != "running" else "not ready"]
    if any(known):
        yield f"  health    {', '.join(filter(None, known))}"
    for answers in checks.values():
        last = answers[-1]
        yield f"            {render.plain(last['text'])}, {render.ago(max(0, time.time() - last['at']))} ago"


def _fields(path: str, spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that have a value, by dotted path."""
    for key, thing in spec.items():
        bare = key.replace("_", "").replace("-", "").isalnum()
        where = path + (render.plain(key) if bare else f'"{render.plain(key)}"')  # as TOML has it
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
    return render.plain(run["id"]), render.clock(begin), took, *_used(run), _end(run)


def _end(run: dict[str, Any]) -> str:
    """How it ended, and where it began if not at the beginning."""
    end, began = render.ending(run.get("exit")) or "-", run.get("checkpoint")
    return f"{end}; went on from {render.plain(began)}" if began else end


def _uses(used: dict[str, Any]) -> Iterator[str]:
    """What a run that lives uses."""
    yield f"CPU {render.seconds(used['user'], used['system'])} ({render.seconds(used['user'])} user)"
    for key, peak in (("memory", used["memory_peak"]), ("tasks", used["tasks_peak"])):
        most = "" if peak is None else f" ({_amount(key, peak)} at most)"
        yield f"{key} {_amount(key, used[key])}{most}"
    yield f"read {render.size(used['read'])}, written {render.size(used['written'])}, log {render.size(used['log'])}"
    yield from (f"{kind} directory {render.size(size)}" for kind, size in used.get("disk", {}).items())


def _amount(key: str, number: int | None) -> str:
    return render.size(number) if key == "memory" else str("-" if number is None else number)


def _used(run: dict[str, Any]) -> tuple[str, ...]:
    """What a run that is over has used at most and in all; memory is of its largest process if nobody counted the whole."""
    used = run.get("usage")
    if not used:
        return ("-",) * 6
    log = sum(end - run["log_start"].get(stream, end) for stream, end in run["log_end"].items())
    memory = used.get("memory_peak") if used.get("memory_peak") is not None else used["max_rss"]
    return (
        render.seconds(used["user"], used["system"]),
        render.size(memory),
        _amount("tasks", used.get("tasks_peak")),
        render.size(used.get("read")),
        render.size(used.get("written")),
        render.size(log),
    )


def _revision(revision: dict[str, Any]) -> tuple[str, ...]:
    return str(revision["revision"]), render.clock(revision["at"]), render.user(revision["by"])
