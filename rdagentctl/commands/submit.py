"""rdagentctl submit: hands a command over to be supervised."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.given import profile, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    answer = client.call(
        "submit", {"spec": spec(arguments, profile(arguments, client)), "start": not arguments.flag("no-start")}
    )
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        reason = answer["reason"]
        why = f" ({render.plain(reason['text'])})" if reason else ""
        print(f"{render.plain(answer['name'])}: {answer['state']}{why}")
        render.warn(answer.get("warnings", ()))
    return 0
