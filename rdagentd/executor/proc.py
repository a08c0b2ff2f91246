"""What /proc tells about a process, and how to signal exactly that one. See proc(5), pidfd_open(2)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

from rdagentd.executor.files import read

TAG = 10
"""RLIMIT_LOCKS: Linux does not use it since 2.4.25, yet keeps it over fork and exec; getrlimit(2). It holds a run's tag."""

_LOCKS = "Max file locks"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """State letter, parent, process group, session, start in clock ticks since boot: fields 3 to 6 and 22 of /proc/PID/stat."""

    state: str
    parent: int
    group: int
    session: int
    ticks: int


def stat(pid: int) -> Stat | None:
    """What the kernel says of a process; None if there is none."""
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def _stat(pid: int) -> list[str]:
    """The fields from the third on; the name in front may hold anything, ")" too. Raises OSError."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def session(pid: int) -> int:
    """Session of a process; 0 for one of the kernel, and for one that does not exist."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def start_ticks(pid: int) -> int:
    """Start time of a child not reaped yet, or of ourselves."""
    found = stat(pid)
    assert found is not None
    return found.ticks


def pids() -> list[int]:
    """Every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tag_of(run: str) -> int:
    """The number of 61 bits that marks a run's processes; unlike the environment, programs do not overwrite it."""
    text = run.encode()
    return crc32(text) << 29 | crc32(text[::-1]) >> 3


def tag(pid: int) -> int:
    """The tag that a process has; -1 if it has none. Everybody may read it."""
    try:
        value = read(f"/proc/{pid}/limits").partition(_LOCKS)[2]
    except OSError:
        return -1
    soft = value.split(None, 1)[0] if value else ""
    return int(soft) if soft.isdigit() else -1


SUMS = ("user", "system", "memory", "tasks", "read", "written")
_COUNTED = ("memory_peak", "tasks_peak", "throttled", "forks_refused")
"""What the kernel alone can tell, of a cgroup."""


def usage(found: Iterable[int]) -> dict[str, Any]:
    """What these processes use: CPU seconds, bytes of memory (resident) and I/O (None if we may not ask), tasks."""
    user = system = memory = tasks = 0
    io: list[int] | None = [0, 0]
    for pid in found:
        try:
            fields = _stat(pid)
            user, system = user + int(fields[11]), system + int(fields[12])
            tasks += int(fields[17])
            memory += int(fields[21])
            words = read(f"/proc/{pid}/io").split()
            io = io and [io[0] + int(words[9]), io[1] + int(words[11])]
        except PermissionError:
            io = None
        except (FileNotFoundError, ProcessLookupError):
            continue
    values = (user / _TICKS, system / _TICKS, memory * _PAGE, tasks, *(io or (None, None)))
    return {**dict.fromkeys(_COUNTED), **dict(zip(SUMS, values, strict=True))}


def send(pid: int, ticks: int, number: int) -> bool:
    """Signals the process with this pid and start time, if it is there. False if that is not permitted."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        now = stat(pid)  # the pidfd holds on to one process; if that is the one meant, the signal cannot miss
        if now is not None and now.ticks == ticks:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(fd)
    return True


def boot_id() -> str:
    """Changes with every boot; pids and start times mean nothing across it."""
    return read("/proc/sys/kernel/random/boot_id").strip()
