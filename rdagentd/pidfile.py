"""The file that a daemon holds locked while it lives: who it is, whether it is there, and how it is asked to leave."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from pathlib import Path

from attrs import frozen

NAME = "rdagentd.lock"

RUNNING = 0
DEAD = 1
NOT_RUNNING = 3
UNKNOWN = 4
"""Exit codes of the `status` action of an init script, by the Linux Standard Base 5.0, 22.2."""


class LockedError(Exception):
    """Another daemon holds the file; pid as it stands there, 0 if nobody knows."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid or 'unknown'} holds it")
        self.pid = pid


@frozen
class Standing:
    """What the file tells: an exit code of `status`, the pid while a daemon is running or died, a sentence."""

    code: int
    pid: int
    text: str


def acquire(state: Path) -> int:
    """Takes the lock for this process and writes its pid down. Raises LockedError, OSError."""
    lock = os.open(state / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _pid(lock)
        os.close(lock)
        raise LockedError(pid) from None
    with contextlib.suppress(OSError):  # the disk is full: the lock holds all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def release(lock: int) -> None:
    """Leaves in good order: a pid that stays behind tells of a death."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
    os.close(lock)


def standing(state: Path) -> Standing:
    """Whether a daemon uses this directory. Looks, and holds nothing afterwards."""
    path = state / NAME
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Standing(NOT_RUNNING, 0, f"rdagentd does not run in {state}")
    except OSError as error:
        return Standing(UNKNOWN, 0, f"cannot tell whether rdagentd runs in {state}: {path}: {error.strerror}")
    try:
        pid = _pid(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Standing(RUNNING, pid, f"rdagentd runs in {state} as process {pid or 'unknown'}")
        if pid:
            return Standing(
                DEAD, pid, f"rdagentd died in {state}, it was process {pid}; start it again to take up its workers"
            )
        return Standing(NOT_RUNNING, 0, f"rdagentd does not run in {state}")
    finally:
        os.close(lock)


def end(state: Path) -> Standing:
    """SIGTERM to the daemon that uses this directory; returns how things stand once it is gone, or why it was not asked."""
    found = standing(state)
    if found.code != RUNNING or not found.pid:
        return found
    try:
        pidfd = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return standing(state)
    try:
        if standing(state) == found:  # so that pid is still the holder's, and the pidfd is the holder
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            select.select([pidfd], [], [])
    except PermissionError:
        return Standing(UNKNOWN, found.pid, f"cannot stop rdagentd: process {found.pid} is not yours; ask root")
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
    return standing(state)


def _pid(lock: int) -> int:
    text = os.pread(lock, 20, 0).strip()
    return int(text) if text.isdigit() else 0
