"""The control socket's server: frames in, answers out, nobody able to stall it.

A connection that sends no frame, or half a frame for too long, is closed. Of one that asks faster than it reads its answers,
or has IN_FLIGHT requests unanswered, nothing more is read until that changes. Requests are taken up a few at a time, so that
many of one client come between few of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import resource
import secrets
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from attrs import frozen

from rdagentd.api.args import decode
from rdagentd.api.context import Context, Daemon
from rdagentd.api.peer import Access, Peer, Roles, peer_of, roles_of
from rdagentd.api.queries import PROTOCOL
from rdagentd.api.table import OPERATIONS, Operation
from rdagentd.config.access import Grants
from rdagentd.protocol import frames
from rdagentd.protocol.errors import (
    CONFLICT,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    OVER_CAPACITY,
    UNAVAILABLE,
    ProtocolError,
)
from rdagentd.store.errors import StoreError
from rdagentd.supervisor.traffic import CANCELLED, OK, UNKNOWN

log = logging.getLogger(__name__)

IN_FLIGHT = 256
"""Requests of one connection that may be unanswered."""

SLOW_FRAME = 10.0
"""Seconds within which a frame that was begun must be complete."""

UNREAD = 64 << 20
"""Bytes of answers that a client may leave unread before it is dropped."""

TURN = 32
"""Requests of one connection that are taken up in one turn of the loop."""

TURN_BYTES = 1 << 18
"""Bytes of answers after which a connection's turn is over."""

_LONGEST_ID = 128

MAX_CONNECTIONS = 4096
"""Or half of the descriptors that the process may have, if that is less: the database, logs and files need theirs."""

_BACKLOG = 1024

LEAVE = 5.0
"""Seconds that requests which were read have to be answered when the daemon leaves."""


_FIELDS = frozenset({"v", "id", "op", "args"})


