"""The log of one worker's stream on disk: appended to, cut into segments, the oldest dropped. See protocol/segments.py."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from errno import EMFILE, ENOSPC

from rdagentd.protocol.segments import INDEX_INTERVAL, INDEX_RECORD, base_of, index_name, log_name

MIN_SEGMENT = 4096
"""Smallest segment, in bytes; the smallest cap is twice that, or dropping the oldest segment would drop everything."""

SPARE_DESCRIPTORS = 64
"""Descriptor numbers below the limit that neither logs nor pipes may take: /proc and the socket need some."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: it might be a FIFO


def spare(fd: int) -> int:
    """The descriptor, unless it is one of the last that we may have: then it is closed. Raises OSError(EMFILE)."""
    if fd >= os.sysconf("SC_OPEN_MAX") - SPARE_DESCRIPTORS:
        os.close(fd)
        raise OSError(EMFILE, os.strerror(EMFILE))
    return fd


class Home:
    """The directory that holds all logs. gid: group that may read them, or None. Raises OSError."""

    __slots__ = ("fd", "gid")

    def __init__(self, path: str, gid: int | None) -> None:
        os.makedirs(path, mode=0o750, exist_ok=True)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.gid = gid

    def directory(self, worker: str, stream: str, create: bool) -> int:
        """A descriptor of a stream's directory; no link is followed on the way. Raises OSError."""
        fd = self.fd
        for name in (worker, stream):
            above, made = fd, False
            try:
                if create:
                    try:
                        os.mkdir(name, 0o750, dir_fd=above)
                        made = True
                    except FileExistsError:
                        pass
                fd = os.open(name, _DIRECTORY, dir_fd=above)
                if made:
                    self.share(fd)
            finally:
                if above != self.fd:
                    os.close(above)
        return spare(fd)

    def share(self, fd: int) -> None:
        """Gives a new file or directory to the group that may read it."""
        if self.gid is not None:
            os.fchown(fd, -1, self.gid)

    def forget(self, worker: str) -> None:
        """Removes a worker's logs. Raises OSError; one that has none is no error."""
        with suppress(FileNotFoundError):
            for _top, names, files, fd in os.fwalk(worker, topdown=False, dir_fd=self.fd):
                for name in files + names:
                    _remove(name, fd)
            _remove(worker, self.fd)


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):  # unlink(2): EISDIR on Linux, EPERM by POSIX
        os.rmdir(name, dir_fd=directory)


