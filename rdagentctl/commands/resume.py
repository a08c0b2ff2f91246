"""rdagentctl resume: lets paused workers go on, and those at rest start from a checkpoint."""

from __future__ import annotations

from rdagentctl.selection import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    chosen = arguments.text("from")
    more: dict[str, Any] = {"checkpoint": chosen} if chosen else {}
    return act(client, arguments, **more)
