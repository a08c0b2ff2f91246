"""rdagentctl reload: makes the daemon read its configuration again."""

from __future__ import annotations

from rdagentctl import changes, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    answer = client.call("reload")
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        changes.show(answer["changes"], dry=False)
    return 0
