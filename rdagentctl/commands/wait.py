"""rdagentctl wait: returns once workers have ended, with their exit code, or are running, healthy or ready."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.commands.status import state
from rdagentctl.ends import exit_code
from rdagentctl.selection import REACHED, select, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The worker's own exit code; of several, the first that is not 0."""
    until = arguments.text("until") or arguments.text("for") or "rest"
    rows = wait(client, select(arguments), until, arguments.seconds("timeout"))
    if arguments.flag("json"):
        render.show_json(rows)
    else:
        for row in rows:
            told = state(row) if until != "rest" else render.ending(row["exit"]) or row["state"]
            print(f"{render.plain(row['name'])}: {render.plain(told)}")
    if until == "running":
        return int(any(row["state"] == "failed" for row in rows))
    if until in REACHED:
        return int(not all(map(REACHED[until], rows)))
    codes = [exit_code(row) for row in rows]
    return next((code for code in codes if code), 0)
