"""rdagentctl pause: freezes workers."""

from __future__ import annotations

from rdagentctl.selection import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    return act(client, arguments)
