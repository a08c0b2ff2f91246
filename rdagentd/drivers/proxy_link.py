"""The daemon's connection to `rdagentd docker-proxy`: a question, its answer, and a deadline for each."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from rdagentd.protocol import errors, frames

log = logging.getLogger(__name__)


class ProxyAwayError(Exception):
    """The proxy, or the engine behind it, did not do what was asked; later it may. The text is a verb phrase."""


class ProxyRefusedError(Exception):
    """The proxy does not understand what was asked: asking again does not help."""


class ProxyLink:
    """path: the proxy's socket. on_lost is told when a connection that stood is gone."""

    def __init__(self, path: str, on_lost: Callable[[], None]) -> None:
        self.path = path
        self._on_lost = on_lost
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connects, unless a connection stands. Raises ProxyAwayError."""
        if self._writer is not None:
            return
        try:
            reader, self._writer = await asyncio.open_unix_connection(self.path)
        except OSError as error:
            reason = f"{self.path}: {error.strerror}; is rdagentd-docker-proxy.service running?"
            raise ProxyAwayError(f"cannot be reached ({reason})") from None
        self._reading = asyncio.get_running_loop().create_task(self._read(reader, self._writer))

    async def ask(self, op: str, patience: float, **fields: Any) -> Mapping[str, Any]:
        """What the proxy answers within `patience` seconds. Raises ProxyAwayError, ProxyRefusedError."""
        if self._writer is None:
            raise ProxyAwayError("cannot be reached")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(frames.pack({"id": number, "op": op, **fields}))
        try:
            async with asyncio.timeout(patience):
                reply = await answer
        except TimeoutError:
            raise ProxyAwayError("does not answer") from None
        finally:
            del self._asked[number]
        if reply["ok"]:
            result: Mapping[str, Any] = reply["result"]
            return result
        code, message = reply["error"]["code"], reply["error"]["message"]
        raise ProxyAwayError(message) if code == errors.UNAVAILABLE else ProxyRefusedError(message)

    def close(self) -> None:
        """Leaves the proxy as it is."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = frames.Decoder(frames.MAX_FRAME, None)
        try:
            while data := await reader.read(1 << 16):
                for reply in decoder.feed(data):
                    answer = self._asked.get(reply["id"])
                    if answer is not None and not answer.done():  # else its deadline came before
                        answer.set_result(reply)
        except (OSError, frames.FrameError, KeyError) as error:
            log.warning("cannot understand the Docker proxy: %s; connecting again", error)
        writer.close()
        self._writer = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ProxyAwayError("closed the connection"))
        self._on_lost()
