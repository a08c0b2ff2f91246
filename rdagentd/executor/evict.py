"""What is left of a container: an engine that was killed in the middle of a start does not know that it did start it."""

from __future__ import annotations

import os
import signal

from rdagentd.executor import proc
from rdagentd.executor.files import read

LENGTH = 64
"""Hexadecimal digits of a container's id; each of its cgroups has it in its path, whoever the engine's cgroup driver is."""

_SHIM = "containerd-shim"
"""What starts a container's program, and is told the id as an argument; the kernel keeps 15 characters of a name.
With `delete` as another argument it starts nothing, and clears away what one that has died left.
"""


def evict(container: str) -> int:
    """Sends SIGKILL to all that is of a container, and to what may be about to start it; returns how many these were."""
    me, found = os.getpid(), 0
    for pid in proc.pids():
        seen = proc.stat(pid)
        if seen is not None and seen.state != "Z" and pid != me and _is_of(pid, container):
            proc.send(pid, seen.ticks, signal.SIGKILL)
            found += 1
    return found


def _is_of(pid: int, container: str) -> bool:
    try:
        if container in read(f"/proc/{pid}/cgroup"):
            return True
        arguments = read(f"/proc/{pid}/cmdline").split("\0") if read(f"/proc/{pid}/comm").strip() == _SHIM else ()
        return container in arguments and "delete" not in arguments
    except (FileNotFoundError, ProcessLookupError):
        return False
