"""The pipes that runs write into, and their way into the logs."""

from __future__ import annotations

import fcntl
import os
import select
from contextlib import suppress

from rdagentd.executor.log import Home, Log, spare

CHUNK = 256 << 10
"""Most bytes taken from one pipe in a turn, so that one that floods cannot starve the others."""

BUSY = 32 << 10
"""A read of so much means that more is likely to come at once, and that a larger pipe pays (they have 64 KiB; pipe(7))."""

BUSY_PIPE = 1 << 20
"""Size of a busy pipe: what an unprivileged process may ask for by default (/proc/sys/fs/pipe-max-size)."""


class Stream:
    """The read end of one pipe of one run. start: the log's end when the run began. fd is -1 once the pipe is closed."""

    __slots__ = ("_lost", "fd", "full", "log", "start")

    def __init__(self, fd: int, log: Log, start: int, dropped: int = 0) -> None:
        self.fd = fd
        self.log = log
        self.start = start
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
    """All of them, with an epoll of their own, so that they can rest while the executor listens to everything else."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.epoll = select.epoll()
        self.logs: dict[tuple[str, str], Log] = {}
        self._streams: dict[int, Stream] = {}
        self._buffer = bytearray(CHUNK)
        self._view = memoryview(self._buffer)

    def log(self, worker: str, stream: str) -> Log:
        """The log of a worker's stream: the one in use, else as it is found on disk."""
        return self.logs.get((worker, stream)) or Log(self.home, worker, stream)

    def open(self, worker: str, stream: str, cap: int, segment: int) -> tuple[Stream, int]:
        """A new pipe into a worker's log, and its write end. cap, segment: bytes. Raises OSError."""
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
        if stream.fd >= 0:
            self._streams[stream.fd] = stream
            self.epoll.register(stream.fd, select.EPOLLIN)

    def pump(self) -> tuple[bool, list[Log]]:
        """Reads every pipe that has something, once. True if little came: then it is better to let more gather."""
        little, logs = True, []
        for fd, _ in self.epoll.poll(0, 64):
            stream = self._streams[fd]
            if self._read(stream) >= BUSY:
                little = False
            logs.append(stream.log)
        return little, logs

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
        stream.log.write(self._view[:size])
        if size >= stream.full:
            stream.full = CHUNK + 1
            self._enlarge(stream.fd)
        return size

    def _enlarge(self, fd: int) -> None:
        with suppress(OSError):  # it goes on with the small one if the user has used up pipe-user-pages-soft
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, BUSY_PIPE)

    def _shut(self, stream: Stream) -> None:
        if stream.fd >= 0:
            self.epoll.unregister(stream.fd)
            del self._streams[stream.fd]
            os.close(stream.fd)
            stream.fd = -1
