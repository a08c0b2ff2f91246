"""rdagentctl version: which versions of client, daemon and executor work together."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.client import PROTOCOL
from rdagentd import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code; the client's own version is told even if there is no daemon."""
    if arguments.flag("json"):
        render.show_json({"client": __version__, **client.call("version")})
        return 0
    print(f"rdagentctl  {__version__} (protocol {PROTOCOL})", flush=True)
    answer = client.call("version")
    executor = answer["executor"]
    print(f"rdagentd    {render.plain(answer['version'])} (protocol {answer['protocol']}, database {answer['schema']})")
    told = f"{render.plain(executor['version'])} (pid {executor['pid']})" if executor else "does not answer"
    print(f"executor    {told}")
    return 0
