"""The client's side of the control socket: blocking, one connection, made when first needed."""

from __future__ import annotations

import _socket  # not socket: that module takes 5 ms to import, and all we need is here
import struct
import time

from rdagentctl.failure import Failure, UnreachableError, UsageError
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_FORBIDDEN, EXIT_OF_CODE, EXIT_UNREACHABLE, UNAVAILABLE
from rdagentd.protocol.frames import MAX_FRAME, MAX_REQUEST, Decoder, FrameError, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

PROTOCOL = 1
"""Version of the control protocol that is spoken here."""

ANSWER_WITHIN = 60.0
"""Seconds that the daemon may take for an ordinary answer."""

PATIENCE = 30.0
"""Seconds that a following command waits for a daemon that went away."""

PAUSE = 0.1
"""Seconds between two attempts to reach it again."""

_CHUNK = 1 << 18


class ServerError(Failure):
    """The daemon said no. `code` is one of protocol.errors.CODES."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, EXIT_OF_CODE.get(code, EXIT_FAILED))
        self.code = code


class NotTakenUpError(UnreachableError):
    """The connection ended before the daemon had read all of the request, so nothing of it was done: it may be sent anew."""


class Client:
    """A connection to the daemon at `path`.

    reached: a connection could be made. received: answers and items that came, ever. interrupted: `interrupt` was called and
    nobody has dealt with it yet.
    """

    __slots__ = ("_decoder", "_last", "_receiving", "_socket", "interrupted", "path", "reached", "received")

    def __init__(self, path: str) -> None:
        self.path = path
        self.reached = False
        self.received = 0
        self.interrupted = False
        self._receiving = False
        self._socket: _socket.socket | None = None
        self._last = 0
        self._decoder = Decoder(MAX_FRAME, None)

    def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = ANSWER_WITHIN) -> Any:
        """The result of one operation. Raises ServerError, UnreachableError, and TimeoutError after `within` seconds.

        A daemon that is being replaced may leave between connecting and asking; then the next one is asked.
        """
        begun = time.monotonic()
        deadline = None if within is None else begun + within
        while True:
            try:
                return self._call(op, args or {}, deadline)
            except NotTakenUpError:
                if time.monotonic() + PAUSE >= (deadline or begun + ANSWER_WITHIN):
                    raise
            time.sleep(PAUSE)

    def _call(self, op: str, args: dict[str, Any], deadline: float | None) -> Any:
        wanted = self._send(op, args)
        while True:
            for message in self._receive(deadline):
                raise_error(message)
                if message.get("id") == wanted:
                    self.received += 1
                    return message["result"]

    def stream(self, *requests: tuple[str, dict[str, Any]]) -> Iterator[tuple[int, Any]]:
        """Items of streaming operations as they come, each with the index of its request, until all have ended."""
        indexes = {self._send(op, args): index for index, (op, args) in enumerate(requests)}
        while indexes:
            for message in self._receive(None):
                raise_error(message)  # not before what came with it was passed on
                index = indexes.get(message.get("id", 0))
                if index is None:
                    continue
                self.received += 1
                if message.get("end"):
                    del indexes[message["id"]]
                else:
                    yield index, message.get("item")

    def interrupt(self, *_: object) -> None:
        """A signal handler that raises KeyboardInterrupt only where this client waits for data, else as soon as it does."""
        self.interrupted = True
        if self._receiving:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Hangs up; the next call makes a new connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._decoder = Decoder(MAX_FRAME, None)

    def _send(self, op: str, args: dict[str, Any]) -> int:
        self._last += 1
        try:
            frame = pack({"v": PROTOCOL, "id": self._last, "op": op, "args": args})
        except (TypeError, OverflowError, ValueError) as error:
            raise UsageError(f"cannot {op}: a value cannot be sent: {error}") from None
        if len(frame) - 4 > MAX_REQUEST:
            raise UsageError(f"cannot {op}: the request has {len(frame)} bytes, at most {MAX_REQUEST} are accepted")
        if self._socket is None:
            self._socket = connect(self.path)
            self.reached = True
        try:
            self._socket.settimeout(ANSWER_WITHIN)
            self._socket.sendall(frame)
        except TimeoutError:
            raise
        except BrokenPipeError as error:
            self._hear_out()
            self.close()
            raise NotTakenUpError(f"cannot reach rdagentd at {self.path}: {_words(error)}") from None
        except OSError as error:
            self.close()
            raise UnreachableError(f"cannot reach rdagentd at {self.path}: {_words(error)}") from None
        return self._last

    def _hear_out(self) -> None:
        """Raises what the daemon said before it hung up, if it said something."""
        try:
            for message in self._receive(time.monotonic() + PAUSE):
                raise_error(message)
        except (TimeoutError, UnreachableError):
            return

    def _receive(self, deadline: float | None) -> list[dict[str, Any]]:
        """At least one message."""
        messages: list[dict[str, Any]] = []
        while not messages:
            data = self._read(deadline)
            try:
                messages = self._decoder.feed(data)
            except FrameError as error:
                raise Failure(f"cannot understand what answers at {self.path}: {error}. Is it rdagentd?") from None
        return messages

    def _read(self, deadline: float | None) -> bytes:
        """Some bytes. TimeoutError and BrokenPipeError are of OSError, but mean something else."""
        assert self._socket is not None
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        self._receiving = True
        try:
            if self.interrupted:
                raise KeyboardInterrupt
            if left is None:
                _wait_for(self._socket)
            data = self._socket.recv(_CHUNK)
        except (TimeoutError, BrokenPipeError):
            raise
        except OSError as error:
            self.close()
            kind = NotTakenUpError if isinstance(error, ConnectionResetError) else UnreachableError  # unix(7)
            raise kind(f"cannot reach rdagentd at {self.path}: {_words(error)}") from None
        finally:
            self._receiving = False
        if not data:
            self.close()
            raise UnreachableError(f"cannot reach rdagentd at {self.path}: it closed the connection")
        return data


def resume(client: Client, again: Callable[[], T]) -> T:
    """What `again` returns; called anew, on a new connection, each time that the daemon goes away.

    Raises UnreachableError at once if the daemon was never there, and when it stays away for PATIENCE seconds.
    """
    import sys

    since = None
    while True:
        before = client.received
        try:
            return again()
        except Failure as error:
            gone = isinstance(error, UnreachableError) or getattr(error, "code", "") == UNAVAILABLE
            if not gone or not client.reached:
                raise
            now = time.monotonic()
            if since is None or client.received != before:
                since = now
                print(f"rdagentd went away; waiting up to {PATIENCE:.0f} s for it to come back", file=sys.stderr)
            if now - since >= PATIENCE:
                raise UnreachableError(f"{error} (waited {PATIENCE:.0f} s for it to come back)") from None
        client.close()
        if client.interrupted:
            raise KeyboardInterrupt
        time.sleep(PAUSE)


def raise_error(message: dict[str, Any]) -> None:
    """Raises what the daemon said, if that is an error."""
    error = message.get("error")
    if error is None:
        return
    if type(error) is not dict:
        raise Failure(f"cannot understand the answer of rdagentd: error is {type(error).__name__}")
    details = error.get("details")
    spoken = details.get("protocol", PROTOCOL) if type(details) is dict else PROTOCOL
    if spoken != PROTOCOL:
        raise Failure(
            f"cannot talk to rdagentd: it speaks protocol {spoken}, this rdagentctl speaks {PROTOCOL}. "
            "Install the same version of both"
        )
    if type(details) is dict and details.get("down"):  # it cannot even start: nothing to wait for
        raise Failure(str(error.get("message")), EXIT_UNREACHABLE)
    raise ServerError(str(error.get("code")), str(error.get("message")))


def connect(path: str, within: float | None = None) -> _socket.socket:
    """A connection to the daemon, made within so many seconds (None: ANSWER_WITHIN). Raises UnreachableError."""
    within = ANSWER_WITHIN if within is None else within
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        # Not settimeout(): without blocking, connect(2) does not wait where the queue of those who wait is full (unix(7)).
        patience = struct.pack("@ll", int(within), int(within % 1 * 1e6))
        connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, patience)
        connection.connect(path)
    except BlockingIOError:
        raise UnreachableError(
            f"cannot reach rdagentd at {path}: too many wait for it; none was taken up in {within:g} s"
        ) from None
    except PermissionError:
        raise UnreachableError(_not_permitted(path), EXIT_FORBIDDEN) from None
    except OSError as error:
        raise UnreachableError(
            f"cannot reach rdagentd at {path}: {_words(error)}. "
            "Start it with: systemctl start rdagentd, or: rdagentd up --state-dir DIR"
        ) from None
    return connection


def _wait_for(connection: _socket.socket) -> None:
    """Waits for the daemon's word. Raises BrokenPipeError if nobody reads ours any more: `logs -f | grep -m 1` is to end."""
    import select

    poll = select.poll()
    poll.register(1, 0)  # a pipe without a reader: POLLERR, poll(2)
    poll.register(connection, select.POLLIN)
    found = dict(poll.poll())
    while connection.fileno() not in found:
        if found.get(1, 0) & select.POLLERR:
            raise BrokenPipeError
        poll.unregister(1)  # closed before we began, or a terminal that is gone: no reason to end
        found = dict(poll.poll())


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _not_permitted(path: str) -> str:
    """Says which group may."""
    import os

    for place in (path, os.path.dirname(path)):
        try:
            gid = os.stat(place).st_gid
        except OSError:
            continue
        import grp

        try:
            group = grp.getgrgid(gid).gr_name
        except KeyError:
            group = str(gid)
        return (
            f"cannot reach rdagentd at {path}: permission denied. Group {group!r} may: join it "
            f"(usermod -aG {group} YOU, then log in again), or use sudo"
        )
    return f"cannot reach rdagentd at {path}: permission denied. Use sudo"
