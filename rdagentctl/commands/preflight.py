"""rdagentctl preflight: what workers lack that they need to start."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.failure import UsageError
from rdagentctl.given import profile, spec
from rdagentctl.selection import select
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code: 1 if something is missing, or could not be looked for."""
    found = client.call("preflight", _asked(client, arguments))
    if arguments.flag("json"):
        render.show_json(found)
    else:
        print("\n".join(map(_told, found)))
    return EXIT_FAILED if any(one["problems"] or one["unmade"] for one in found) else EXIT_OK


def _asked(client: Client, arguments: Arguments) -> dict[str, Any]:
    if arguments.text("profile"):
        given = spec(arguments, profile(arguments, client))
        return {"spec": given}
    for name in ("set", "env", "env-file"):
        if arguments.many(name):
            raise UsageError(f"cannot read --{name}: it belongs to --profile")
    if not arguments.words and not arguments.many("label"):
        raise UsageError("cannot preflight: NAME… or --profile is missing; for all workers: '*'")
    return {"select": select(arguments)}


def _told(one: dict[str, Any]) -> str:
    name = render.plain(one["name"])
    if one["unmade"]:
        return f"{name}: could not be looked at: {render.plain(one['unmade'])}"
    if not one["problems"]:
        return f"{name}: {'lacks nothing' if one['asked'] else 'has no [preflight]'}"
    return "\n".join([f"{name}:", *(f"  {render.plain(problem)}" for problem in one["problems"])])
