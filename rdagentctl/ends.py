"""What a worker's end means for the exit code of `run` and `wait`."""

from __future__ import annotations

from rdagentd.protocol.errors import EXIT_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def exit_code(row: dict[str, Any]) -> int:
    """As a shell would say it: the worker's own code, 128+N for signal N; EXIT_FAILED for an end without either.

    A run that was ended by a limit, or whose outcome says that it failed, never counts as 0.
    """
    ended = row["exit"]
    if ended is None:
        return EXIT_FAILED
    if ended.get("signal"):
        return 128 + _number(ended["signal"])
    code = ended.get("code")
    if ended["kind"] == "code" and not (code == 0 and ended.get("outcome") == "failed"):
        return int(code)
    return int(code or EXIT_FAILED)


def _number(name: str) -> int:
    import signal

    try:
        return int(signal.Signals[name])
    except KeyError:  # a real-time signal has no name of its own: SIGRTMIN+1
        base, plus, offset = name.partition("+")
        return int(signal.Signals[base]) + int(offset) if plus and base in signal.Signals.__members__ else 0
