"""rdagentctl profiles: the ready specs that there are."""

from __future__ import annotations

from rdagentctl import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    profiles = client.call("profiles")
    if arguments.flag("json"):
        render.show_json(profiles)
    elif profiles:
        print(render.table([["PROFILE", "PARAMETERS", "ABOUT"], *map(_row, profiles)], None))
    else:
        print("there are no profiles")
    return 0


def _row(profile: dict[str, Any]) -> tuple[str, str, str]:
    if profile["problem"]:
        return render.plain(profile["name"]), "-", f"cannot be used: {render.plain(profile['problem'])}"
    parameters = (name if one["needed"] else f"[{name}]" for name, one in profile["parameters"].items())
    return render.plain(profile["name"]), render.plain(" ".join(parameters)) or "-", render.plain(profile["about"])
