"""rdagentctl wait: returns once workers have ended, with their exit code."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.ends import exit_code
from rdagentctl.selection import select, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The worker's own exit code; of several, the first that is not 0."""
    until = arguments.text("for") or "rest"
    rows = wait(client, select(arguments), until, arguments.seconds("timeout"))
    if arguments.flag("json"):
        render.show_json(rows)
    else:
        for row in rows:
            told = row["state"] if until == "running" else render.ending(row["exit"]) or row["state"]
            print(f"{render.plain(row['name'])}: {render.plain(told)}")
    if until == "running":
        return int(any(row["state"] == "failed" for row in rows))
    codes = [exit_code(row) for row in rows]
    return next((code for code in codes if code), 0)
