"""rdagentctl restore-workspace: brings a worker's git work tree back."""

from __future__ import annotations

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    told = client.call("restore_workspace", {"name": arguments.words[0], "run": arguments.text("run") or None})
    if arguments.flag("json"):
        render.show_json(told)
    else:
        head = f"{told['branch'] or 'HEAD'} is {told['commit'][:12]} again" if told["commit"] else "there was no commit"
        place, run = render.plain(told["directory"]), render.plain(told["run"])
        print(f"{place} is as it was before run {run}: {render.plain(head)}")
    return EXIT_OK