def _most_connections() -> int:
    return min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class Server:
    """All connections. grants: who may do what; `grant` changes it, for those that are connected too."""

    def __init__(self, daemon: Daemon, grants: Grants = Grants()) -> None:  # noqa: B008 (frozen)
        self.daemon = daemon
        self.roles: Roles = roles_of(grants)
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._left: asyncio.Event | None = None
        daemon.traffic.expect(OPERATIONS)
        daemon.traffic.most = _most_connections()

    async def listen(self, listener: socket.socket) -> None:
        """Accepts on a bound Unix socket."""
        loop = asyncio.get_running_loop()
        keep: Any = (
            {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        )  # it may be systemd's, for the next one
        # asyncio accepts as many as its backlog before any is looked at, and where descriptors run out it tries as often
        # again, a thousandfold: so one at a time. The kernel's queue is another matter.
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=listener, backlog=1, **keep)
        listener.listen(_BACKLOG)

    def grant(self, grants: Grants) -> None:
        """From now on these."""
        self.roles = roles_of(grants)
        for connection in self.connections:
            connection.identify()

    async def leave(self) -> None:
        """Stops accepting, answers what was read, and closes: what comes later the client asks the next daemon.

        A client tells the two apart: data that nobody reads makes its connection end with ECONNRESET or EPIPE (unix(7)).
        """
        for listener in self._server.sockets if self._server is not None else ():
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(2):  # a connection that was accepted just now is made in the second turn of the loop from here,
            await asyncio.sleep(0)  # and only while its server is open
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.leave()
        if self.connections:
            self._left = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE):
                    await self._left.wait()
        self.close()

    def forget(self, connection: Connection) -> None:
        """That one is closed."""
        self.connections.discard(connection)
        self.daemon.traffic.connections = len(self.connections)
        if self._left is not None and not self.connections:
            self._left.set()

    def close(self) -> None:
        """Stops accepting and drops the connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()


@frozen
class _Pending:
    """A request under way. source: the handler's coroutine or, of a stream, its items. lasts: not to be waited for."""

    context: Context
    source: Any
    task: asyncio.Task[None]
    lasts: bool


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = frames.Decoder()
        self._requests: deque[dict[str, Any]] = deque()
        self._turn: asyncio.Handle | None = None
        self._tasks: dict[int, _Pending] = {}
        self._number = 0
        self._slow: asyncio.TimerHandle | None = None
        self._frames: list[bytes] = []
        self._gathers = False
        self._unsent = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._reads = True
        self._eof = False
        self._leaves = False
        self._transport: asyncio.Transport
        self._peer: Peer

    # --- asyncio calls ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.identify()
        most = _most_connections()
        if len(self._server.connections) >= most:
            text = f"cannot serve: {most} clients are connected; try again later"
            self._fail(None, ProtocolError(OVER_CAPACITY, text))
            self.close()
        self._server.connections.add(self)
        self._server.daemon.traffic.connections = len(self._server.connections)

    def identify(self) -> None:
        """Finds out who this is, and may do what."""
        self._peer = peer_of(cast(socket.socket, self._transport.get_extra_info("socket")), self._server.roles)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._decoder.feed(data)
        except frames.FrameError as error:
            self._fail(None, ProtocolError(INVALID, str(error)))
            self.close()
            return
        self._requests += messages
        self._take_up()
        self._watch_frame(anew=bool(messages))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._requests.clear()
        for handle in (self._slow, self._turn):
            if handle is not None:
                handle.cancel()
        for pending in list(self._tasks.values()):
            pending.task.cancel()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()
        self._take_up()

    def eof_received(self) -> bool:
        """A client that has shut down its side may still wait for answers; one that is gone does not."""
        connection = cast(socket.socket, self._transport.get_extra_info("socket"))
        poll = select.poll()
        poll.register(connection.fileno(), 0)
        gone = any(events & select.POLLHUP for _, events in poll.poll(0))
        self._eof = True
        return not gone and bool(self._tasks or self._requests)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Takes up some of the requests that were read; the others in the next turns of the loop."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._gathers = True
        for _ in range(TURN):
            if not self._requests or self._is_held() or self._unsent > TURN_BYTES:
                break
            self._receive(self._requests.popleft())
        self._gathers = False
        self._flush()
        if self._requests and not self._is_held():
            self._turn = asyncio.get_running_loop().call_soon(self._take_up)
        self._read(not self._requests)
        if not self._requests and self._is_over():
            self.close()

    def _is_over(self) -> bool:
        """Whether nothing more comes and nothing is owed, once all requests are taken up."""
        if self._leaves:
            return all(pending.lasts for pending in self._tasks.values())
        return self._eof and not self._tasks

    def leave(self) -> None:
        """Reads no more, and closes when what was read is answered."""
        self._leaves = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
            self._take_up()

    def _is_held(self) -> bool:
        full = len(self._tasks) >= IN_FLIGHT and self._requests[0].get("op") != "cancel"
        return full or not self._drained.is_set() or self._transport.is_closing()

    def _read(self, reads: bool) -> None:
        """Goes on reading, or stops."""
        if reads != self._reads and not self._transport.is_closing() and not self._eof and not self._leaves:
            self._reads = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
            self._watch_frame(anew=True)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _receive(self, message: dict[str, Any]) -> None:
        request, op = message.get("id"), message.get("op")
        if not _is_id(request):
            self._fail(None, ProtocolError(INVALID, "cannot understand request: id must be a number or a short text"))
            return
        context = Context(self._server.daemon, self._peer, request, str(op)[:64])
        try:
            operation, args = self._understand(message)
            result = operation.handler(context, args)
            if operation.stream:
                self._spawn(context, result, self._stream(context, result), lasts=True)
            elif inspect.iscoroutine(result):
                self._spawn(context, result, self._reply_later(context, result), lasts=operation.lasts)
            else:
                self._reply(context, result)
        except Exception as error:
            self._fail(context, _told(error, context))

    def _understand(self, message: dict[str, Any]) -> tuple[Operation, dict[str, Any]]:
        if not message.keys() <= _FIELDS:
            unknown = message.keys() - _FIELDS
            raise ProtocolError(INVALID, f"cannot understand request: unknown field {min(unknown)[:64]!r}")
        if message.get("v") != PROTOCOL:
            said = message.get("v")
            shown = said if type(said) is int else type(said).__name__
            raise ProtocolError(
                INVALID,
                f"cannot understand request: protocol {shown}; this daemon speaks {PROTOCOL}",
                {"protocol": PROTOCOL},
            )
        name = message.get("op")
        if name == "cancel":
            return _CANCEL, {"connection": self, **decode("cancel", {}, {}), "target": message.get("args")}
        operation = OPERATIONS.get(name) if type(name) is str else None
        if operation is None:
            shown = name[:64] if type(name) is str else type(name).__name__
            raise ProtocolError(INVALID, f"cannot understand request: unknown operation {shown!r}")
        if self._peer.role < operation.access:
            needed = Access(operation.access).name.lower()
            text = f"cannot {name}: uid {self._peer.uid} lacks the role {needed}; {self._server.roles.how}"
            raise ProtocolError(FORBIDDEN, text)
        return operation, decode(str(name), operation.args, message.get("args"))

    def cancel(self, request: Any) -> bool:
        """Ends the requests of that id that are under way; each gets its last answer."""
        found = [pending.task for pending in self._tasks.values() if pending.context.request == request]
        for task in found:
            task.cancel()
        return bool(found)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _spawn(self, context: Context, source: Any, coroutine: Any, *, lasts: bool) -> None:
        self._number += 1
        number = self._number
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[number] = _Pending(context, source, task, lasts)
        task.add_done_callback(lambda _: self._ended(number))

    def _ended(self, number: int) -> None:
        ended = self._tasks.pop(number)
        if ended.task.cancelled():  # perhaps before its first step, so it is answered here
            if inspect.iscoroutine(ended.source):
                ended.source.close()
                self._fail(ended.context, ProtocolError(CONFLICT, "cannot go on: the request was cancelled"), CANCELLED)
            else:
                self._end(ended.context)
        if self._requests or self._eof or self._leaves:
            self._take_up()

    async def _reply_later(self, context: Context, coroutine: Any) -> None:
        try:
            self._reply(context, await coroutine)
        except Exception as error:
            self._fail(context, _told(error, context))

    async def _stream(self, context: Context, items: Any) -> None:
        request = context.request
        try:
            async for item in items:
                self._write(frames.pack({"id": request, "item": item}))
                if self._unsent > TURN_BYTES:
                    self._flush()
                await self._drained.wait()
            self._end(context)
        except Exception as error:
            self._fail(context, _told(error, context))
        finally:
            await items.aclose()

    def _reply(self, context: Context, result: Any) -> None:
        packed = result if type(result) is bytes else frames.pack({"id": context.request, "ok": True, "result": result})
        self._write(packed)
        self._count(context, OK)

    def _end(self, context: Context) -> None:
        """Of a stream."""
        self._write(frames.pack({"id": context.request, "end": True}))
        self._count(context, OK)

    def _fail(self, context: Context | None, error: ProtocolError, outcome: str = "") -> None:
        """context None: what was read is no request."""
        request = context.request if context is not None else None
        self._write(frames.pack({"id": request, "ok": False, "error": error.to_wire()}))
        self._count(context, outcome or error.code)

    def _count(self, context: Context | None, outcome: str) -> None:
        op = context.op if context is not None else ""
        operation = _CANCEL if op == "cancel" else OPERATIONS.get(op)
        took = None
        if context is not None and operation is not None and not (operation.stream or operation.lasts):
            took = time.perf_counter() - context.begun
        self._server.daemon.traffic.answered(op if operation is not None else UNKNOWN, outcome, took)

    def _write(self, frame: bytes) -> None:
        self._frames.append(frame)  # one system call for all that is answered in one turn of the loop
        self._unsent += len(frame)
        if len(self._frames) == 1 and not self._gathers:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        frames_, self._frames, self._unsent = self._frames, [], 0
        if not frames_ or self._transport.is_closing():
            return
        self._transport.write(b"".join(frames_))
        if self._transport.get_write_buffer_size() > UNREAD:
            log.warning("client %d (uid %d) does not read its answers; dropped", self._peer.pid, self._peer.uid)
            self._transport.abort()

    def _watch_frame(self, *, anew: bool) -> None:
        """Closes a connection that leaves a frame unfinished; anew: a frame was completed, or reading was taken up again."""
        waits = bool(self._decoder.pending) and self._reads
        if self._slow is not None and (anew or not waits):
            self._slow.cancel()
            self._slow = None
        if self._slow is None and waits:
            self._slow = asyncio.get_running_loop().call_later(SLOW_FRAME, self._too_slow)

    def _too_slow(self) -> None:
        text = f"cannot read frame: not complete within {SLOW_FRAME:g} s"
        self._fail(None, ProtocolError(INVALID, text))
        self.close()

    def close(self) -> None:
        """Sends what is buffered, then closes."""
        self._flush()
        self._transport.close()


def _is_id(value: Any) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _LONGEST_ID)


def _told(error: Exception, context: Context) -> ProtocolError:
    """An error as the client is told; what was forbidden is noted.

    Of a defect of ours the traceback goes to the log under an id, the id to the client.
    """
    if isinstance(error, ProtocolError):
        if error.code == FORBIDDEN:
            context.refused(error)
        return error
    if isinstance(error, StoreError):
        return ProtocolError(UNAVAILABLE, str(error))
    mark = secrets.token_hex(4)
    log.error("defect %s while answering %s", mark, context.op, exc_info=error)
    text = f"cannot answer: a defect in the daemon; its log tells more under {mark}"
    return ProtocolError(INTERNAL, text, {"id": mark})


def _cancel(context: Context, args: dict[str, Any]) -> Any:
    target = args["target"]
    if type(target) is not dict or set(target) != {"id"}:
        raise ProtocolError(INVALID, "cannot cancel: args must be {id: the request's id}")
    connection = cast(Connection, args["connection"])
    return {"cancelled": connection.cancel(target["id"])}


_CANCEL = Operation(Access.VIEW, cast(Callable[..., Any], _cancel))