class Log:
    """Where one stream of one worker goes on, over all its runs. Nothing exists on disk before the first byte.

    end: offset after the last byte; at: when it was written, in microseconds since the epoch, 0 if nothing was. lost: bytes
    dropped since the executor has this object; unmarked: those that the log does not tell of yet, why: the reason. Dropped is
    what cannot be written (disk full, a link in the place of the directory). users: runs that write here.
    """

    __slots__ = (
        "_base", "_file", "_home", "_index", "_line", "_parts", "_size", "_stamp", "at", "cap", "end", "lost", "segment",
        "stream", "unmarked", "users", "why", "worker",
    )  # fmt: skip

    def __init__(self, home: Home, worker: str, stream: str) -> None:
        self._home, self.worker, self.stream = home, worker, stream
        self._file = self._index = -1
        self._base = self._size = self._stamp = 0
        self._parts: list[tuple[int, int]] = []
        self.unmarked, self.why = 0, ""
        self.cap = self.segment = self.lost = self.users = self.end = self.at = 0
        try:
            directory = home.directory(worker, stream, create=False)
            try:
                for base, size, _ in _segments(directory)[-1:]:
                    self.end = base + size
                    self.at = os.stat(log_name(base), dir_fd=directory, follow_symlinks=False).st_mtime_ns // 1000
            finally:
                os.close(directory)
        except OSError:
            pass  # there is none yet, or it will be told when it is written to
        self._line = not self.end

    def begin(self, cap: int, segment: int) -> None:
        """A run begins. cap, segment: bytes, index files included. Its first byte gets an index record."""
        self.cap = max(cap, 2 * MIN_SEGMENT)
        self.segment = max(MIN_SEGMENT, min(segment, self.cap // 2))
        self._stamp = 0

    def write(self, data: memoryview) -> None:
        """Appends, or drops what cannot be written; the next write that succeeds is preceded by a line that tells."""
        while data:
            try:
                data = data[self._append(data) :]
            except OSError as error:
                self.close()
                self.unmarked += len(data)
                self.lost += len(data)
                self.why = os.strerror(error.errno or 0).lower()
                return

    def close(self) -> None:
        """Closes the files; the next write opens them again."""
        for fd in (self._file, self._index):
            if fd >= 0:
                os.close(fd)
        self._file = self._index = -1

    def _append(self, data: memoryview) -> int:
        """Writes a piece that fits into the segment; returns its length. Raises OSError if not one byte got through."""
        if self._file < 0 or self._size >= self.segment:
            self._open()
        piece = data[: self.segment - self._size]
        mark = self._mark()
        self._make_room(len(mark) + len(piece) + INDEX_RECORD.size)
        written = os.writev(self._file, (mark, piece)) if mark else os.write(self._file, piece)
        if written <= len(mark):
            os.ftruncate(self._file, self.end - self._base)
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._stamp_at(self.end)
        self.end += written
        self._size += written
        self.unmarked = 0
        self._line = piece[written - len(mark) - 1] == 0x0A
        return written - len(mark)

    def _mark(self) -> bytes:
        if not self.unmarked:
            return b""
        return f"{'' if self._line else chr(10)}[rdagentd: {self.unmarked} bytes dropped: {self.why}]\n".encode()

    def _stamp_at(self, offset: int) -> None:
        self.at = now = time.time_ns() // 1000
        if (now - self._stamp < INDEX_INTERVAL and now >= self._stamp) or self._index < 0:
            return
        try:
            written = os.write(self._index, INDEX_RECORD.pack(offset, now))
            if written < INDEX_RECORD.size:
                os.ftruncate(self._index, os.fstat(self._index).st_size - written)
                return
        except OSError:
            return  # a record less makes --since less exact, no more than that
        self._stamp = now
        self._size += written

    def _open(self) -> None:
        """Opens the last segment if it ends where we are and has room, else a new one."""
        self.close()
        directory = self._home.directory(self.worker, self.stream, create=True)
        try:
            segments = _segments(directory)
            self._parts = [(base, size + index) for base, size, index in segments]
            self._base, self._size = self.end, 0
            if segments:
                base, size, index = segments[-1]
                self.end = max(self.end, base + size)
                reuse = base + size == self.end and size + index < self.segment
                self._base, self._size = (base, size + index) if reuse else (self.end, 0)
                if reuse:
                    self._parts.pop()
            self._file = self._create(directory, log_name(self._base))
            try:
                self._index = self._create(directory, index_name(self._base))
                os.ftruncate(self._index, os.fstat(self._index).st_size // INDEX_RECORD.size * INDEX_RECORD.size)
            except OSError:
                self._index = -1
        finally:
            os.close(directory)
        self._stamp = 0

    def _create(self, directory: int, name: str) -> int:
        fd = spare(os.open(name, _APPEND, 0o640, dir_fd=directory))
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            if not found.st_size:
                self._home.share(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _make_room(self, need: int) -> None:
        """Drops the oldest segments until `need` more bytes stay within the cap. Raises OSError."""
        total = self._size + sum(size for _, size in self._parts)
        if total + need <= self.cap or not self._parts:
            return
        directory = self._home.directory(self.worker, self.stream, create=True)
        try:
            while self._parts and total + need > self.cap:
                base, size = self._parts.pop(0)
                _remove(log_name(base), directory)
                _remove(index_name(base), directory)
                total -= size
        finally:
            os.close(directory)


def _segments(directory: int) -> list[tuple[int, int, int]]:
    """Offset, size and index size of every segment in a directory, ascending. What is no segment is passed over."""
    sizes = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    bases = sorted(
        base for base in map(base_of, sizes) if base is not None and base < 1 << 63 and log_name(base) in sizes
    )
    return [(base, sizes[log_name(base)], sizes.get(index_name(base), 0)) for base in bases]
