"""rdagentctl signal: sends a signal to workers."""

from __future__ import annotations

from rdagentctl.failure import UsageError
from rdagentctl.selection import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    signal, *names = arguments.words
    if not names and not arguments.many("label"):
        raise UsageError("cannot signal: NAME… is missing; for all workers: '*'")
    return act(client, arguments, names=names, signal=_name(signal), scope=arguments.text("scope") or "main")


def _name(text: str) -> str:
    """SIGHUP from "HUP", "sighup" or "1"; the daemon judges the rest."""
    if text.isdecimal():
        import signal

        try:
            return signal.Signals(int(text)).name
        except ValueError:
            raise UsageError(f"cannot signal: {text} is no signal; see signal(7)") from None
    name = text.upper()
    return name if name.startswith("SIG") else f"SIG{name}"
