"""Directories of the workers' own, `<home>/<worker>/state` and `cache`: made by root, looked after as the worker's user."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

import msgpack

from rdagentd.executor import space
from rdagentd.executor.shown import show

KINDS = ("state", "cache")
SNAPSHOTS = "snapshots"
"""For assistants alone: what is kept of the worker's work. It is neither measured nor swept."""


class Directories:
    """`home` and the directories of the workers in it stay the executor's own, so that no user can put a link there."""

    def __init__(self, home: str) -> None:
        self.home = home

    def give(self, request: dict[str, Any]) -> Iterator[str]:
        """Makes what the request names, and tells the run where; yields what is done next. Raises OSError."""
        uid, gid = (os.geteuid() if request["uid"] is None else request["uid"]), request["gid"]
        for kind in request["directories"]:
            place = os.path.join(self.home, request["worker"], kind)
            yield f"{kind} directory: {place}"
            _ours(self.home)
            parent = _ours(os.path.dirname(place), keep=True)
            try:
                _given(parent, kind, uid, -1 if gid is None else gid)
            finally:
                os.close(parent)
            request["env"][f"{kind.upper()}_DIRECTORY"] = place
            if request["sandbox"]:
                show(request["sandbox"], place, writable=True)

    def tend(self, worker: str, cache: dict[str, Any] | None) -> int:
        """Has a child measure what the worker's directories hold and sweep its cache, as their user, when nobody else wants
        the CPU. Returns a pipe: what it found, packed, and its end. Raises OSError.

        As the user and not as root, who could be led to others' files by links; and root has no right to read here.
        """
        began = time.monotonic()
        read, write = os.pipe()
        os.set_blocking(read, False)
        old = signal.pthread_sigmask(
            signal.SIG_BLOCK, signal.valid_signals()
        )  # handlers share a pipe with the executor
        try:
            if not os.fork():
                _child(os.path.join(self.home, worker), cache, write, began)
        except OSError:
            os.close(read)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
            os.close(write)
        return read


def _ours(path: str, *, keep: bool = False) -> int:
    """Makes a directory of the executor's own; the descriptor, if it is to be kept."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o755)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(fd, 0o755)  # whatever the umask
    finally:
        if not keep:
            os.close(fd)
    return fd


def _given(parent: int, name: str, uid: int, gid: int) -> None:
    """Makes a directory of a user's own. One that belongs to somebody else stays his."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if found.st_uid == uid:
        return
    if found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"belongs to uid {found.st_uid}, and the worker runs as {uid}")
    os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def _child(place: str, cache: dict[str, Any] | None, report: int, began: float) -> NoReturn:
    """Never returns."""
    try:
        for number in signal.valid_signals():
            with suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for low, high in ((3, report), (report + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(low, high)  # the lock of the executor, above all
        found = _tend(place, cache) | {
            "took": time.monotonic() - began
        }  # the fork is most of it, where there is little to see
        os.write(report, msgpack.packb(found))
    except BaseException as error:
        with suppress(OSError):
            os.write(report, msgpack.packb({"problem": str(error)[:1000]}))
    finally:
        os._exit(0)


def _tend(place: str, cache: dict[str, Any] | None) -> dict[str, Any]:
    kinds = {kind: os.path.join(place, kind) for kind in os.listdir(place) if kind in KINDS}
    found = os.lstat(os.path.join(place, *sorted(kinds)[:1]))
    if found.st_uid != os.geteuid():
        os.setgroups([])
        os.setresgid(found.st_gid, found.st_gid, found.st_gid)
        os.setresuid(found.st_uid, found.st_uid, found.st_uid)
    os.nice(19)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    used, removed = {}, [0, 0]
    for kind, path in kinds.items():
        by_use = space.measure(path)
        used[kind] = sum(by_use.values())
        if kind == "cache" and cache is not None:
            before = space.cutoff(by_use, cache["size"], cache["age"], time.time())
            removed = list(space.sweep(path, before)) if any(use < before for use in by_use) else removed
            used[kind] -= removed[1]
    return {"used": used, "removed": removed, "problem": ""}
