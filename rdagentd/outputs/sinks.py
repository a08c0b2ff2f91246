"""The handlers of the standard library, so that each record gets there whole or raises: OSError, to be tried again."""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import select
import socket
import stat
import threading
from typing import Any

from attrs import frozen

from rdagentd.config.outputs import Address, File, Main, Syslog, Tcp
from rdagentd.journal import JournalHandler, journal_formatter
from rdagentd.outputs.formats import FORMATTERS, JsonFormatter, SyslogFormatter

_PATIENCE = 5.0
"""Seconds for one call of a socket: to connect, or between two looks whether it is still wanted."""

_LASTING = frozenset(
    (
        errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG,
        errno.EAFNOSUPPORT, errno.EINVAL, errno.ENOTSOCK, errno.ENXIO,
    )
)  # fmt: skip
"""Errors that a person must mend; others pass (a full disk, a server that is away), and it is tried again."""


class LogError(Exception):
    """Somewhere cannot be logged to, now and later: a sentence."""


@frozen
class Standard:
    """What stderr is: any of Main but AUTO and OFF."""

    kind: Main

    def __str__(self) -> str:
        return "the journal" if self.kind is Main.JOURNAL else "stderr"


Place = Standard | File | Syslog | Tcp


def probe(place: Place) -> None:
    """Raises LogError if no record can ever get there as things are."""
    try:
        _PROBES[type(place)](place)
    except OSError as error:
        if error.errno in _LASTING:
            raise LogError(f"cannot log to {place}: {(error.strerror or str(error)).lower()}{_hint()}") from None


def _hint() -> str:
    if "INVOCATION_ID" not in os.environ:
        return ""
    return '; a unit reaches only what it is allowed to: see "The daemon\'s own log" in docs/operations.md'


def sink(place: Place, leaving: threading.Event) -> logging.Handler:
    """The handler. Its `emit` raises what went wrong. leaving: set when nobody waits for it any more."""
    handler: logging.Handler = _SINKS[type(place)](place, leaving)
    handler.handleError = _raise  # type: ignore[method-assign]
    return handler


def _raise(record: logging.LogRecord) -> None:
    """In the place of Handler.handleError, which is called while the error is handled."""
    raise  # noqa: PLE0704


# --- stderr -----------------------------------------------------------------------------------------------------------


class Descriptor:
    """What StreamHandler and its heirs need of a stream: without a buffer, so that there is nothing in it after an error."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def write(self, text: str) -> None:
        """Writes it all. Raises OSError."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]

    def flush(self) -> None:
        """There is no buffer."""


def _standard(place: Standard, leaving: threading.Event) -> logging.Handler:
    if place.kind is Main.JOURNAL:
        handler: logging.Handler = JournalHandler()
        handler.setFormatter(journal_formatter())
        return handler
    handler = logging.StreamHandler(Descriptor(2))
    handler.setFormatter(FORMATTERS[place.kind]())  # type: ignore[index]
    return handler


# --- a file -----------------------------------------------------------------------------------------------------------


