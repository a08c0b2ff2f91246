"""Named places at which a test has the executor kill itself."""

from __future__ import annotations

import os
import signal

_left: dict[str, int] = {}


def arm(text: str) -> None:
    """Arms points from `name:count:kill`, separated by commas: SIGKILL at the count-th pass. Raises ValueError."""
    for item in filter(None, text.split(",")):
        name, count, _kill = item.split(":")
        _left[name] = int(count)


def reach(name: str) -> None:
    """Counts a pass of the point `name`; nothing happens at one that is not armed."""
    if name in _left:
        _left[name] -= 1
        if _left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
