"""rdagentctl events: what happened, and who asked for it."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.client import resume
from rdagentctl.selection import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_TAIL = 50


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    since, tail = arguments.number("since"), arguments.number("tail")
    request: dict[str, Any] = {
        "select": select(arguments),
        "since": since or 0,
        "tail": _TAIL if tail is None and since is None else tail,
        "follow": arguments.flag("follow"),
    }
    as_json = arguments.flag("json")

    def once() -> None:
        for _, item in client.stream(("events", request)):
            if item["seq"] <= request["since"]:
                continue
            if as_json:
                render.show_json(item, stream=True)
            else:
                print(_line(item), flush=request["follow"])
            request.update(since=item["seq"], tail=None)

    resume(client, once)
    return 0


def _line(item: dict[str, Any]) -> str:
    by = f"  (by {render.user(item['by'])})" if item["by"] is not None else ""
    worker = render.plain(item["worker"] or "rdagentd")
    return f"{render.clock(item['at'])}  {worker:<20}  {render.plain(item['text'])}{by}"