class Appended(Descriptor):
    """A regular file that grows by whole texts: of what the disk has no room for, nothing stays. Raises OSError."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY  # it may be a pipe or a terminal
        super().__init__(os.open(path, flags, 0o640))
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file")

    def write(self, text: str) -> None:
        """Writes it all, or nothing."""
        end = os.fstat(self._fd).st_size
        try:
            super().write(text)
        except OSError:
            os.ftruncate(self._fd, end)
            raise

    def seek(self, offset: int, whence: int) -> int:
        """As of files."""
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        """As of files."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def close(self) -> None:
        """As of files; a second time nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Watched(logging.handlers.WatchedFileHandler):
    """For a file that somebody else rotates."""

    def _open(self) -> Any:
        return Appended(self.baseFilename)


class Rotated(logging.handlers.RotatingFileHandler):
    """For a file that is rotated here."""

    def _open(self) -> Any:
        return Appended(self.baseFilename)


def _file(place: File, leaving: threading.Event) -> logging.Handler:
    handler = (
        Watched(place.path, delay=True)
        if place.size is None
        else Rotated(place.path, maxBytes=place.size, backupCount=place.files, delay=True)
    )
    handler.setFormatter(FORMATTERS[place.format]())
    return handler


# --- syslog -----------------------------------------------------------------------------------------------------------


class SyslogServer(logging.handlers.SysLogHandler):
    """Connects with the first record, and waits for a stuck server no longer than _PATIENCE at a time."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._begun = False
        super().__init__(address, self.LOG_DAEMON)
        self.ident = f"rdagentd[{os.getpid()}]: "
        self._begun = True

    def createSocket(self) -> None:  # noqa: N802 -- the base class calls it
        """Not yet while it is made: a name cannot be resolved, perhaps."""
        if self._begun:
            super().createSocket()

    def _connect_unixsocket(self, address: str) -> None:
        super()._connect_unixsocket(address)  # type: ignore[misc]
        self.socket.settimeout(_PATIENCE)  # type: ignore[attr-defined]


def _syslog(place: Syslog, leaving: threading.Event) -> logging.Handler:
    address = place.address
    handler = SyslogServer((address.host, address.port) if isinstance(address, Address) else address)
    handler.setFormatter(SyslogFormatter())
    return handler


# --- lines of JSON over TCP -------------------------------------------------------------------------------------------


class Lines(logging.handlers.SocketHandler):
    """Sends lines in the place of pickles. A server that does not read is waited for until `leaving`."""

    def __init__(self, host: str, port: int, leaving: threading.Event) -> None:
        super().__init__(host, port)
        self._leaving = leaving

    def makePickle(self, record: logging.LogRecord) -> bytes:  # noqa: N802
        """The line."""
        return self.format(record).encode() + b"\n"

    def send(self, s: Any) -> None:
        """Sends the whole line, on a new connection if the old one is over. Raises OSError."""
        if self.sock is not None and _is_over(self.sock):
            self._hang_up()
        try:
            if self.sock is None:
                self.sock = self.makeSocket(_PATIENCE)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            left = memoryview(s)
            while left:
                left = left[self._sent(left) :]
        except OSError:
            self._hang_up()
            raise

    def _sent(self, data: memoryview) -> int:
        """Bytes that were taken; 0 if that takes long."""
        assert self.sock is not None
        try:
            return self.sock.send(data)
        except TimeoutError:
            if self._leaving.is_set():
                raise
            return 0

    def _hang_up(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def _is_over(connection: socket.socket) -> bool:
    """Whether the other end has hung up: what is sent then would be lost without an error. What it says is of no interest."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        return bool(poll.poll(0)) and not connection.recv(4096)
    except OSError:
        return True


def _tcp(place: Tcp, leaving: threading.Event) -> logging.Handler:
    handler = Lines(place.address.host, place.address.port, leaving)
    handler.setFormatter(JsonFormatter())
    return handler


# --- probes -----------------------------------------------------------------------------------------------------------


def _probe_syslog(place: Syslog) -> None:
    if isinstance(place.address, Address):
        _probe_network(place)
    elif not stat.S_ISSOCK(os.stat(place.address).st_mode):  # noqa: PTH116
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))


def _probe_network(place: Any) -> None:
    """Whether there is a network at all: a unit may have none."""
    socket.socket(socket.AF_INET6 if ":" in place.address.host else socket.AF_INET, socket.SOCK_STREAM).close()


_PROBES: dict[type, Any] = {
    Standard: lambda place: None,
    File: lambda place: Appended(place.path).close(),
    Syslog: _probe_syslog,
    Tcp: _probe_network,
}
_SINKS: dict[type, Any] = {Standard: _standard, File: _file, Syslog: _syslog, Tcp: _tcp}
