"""The side channel: a socket for each run, on which it tells in the words of sd_notify(3) how it fares.

Of each field the last value counts, all of a run together are bounded, and so is what is taken in a turn: who floods waits.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from errno import EACCES, ENAMETOOLONG
from typing import Any

from rdagentd.executor.link import MAX_PATH
from rdagentd.executor.shown import show
from rdagentd.protocol.redaction import Redactor

VARIABLE = "NOTIFY_SOCKET"

MAX_MESSAGE = 4096
"""Bytes of a message, as systemd takes them; a longer one is refused."""

MAX_VALUE = 512
"""Characters kept of one value."""

MAX_NAME = 64
"""Characters of a name."""

MAX_KEPT = 4096
"""Characters kept of a run, names and values; what goes beyond is dropped."""

MAX_LINES = 64
"""Fields of a message; one with more is refused."""

PACE = 0.1
"""Seconds at least between two notices about a run."""

EACH = 0.001
"""Seconds for each run that is told of, before the next are: a thousand that tell all the time do not fill the daemon's."""

_SOCKETS, _MESSAGES = 16, 16
"""Taken in one turn: that many messages from that many runs."""

_LAST = 1024
"""Messages taken at most when a run is over; a queue holds net.unix.max_dgram_qlen of them."""

_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid: struct ucred of unix(7)."""

_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
"""For who sends, and a descriptor; others that come along the kernel closes."""

_NOT_KEPT = frozenset({"BARRIER", "FDNAME", "FDPOLL", "MAINPID", "MAINPIDFD", "MAINPIDFDID", "NOTIFYACCESS"})
"""What is about descriptors, or is ours to know. FDSTORE and FDSTOREREMOVE are refused: nobody keeps them here."""

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Channel:
    """Of one run. uid: whose messages are taken, beside root's; None: anybody's who can reach it.

    fields: as they were told last, the oldest first; fresh: those not passed on yet. refused: messages; dropped: fields;
    trouble: why, the last time, in words, until that is passed on. secrets: to be taken out of values, with whatever looks like
    one; None: they stay.
    """

    __slots__ = (
        "dropped", "fields", "fresh", "place", "redactor", "refused", "run", "secrets", "size", "socket", "trouble", "uid",
        "worker",
    )  # fmt: skip

    def __init__(self, run: str, worker: str, uid: int | None, place: str, end: socket.socket) -> None:
        self.run = run
        self.worker = worker
        self.uid = uid
        self.place = place
        self.socket = end
        self.secrets: list[tuple[str, bytes]] | None = []
        self.redactor: Redactor | None = None
        self.fields: dict[str, str] = {}
        self.fresh: dict[str, None] = {}
        self.size = self.refused = self.dropped = 0
        self.trouble = ""

    def drain(self, most: int, belongs: Callable[[str, int], bool]) -> None:
        """Takes so many messages, if they are there. belongs: whether a process is of a run."""
        known = -1
        for _ in range(most):
            try:
                data, about, flags, _ = self.socket.recvmsg(
                    MAX_MESSAGE, _ROOM, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            pid, uid = _sender(about)
            if (self.uid is None or uid in (0, self.uid)) and (pid == known or belongs(self.run, pid)):
                known = pid
                self._take(data, whole=not flags & socket.MSG_TRUNC)
            else:
                self._refuse(f"process {pid} of uid {uid} is not of its run")

    def news(self) -> dict[str, str]:
        """What was not passed on yet."""
        names = list(self.fresh)
        self.fresh.clear()
        if names and self.secrets is not None:
            self.redactor = self.redactor or Redactor(self.secrets)  # not before: many runs tell nothing
            for name in names:
                shown = self.redactor.feed(self.fields[name].encode() + b"\n") + self.redactor.close()
                value = shown.decode("utf-8", "replace").removesuffix("\n")
                self.size += len(value) - len(self.fields[name])
                self.fields[name] = value
        return {name: self.fields[name] for name in names}

    def told(self) -> dict[str, str]:
        """All that is known."""
        self.news()
        return dict(self.fields)

    def notice(self) -> dict[str, Any]:
        """The notice `told`."""
        trouble, self.trouble = self.trouble, ""
        return {"notice": "told", "run": self.run, "worker": self.worker, "fields": self.news(), "trouble": trouble}

    def _take(self, data: bytes, *, whole: bool) -> None:
        if not whole or data.count(b"\n") > MAX_LINES:
            self._refuse(f"it has more than {MAX_MESSAGE} bytes or {MAX_LINES} lines")
            return
        for line in data.rstrip(b"\0").decode("utf-8", "replace").split("\n"):
            name, found, value = line.partition("=")
            if name in _NOT_KEPT or not line:
                continue
            if name.startswith("FDSTORE"):
                self._refuse("descriptors are not stored")
            elif not found or not 0 < len(name) <= MAX_NAME or not _LETTERS.issuperset(name):
                self._drop(f"a line of {len(line)} characters is no NAME=value")  # not the line: it may hold a secret
            else:
                self._keep(name, value[:MAX_VALUE])

    def _keep(self, name: str, value: str) -> None:
        old = self.fields.get(name)
        more = len(value) - len(old) if old is not None else len(name) + len(value)
        if self.size + more > MAX_KEPT:
            self._drop(f"with {name} there would be more than {MAX_KEPT} characters")
            return
        self.size += more
        self.fields.pop(name, None)  # it becomes the newest
        self.fields[name] = value
        self.fresh.pop(name, None)
        self.fresh[name] = None

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if _is_round(self.refused):
            self.trouble = f"{self.refused} of its messages to NOTIFY_SOCKET were refused; the last: {why}"

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if _is_round(self.dropped):
            self.trouble = f"{self.dropped} fields that it sent to NOTIFY_SOCKET were dropped; the last: {why}"

    def state(self) -> list[Any]:
        """For `Channels.resume`."""
        fd, fields = self.socket.fileno(), self.told()
        return [self.run, self.worker, self.uid, self.place, fd, fields, self.refused, self.dropped]


class Channels:
    """Those of all runs, with an epoll of their own, so that they can rest. due: monotonic seconds of the next `tell`, or None.

    A process has its socket below `<home>/notify`, which nobody can list. A container has its own below `<home>/containers`,
    which nobody can enter: who reaches it is in the container, whatever uid that has here.
    """

    def __init__(self, home: str, belongs: Callable[[str, int], bool]) -> None:
        self.epoll = select.epoll()
        self.due: float | None = None
        self.contained: dict[str, Channel] = {}
        self._home = home
        self._belongs = belongs
        self._channels: dict[int, Channel] = {}
        self._waiting: dict[Channel, None] = {}
        self._next = 0.0

    def clear(self) -> None:
        """Removes what an executor that died has left. Containers may still live: of theirs `contain` takes care."""
        with suppress(OSError):
            for run in os.listdir(f"{self._home}/notify"):
                _remove(f"{self._home}/notify/{run}")

    def open(self, request: dict[str, Any]) -> Channel:
        """A channel for a run that is to begin, told to it by its environment. Raises OSError."""
        uid = os.geteuid() if request["uid"] is None else request["uid"]
        place = f"{self._home}/notify/{request['run']}"
        if uid != os.geteuid():
            _be_passable(self._home, uid)
        channel = Channel(request["run"], request["worker"], uid, place, _bind(place, 0o711, 0o600))
        if uid != os.geteuid():
            with suppress(PermissionError):  # then to become that user will not succeed either
                os.chown(f"{place}/socket", uid, -1)
        request["env"][VARIABLE] = f"{place}/socket"
        if request["sandbox"]:
            show(request["sandbox"], place)
        return channel

    def contain(self, runs: Mapping[str, str]) -> dict[str, Channel]:
        """Channels for these runs in containers, with their workers, and for no others. Raises OSError."""
        home = f"{self._home}/containers"
        os.makedirs(home, mode=0o700, exist_ok=True)
        for run in {*self.contained, *os.listdir(home)} - runs.keys():
            if run in self.contained:
                self.close(self.contained.pop(run))
            _remove(f"{home}/{run}")
        for run in runs.keys() - self.contained.keys():
            place = f"{home}/{run}"
            self.contained[run] = channel = Channel(run, runs[run], None, place, _bind(place, 0o755, 0o666))
            self.listen(channel)
        for channel in self.contained.values():
            channel.drain(_LAST, self._belongs)
        return self.contained

    def listen(self, channel: Channel) -> None:
        """From now on what comes is taken."""
        self._channels[channel.socket.fileno()] = channel
        self.epoll.register(channel.socket.fileno(), select.EPOLLIN)

    def pump(self) -> None:
        """Takes some messages of each that has any."""
        for fd, _ in self.epoll.poll(0, _SOCKETS):
            channel = self._channels[fd]
            channel.drain(_MESSAGES, self._belongs)
            if channel.fresh or channel.trouble:
                self._waiting[channel] = None
        if self._waiting and self.due is None:
            self.due = max(time.monotonic(), self._next)

    def tell(self) -> list[dict[str, Any]]:
        """The notices that are due."""
        waiting, self._waiting, self.due = self._waiting, {}, None
        self._next = time.monotonic() + max(PACE, EACH * len(waiting))
        return [channel.notice() for channel in waiting]

    def close(self, channel: Channel) -> None:
        """The run is over: takes what is still there; nothing of it is told but by `Channel.told`."""
        channel.drain(_LAST, self._belongs)
        self._waiting.pop(channel, None)
        if self._channels.pop(channel.socket.fileno(), None):
            self.epoll.unregister(channel.socket.fileno())
        channel.socket.close()
        _remove(channel.place)

    def resume(self, state: list[list[Any]]) -> dict[str, Channel]:
        """Takes up what was there before; those of processes are returned, and not listened to yet."""
        found = {}
        for run, worker, uid, place, fd, fields, refused, dropped in state:
            found[run] = channel = Channel(run, worker, uid, place, socket.socket(fileno=fd))
            channel.fields, channel.refused, channel.dropped = fields, refused, dropped
            channel.size = sum(len(name) + len(value) for name, value in fields.items())
            if uid is None:
                self.contained[run] = found.pop(run)
                self.listen(channel)
        return found


def _sender(about: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """pid and uid; whatever descriptors came are closed. That is also how whoever waits for a barrier learns that it is
    passed: what came before it has been taken; see sd_notify_barrier(3).
    """
    pid, uid = -1, -1
    for level, kind, data in about:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, uid, _ = _CREDENTIALS.unpack(data)
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            for (fd,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                os.close(fd)
    return pid, uid


def _is_round(count: int) -> bool:
    """1, 10, 100: so often something that happens again and again is worth a word."""
    return str(count).strip("0") == "1"


def _bind(place: str, passable: int, mode: int) -> socket.socket:
    """A socket in a directory of its own, which stays ours. Raises OSError."""
    path = f"{place}/socket"
    if len(os.fsencode(path)) > MAX_PATH:
        raise OSError(
            ENAMETOOLONG, f"the path {path} is longer than {MAX_PATH} bytes; choose a shorter state directory"
        )
    home = os.path.dirname(place)
    if not os.path.isdir(home):
        os.mkdir(home)
        os.chmod(home, 0o711)  # whatever the umask
    with suppress(FileExistsError):
        os.mkdir(place)
    os.chmod(place, passable)
    with suppress(FileNotFoundError):
        os.unlink(path)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        end.bind(path)
        os.chmod(path, mode)
    except OSError:
        end.close()
        raise
    return end


def _be_passable(place: str, uid: int) -> None:
    """Raises OSError if a user cannot come through a directory, or one above."""
    while place != "/":
        found = os.stat(place)
        if not found.st_mode & (stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH):
            raise OSError(EACCES, f"uid {uid} may not pass through {place}")
        place = os.path.dirname(place)


def _remove(place: str) -> None:
    with suppress(OSError):
        os.unlink(f"{place}/socket")
    with suppress(OSError):
        os.rmdir(place)
