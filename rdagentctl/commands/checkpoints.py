"""rdagentctl checkpoints: lists a worker's checkpoints, and which are whole."""

from __future__ import annotations

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    told = client.call("checkpoints", {"name": arguments.words[0]})
    if arguments.flag("json"):
        render.show_json(told)
    elif not told["checkpoints"]:
        print(f"{render.plain(told['name'])} has no checkpoints")
    else:
        rows = [("CHECKPOINT", "AT", "SIZE", "VERDICT"), *(_row(one, told["next"]) for one in told["checkpoints"])]
        print(render.table(rows, None), end="")
    return EXIT_OK


def _row(one: dict[str, Any], chosen: str | None) -> tuple[str, ...]:
    says = {"": "whole", None: "not looked into"}.get(one["problem"]) or render.plain(one["problem"])
    if one["failures"]:
        says += f", {render.count(one['failures'], 'run')} failed from it"
    if not one["present"]:
        says += ", of an earlier life"
    if one["path"] == chosen:
        says += ", the next to go on from"
    return render.plain(one["path"]), render.clock(one["at"]), render.size(one["size"]), says
