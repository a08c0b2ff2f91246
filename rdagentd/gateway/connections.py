"""The connections: how many there may be, how long each may take over what it sends and reads, how much it may hold.

aiohttp's protocol stands behind a thin one of ours, because aiohttp itself waits for ever for the end of a head, and for a
client to read, and counts no connections. It is told by `begin` and `end` (from the outermost middleware) when a request is
under way.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Any, cast

from aiohttp import web

from rdagentd.config.gateway import Gateway

HEAD = 10.0
"""Seconds for the head of a request, from its first byte on."""

HEAD_BYTES = 64 << 10
"""Most of one that is not complete: aiohttp 3.8 takes in any number of headers."""

IDLE = 75.0
"""Seconds that a connection may lie idle: more than the 15 to 60 after which Prometheus comes again."""

BODY = 30.0
"""Seconds for the body, and one more for each SLOWEST bytes of it."""

SLOWEST = 100_000

UNREAD = 30.0
"""Seconds that a client may leave unread what was written for it."""

PIPELINED = 64
"""Requests that may wait behind the one under way."""

HELD = 256 << 20
"""Bytes of requests under way, of all connections together."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connections:
    """All of them; a protocol factory for asyncio. `server` is aiohttp's, set before the first one comes."""

    server: web.Server

    def __init__(self, config: Gateway) -> None:
        self.most = config.connections
        self.most_per_peer = config.connections_per_peer
        self.largest = config.body
        self.held = 0
        self.open: set[Connection] = set()
        self.idle: dict[Connection, None] = {}
        """Without a request under way, the longest so first."""
        self.peers: Counter[str] = Counter()
        self.of: dict[Any, Connection] = {}
        """By aiohttp's protocol."""

    def __call__(self) -> Connection:
        return Connection(self)

    def begin(self, request: web.Request) -> None:
        """A request's head is there."""
        connection = self.of.get(request.protocol)
        if connection is not None:
            connection.begin(request)

    def end(self, request: web.Request) -> None:
        """Its answer is made; it is written in this turn of the loop, or as fast as the client reads."""
        connection = self.of.get(request.protocol)
        if connection is not None:
            asyncio.get_running_loop().call_soon(connection.end)

    def room(self, peer: str) -> bool:
        """Whether one more may come from this address; if they are too many, closes who has been idle longest."""
        if not is_local(peer) and self.peers[peer] >= self.most_per_peer:
            return False
        if len(self.open) >= self.most and self.idle:
            next(iter(self.idle)).abort()
        return len(self.open) < self.most


class Connection(asyncio.Protocol):
    """One, between asyncio and aiohttp."""

    def __init__(self, all_: Connections) -> None:
        self._all = all_
        self._inner: Any = None
        self._peer = ""
        self._received = 0
        self._under_way = 0
        self._head_began = False
        self._head = 0
        """Bytes of a head that is not complete."""
        self._body: Any = None
        """Of the newest request; it may still come when the answer is made."""
        self._reads: asyncio.TimerHandle | None = None
        self._writes: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    # --- asyncio calls ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = address_of(transport)
        if not self._all.room(self._peer):
            self._transport.write(_BUSY)
            self._transport.close()
            return
        self._all.open.add(self)
        self._all.peers[self._peer] += 1
        self._inner = self._all.server()
        self._all.of[self._inner] = self
        self._inner.connection_made(transport)
        self._rest()

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        self._received += len(data)
        self._all.held += len(data)
        # Beyond what the body may have there is only junk; whoever reads a body has refused it before.
        if self._received > 2 * self._all.largest or self._all.held > HELD:
            self.abort()
            return
        if not self._under_way and not self._head_began:
            self._head_began = True
            self._within(HEAD)
        in_body = self._body is not None and not self._body.is_eof()
        self._inner.data_received(data)
        waiting = self._inner._messages  # aiohttp 3.8 and 3.11 would take in any number of requests
        if waiting:
            if in_body and not self._body.is_eof():  # it is broken, and aiohttp would not tell whoever reads it
                self._body.set_exception(web.RequestPayloadError("broken"))
            self._body, self._head = waiting[-1][1], 0
        elif not in_body:
            self._head += len(data)
        if len(waiting) > PIPELINED or self._head > HEAD_BYTES:
            self.abort()

    def eof_received(self) -> bool | None:
        return None if self._inner is None else cast("bool | None", self._inner.eof_received())

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._writes = asyncio.get_running_loop().call_later(UNREAD, self.abort)
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._writes is not None:
            self._writes.cancel()
            self._writes = None
        if self._inner is not None:
            self._inner.resume_writing()
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._reads, self._writes):
            if timer is not None:
                timer.cancel()
        if self._inner is not None:
            self._forget()
            self._inner.connection_lost(exc)

    # --- requests -----------------------------------------------------------------------------------------------------

    def begin(self, request: web.Request) -> None:
        """From here on the clock of the body runs, if there is one."""
        self._under_way += 1
        self._head_began = False
        self._all.idle.pop(self, None)
        self._stop_clock()
        body = request.content
        if not body.is_eof():
            most = request.content_length or self._all.largest
            self._within(BODY + min(most, self._all.largest) / SLOWEST)
            body.on_eof(self._stop_clock)

    def end(self) -> None:
        """The next head is waited for."""
        self._all.held -= self._received
        self._received = 0
        self._under_way -= 1
        self._rest()

    def abort(self) -> None:
        """Ends it at once."""
        if self in self._all.open:
            self._forget()
            self._transport.abort()

    def _forget(self) -> None:
        if self in self._all.open:
            self._all.open.remove(self)
            self._all.idle.pop(self, None)
            self._all.held -= self._received
            self._received = 0
            self._all.peers[self._peer] -= 1
            if not self._all.peers[self._peer]:
                del self._all.peers[self._peer]
        self._all.of.pop(self._inner, None)

    def _rest(self) -> None:
        """Idle, unless there is something to do, or to be read by the client."""
        if not self._under_way and self._writes is None and self in self._all.open:
            self._all.idle.pop(self, None)
            self._all.idle[self] = None
            self._within(IDLE)

    def _within(self, seconds: float) -> None:
        self._stop_clock()
        self._reads = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _stop_clock(self) -> None:
        if self._reads is not None:
            self._reads.cancel()
            self._reads = None


def address_of(transport: asyncio.BaseTransport | None) -> str:
    """Who is at the other end; "" if that is gone."""
    peer = transport.get_extra_info("peername") if transport is not None else None
    return peer[0] if peer else ""


def is_local(address: str) -> bool:
    """Whether it is of this host alone."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
