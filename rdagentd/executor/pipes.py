"""The pipes that runs write into, and their way into the logs."""

from __future__ import annotations

import fcntl
import os
import select
import time
from contextlib import suppress

from rdagentd.executor.log import Home, Log, spare
from rdagentd.protocol.redaction import Redactor

CHUNK = 256 << 10
"""Most bytes taken from one pipe in a turn, so that one that floods cannot starve the others."""

BUSY = 32 << 10
"""A read of so much means that more is likely to come at once, and that a larger pipe pays (they have 64 KiB; pipe(7))."""

BUSY_PIPE = 1 << 20
"""Size of a busy pipe: what an unprivileged process may ask for by default (/proc/sys/fs/pipe-max-size)."""


HESITATION = 0.1
"""Seconds after which the last letters of a line that goes no further are written, though a secret may begin with them."""


class Stream:
    """The read end of one pipe of one run. start: the log's end when the run began. fd is -1 once the pipe is closed.

    redactor: takes secrets out, or None.
    """

    __slots__ = ("_lost", "fd", "full", "log", "redactor", "start")

    def __init__(self, fd: int, log: Log, start: int, dropped: int = 0) -> None:
        self.fd = fd
        self.log = log
        self.start = start
        self.redactor: Redactor | None = None
        self._lost = log.lost - dropped
        self.full = BUSY

    @property
    def name(self) -> str:
        """`out` or `err`."""
        return self.log.stream

    @property
    def dropped(self) -> int:
        """Bytes of this run that could not be kept."""
        return self.log.lost - self._lost


class Pipes:
    """All of them, with an epoll of their own, so that they can rest while the executor listens to everything else.

    due: monotonic seconds at which `show` is to be called, or None.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.epoll = select.epoll()
        self.logs: dict[tuple[str, str], Log] = {}
        self.due: float | None = None
        self._waiting: dict[Stream, None] = {}
        self._streams: dict[int, Stream] = {}
        self._buffer = bytearray(CHUNK)
        self._view = memoryview(self._buffer)

    def log(self, worker: str, stream: str) -> Log:
        """The log of a worker's stream: the one in use, else as it is found on disk."""
        return self.logs.get((worker, stream)) or Log(self.home, worker, stream)

    def open(self, worker: str, stream: str, cap: int, segment: int) -> tuple[Stream, int]:
        """A new pipe into a worker's log, and its write end; nothing is read before `listen`. cap, segment: bytes.

        Raises OSError.
        """
        read, write = os.pipe()
        try:
            spare(write)
        except OSError:
            os.close(read)
            raise
        os.set_blocking(read, False)
        log = self.log(worker, stream)
        log.begin(cap, segment)
        opened = Stream(read, log, log.end)
        self.adopt(opened)
        return opened, write

    def adopt(self, stream: Stream) -> None:
        """Takes up a stream; its pipe may be closed already."""
        self.logs[stream.log.worker, stream.log.stream] = stream.log
        stream.log.users += 1

    def listen(self, stream: Stream) -> None:
        """From now on what comes is read."""
        if stream.fd >= 0:
            self._streams[stream.fd] = stream
            self.epoll.register(stream.fd, select.EPOLLIN)
            self._wait(stream)

    def pump(self) -> tuple[bool, list[Log]]:
        """Reads every pipe that has something, once. True if little came: then it is better to let more gather."""
        little, logs = True, []
        for fd, _ in self.epoll.poll(0, 64):
            stream = self._streams[fd]
            if self._read(stream) >= BUSY:
                little = False
            logs.append(stream.log)
        return little, logs

    def show(self) -> list[Log]:
        """What was held back for a while is written, where nothing came after it. Returns the logs."""
        waiting, self._waiting, self.due = self._waiting, {}, None
        for stream in waiting:
            if stream.redactor is not None:
                stream.log.write(memoryview(stream.redactor.show()))
        return [stream.log for stream in waiting]

    def close(self, stream: Stream) -> None:
        """The run is over: takes what is still in the pipe, and waits for no stranger who holds it open."""
        left = BUSY_PIPE  # more than this cannot have been written by what is dead now
        while stream.fd >= 0 and left > 0:
            taken = self._read(stream)
            if not taken:
                break
            left -= taken
        self._shut(stream)
        log = stream.log
        log.users -= 1
        if not log.users:
            log.close()
            del self.logs[log.worker, log.stream]

    def _read(self, stream: Stream) -> int:
        try:
            size = os.readv(stream.fd, [self._buffer])
        except BlockingIOError:
            return 0
        if not size:
            self._shut(stream)
            return 0
        if stream.redactor is None:
            stream.log.write(self._view[:size])
        else:
            stream.log.write(memoryview(stream.redactor.feed(bytes(self._view[:size]))))
            self._wait(stream)
        if size >= stream.full:
            stream.full = CHUNK + 1
            self._enlarge(stream.fd)
        return size

    def _wait(self, stream: Stream) -> None:
        if stream.redactor is not None and stream.redactor.waits:
            self._waiting[stream] = None
            self.due = self.due or time.monotonic() + HESITATION
        else:
            self._waiting.pop(stream, None)

    def _enlarge(self, fd: int) -> None:
        with suppress(OSError):  # it goes on with the small one if the user has used up pipe-user-pages-soft
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, BUSY_PIPE)

    def _shut(self, stream: Stream) -> None:
        if stream.fd < 0:
            return
        if self._streams.pop(stream.fd, None):
            self.epoll.unregister(stream.fd)
        os.close(stream.fd)
        stream.fd = -1
        self._waiting.pop(stream, None)
        if stream.redactor is not None:
            stream.log.write(memoryview(stream.redactor.close()))
