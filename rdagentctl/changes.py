"""What apply and reload changed, or would change, as a diff."""

from __future__ import annotations

from rdagentctl import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGN = {"create": "+", "update": "~", "restart": "~", "remove": "-", "stop": "-", "start": "+", "none": "="}
_COLOUR = {
    "create": render.GREEN,
    "update": render.YELLOW,
    "restart": render.YELLOW,
    "remove": render.RED,
    "stop": render.RED,
    "start": render.GREEN,
}
_SAYS = {
    "create": "is new",
    "update": "changes, without a restart",
    "restart": "changes with a new run",
    "remove": "is removed",
    "stop": "is stopped: its file is gone; `rdagentctl remove` forgets it",
    "start": "starts: its file is back",
    "none": "stays",
}


def show(changes: list[dict[str, Any]], *, dry: bool) -> None:
    """Prints one line for each worker, the fields that change below it, and a summary."""
    colour = render.coloured()
    for change in changes:
        action = change["action"]
        if action == "none":
            continue
        line = f"{_SIGN.get(action, '?')} {render.plain(change['name'])} {_SAYS.get(action, action)}"
        print(render.paint(line, _COLOUR.get(action, "") if colour else ""))
        if action != "create":
            for field in change["fields"]:
                old, new = render.value(field["old"]), render.value(field["new"])
                print(f"    {render.plain(field['field'])}: {old} → {new}")
        render.warn(change.get("warnings", ()))
    same = sum(change["action"] == "none" for change in changes)
    moved = len(changes) - same
    told = f"{render.count(moved, 'change')}, {render.count(same, 'worker')} unchanged"
    print(f"{told}; dry run: nothing was done" if dry else told)
