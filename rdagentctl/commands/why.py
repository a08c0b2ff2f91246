"""rdagentctl why: says in sentences why workers are where they are."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.selection import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_TROUBLE = ("failed", "backoff", "stopping", "paused", "queued")


def run(client: Client, arguments: Arguments) -> int:
    """The exit code. Without a selection it speaks of all that are in trouble."""
    chosen = select(arguments)
    if not chosen["names"] and not chosen["labels"]:
        rows = client.call("status", {"select": chosen})
        chosen["names"] = [row["name"] for row in rows if row["state"] in _TROUBLE or row["health"] == "unhealthy"]
    answers: list[dict[str, Any]] = (
        client.call("why", {"select": chosen}) if chosen["names"] or chosen["labels"] else []
    )
    if arguments.flag("json"):
        render.show_json(answers)
    elif not answers:
        print("no worker is in trouble")
    else:
        print("\n\n".join(map(_story, answers)))
    return 0


def _story(answer: dict[str, Any]) -> str:
    lines = [f"  {render.plain(sentence)}" for sentence in answer["sentences"]]
    return "\n".join([f"{render.plain(answer['name'])}:", *lines])
