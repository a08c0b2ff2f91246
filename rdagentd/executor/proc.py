"""What /proc tells about a process, and how to signal exactly that one. See proc(5), pidfd_open(2)."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple
from zlib import crc32

MARKER = b"RDAGENTD_RUN="
"""Begins the environment variable that names the run a process belongs to."""

TAG = 10
"""RLIMIT_LOCKS: Linux does not use it since 2.4.25, yet keeps it over fork and exec; getrlimit(2). It holds a run's tag."""

_LOCKS = b"Max file locks"


class Stat(NamedTuple):
    """State letter, parent, process group, session, start in clock ticks since boot: fields 3 to 6 and 22 of /proc/PID/stat."""

    state: bytes
    parent: int
    group: int
    session: int
    ticks: int


def stat(pid: int) -> Stat | None:
    """What the kernel says of a process; None if there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        line = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    fields = line[line.rindex(b")") + 2 :].split(None, 20)  # the name in front may hold anything, ")" too
    return Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


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


def marker(pid: int) -> str | None:
    """The run that a process says it belongs to; None if it does not say, or may not be asked."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except OSError:
        return None
    for item in text.split(b"\0"):
        if item.startswith(MARKER):
            return item[len(MARKER) :].decode("utf-8", "replace")
    return None


def tag_of(run: str) -> int:
    """The number of 61 bits that marks a run's processes beside the environment, which a program may overwrite."""
    text = run.encode()
    return crc32(text) << 29 | crc32(text[::-1]) >> 3


def tag(pid: int) -> int:
    """The tag that a process has; -1 if it has none. Unlike its environment, everybody may read it."""
    try:
        with open(f"/proc/{pid}/limits", "rb", buffering=0) as file:
            _, _, value = file.readall().partition(_LOCKS)
    except OSError:
        return -1
    soft = value.split(None, 1)[0] if value else b""
    return int(soft) if soft.isdigit() else -1


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
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.readall().decode().strip()
