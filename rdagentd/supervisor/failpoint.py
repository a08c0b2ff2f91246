"""Named points at which crash tests end the daemon. RDAGENTD_FAILPOINTS="before-commit:3:kill,…" dies at the third pass."""

from __future__ import annotations

import os
import signal


def _parse(text: str) -> dict[str, int]:
    parts = (entry.split(":") for entry in text.split(",") if entry)
    return {name: int(count) for name, count, _ in parts}


_LEFT = _parse(os.environ.get("RDAGENTD_FAILPOINTS", ""))


def failpoint(name: str) -> None:
    """Passes, or ends the process as SIGKILL would."""
    if _LEFT and name in _LEFT:
        _LEFT[name] -= 1
        if _LEFT[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
