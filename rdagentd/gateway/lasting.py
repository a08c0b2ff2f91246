"""Requests that last: so many and no more, and none for somebody who has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from aiohttp import web

from rdagentd.protocol.errors import OVER_CAPACITY, UNAVAILABLE, ProtocolError

T = TypeVar("T")

LASTS = "rdagentd.lasts"
"""Key of a request that lasts: how long it took says nothing of how quick we are."""


class Lasting:
    """Those that are under way, at most so many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, request: web.Request, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives. It is cancelled when the client closes its connection, or `end` is called.

        Raises ProtocolError(over_capacity, unavailable), ConnectionResetError. aiohttp before 3.9 tells nobody of a client that
        goes, so the connection is asked: asyncio lets a transport's protocol be exchanged.
        """
        transport = request.transport
        if len(self._tasks) >= self.most or transport is None or transport.is_closing():
            work.close()
            text = f"cannot wait: {self.most} requests last already; try again later"
            raise ProtocolError(OVER_CAPACITY, text)
        request[LASTS] = True
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        before = cast(asyncio.Protocol, transport.get_protocol())
        transport.set_protocol(_Between(before, task.cancel))
        try:
            await asyncio.wait({task})
            if not task.cancelled():
                return task.result()
            if transport.is_closing():
                raise ConnectionResetError("the client is gone")
            raise ProtocolError(UNAVAILABLE, "cannot wait: the gateway is leaving; ask again")
        finally:
            task.cancel()
            self._tasks.discard(task)
            transport.set_protocol(before)

    def end(self) -> None:
        """Ends them all."""
        for task in self._tasks:
            task.cancel()


class _Between(asyncio.Protocol):
    """Passes all on, and tells of the end."""

    def __init__(self, behind: asyncio.Protocol, lost: Callable[[], object]) -> None:
        self._behind = behind
        self._lost = lost
        self.data_received = behind.data_received  # type: ignore[method-assign]
        self.eof_received = behind.eof_received  # type: ignore[method-assign]
        self.pause_writing = behind.pause_writing  # type: ignore[method-assign]
        self.resume_writing = behind.resume_writing  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)
        self._lost()
