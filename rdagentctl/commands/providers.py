"""rdagentctl providers: tells of the providers of models that workers need, and of their breakers."""

from __future__ import annotations

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_HEADING = ("NAME", "BREAKER", "ERRORS", "WORKERS", "WAITING", "DETAIL")
_SAID = {"closed": "closed", "open": "open", "half_open": "half-open"}


def run(client: Client, arguments: Arguments) -> int:
    """The exit code: 1 if the breaker of one is not closed."""
    rows: list[dict[str, Any]] = client.call("providers")
    if arguments.flag("json"):
        render.show_json(rows)
    elif not rows:
        print("no worker names a provider")
    else:
        print(render.table([_HEADING, *map(_cells, rows)], None), end="")
    return EXIT_FAILED if any(row["phase"] != "closed" for row in rows) else EXIT_OK


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    breaker = row["breaker"]
    counted = f"{row['errors']} of {breaker['errors']}"
    return (
        render.plain(row["name"]), _SAID.get(row["phase"], render.plain(row["phase"])), counted, str(row["workers"]),
        str(row["waiting"]), render.plain(_detail(row)) or "-",
    )  # fmt: skip


def _detail(row: dict[str, Any]) -> str:
    left = None if row["due_in"] is None else render.ago(row["due_in"])
    if row["phase"] == "open":
        return f"{row['why']}; one worker tries it in {left}"
    if row["phase"] == "half_open":
        return f"{row['probe']} tries it" if row["probe"] else "the next worker that needs it tries it"
    return ""
