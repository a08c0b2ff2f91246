"""rdagentctl events: what happened, and who asked for it."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.client import ServerError, resume
from rdagentctl.selection import select
from rdagentctl.times import point
from rdagentd.protocol.errors import OVER_CAPACITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_TAIL = 50


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    request = _request(arguments)
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

    def all_of_them() -> None:
        """What a slow reader was not told live is read from the store."""
        while True:
            before = request["since"]
            try:
                return once()
            except ServerError as error:
                if error.code != OVER_CAPACITY or request["since"] == before:
                    raise
                client.close()

    resume(client, all_of_them)
    return 0


def _request(arguments: Arguments) -> dict[str, Any]:
    given, tail = arguments.text("since"), arguments.number("tail")
    number = int(given) if given is not None and given.isdecimal() else None
    request: dict[str, Any] = {
        "select": select(arguments),
        "since": number or 0,
        "tail": _TAIL if tail is None and given is None else tail,
        "follow": arguments.flag("follow"),
    }
    if given is not None and number is None:
        request["after"] = point("--since", given)
    if arguments.many("kind"):
        request["kinds"] = arguments.many("kind")
    return request


def _line(item: dict[str, Any]) -> str:
    by = f"  (by {render.user(item['by'])})" if item["by"] is not None else ""
    worker = render.plain(item["worker"] or "rdagentd")
    return f"{render.clock(item['at'])}  {worker:<20}  {render.plain(item['text'])}{by}"
