"""When a directory is to be measured again. Pure numbers.

The kernel tells nobody without rights how much a directory holds, so its files have to be looked at, be they a million.
What costs nothing is how full the file system is. So: after a look the next is due soon if something has changed and ever later
while nothing does; earlier if the file system has filled so much meanwhile that the quota could be reached; and never so often
that looking takes more than a hundredth of a CPU, or a tenth while it fills.
"""

from __future__ import annotations

from attrs import frozen

FIRST, LAST = 10.0, 600.0
"""Seconds until the next look, after a change and after many looks without one."""


@frozen
class Look:
    """at: monotonic seconds; used: bytes; free: bytes on the file system, None if unknown; took, wait: seconds."""

    at: float
    used: int
    free: int | None
    took: float
    wait: float


def look(last: Look | None, used: int, free: int | None, took: float, now: float) -> Look:
    """What was found, and how long that is good for."""
    wait = FIRST if last is None or used != last.used else min(LAST, 2 * last.wait)
    return Look(now, used, free, took, max(wait, 100 * took))


def is_due(last: Look | None, quota: int | None, free: int | None, now: float) -> bool:
    """Whether to look now. free: bytes on the file system, as it is now."""
    if last is None or now - last.at >= last.wait:
        return True
    if quota is None or free is None or last.free is None or now - last.at < 10 * last.took:
        return False
    filled = last.free - free
    return filled > 0 and last.used + 2 * filled >= quota  # twice: others may have made room meanwhile
