"""The way to the daemon: requests, pipelined on one connection that is made again when it was lost; streams on their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from rdagentd.protocol import frames
from rdagentd.protocol.errors import INTERNAL, INVALID, OVER_CAPACITY, UNAVAILABLE, ProtocolError

PROTOCOL = 1
"""Version of the control protocol that is spoken here."""

WITHIN = 5.0
"""Seconds in which the daemon must have answered, connecting included."""

OWN = 128
"""Most streams and lasting requests at a time: each is a connection to the daemon, and one of a client to us."""

_CHUNK = 1 << 18


class Link(Protocol):
    """What the parts of the gateway know of the daemon."""

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = WITHIN) -> Any:
        """The result of one operation; within: seconds, None for one that lasts. Raises ProtocolError."""

    def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        """Items as they come. Whoever ends it early closes it (contextlib.aclosing). Raises ProtocolError."""


class SocketLink:
    """A link by the control socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shared: _Shared | None = None
        self._connecting = asyncio.Lock()
        self._owned: set[_Wire] = set()
        self._left = OWN

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = WITHIN) -> Any:
        """See Link. What lasts has a connection of its own: whoever gives it up ends it at the daemon too."""
        if within is None:
            async with self._own() as wire:
                wire.send(op, args or {})
                return _result((await wire.receive())[0])
        try:
            async with asyncio.timeout(within):
                return await (await self._there()).call(op, args or {})
        except TimeoutError:
            text = f"cannot {op}: rdagentd has not answered for {within:g} s; try again later"
            raise ProtocolError(UNAVAILABLE, text) from None

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        """See Link. Whoever is slow holds up the stream's own connection, and no other."""
        async with self._own() as wire:
            wire.send(op, args or {})
            while True:
                for message in await wire.receive():
                    if message.get("end"):
                        return
                    yield message["item"] if "item" in message else _result(message)

    async def close(self) -> None:
        """Hangs up; whoever waits or has a stream is told that the daemon cannot be reached."""
        for wire in list(self._owned):
            wire.close()
        if self._shared is not None:
            await self._shared.close()

    async def _there(self) -> _Shared:
        async with self._connecting:
            if self._shared is None or self._shared.lost:
                self._shared = _Shared(await _connect(self._path))
            return self._shared

    @contextlib.asynccontextmanager
    async def _own(self) -> AsyncIterator[_Wire]:
        if not self._left:
            raise ProtocolError(OVER_CAPACITY, f"cannot follow: {OWN} streams are open; try again later")
        self._left -= 1
        try:
            wire = await _soon(self._path)
            self._owned.add(wire)
            try:
                yield wire
            finally:
                self._owned.remove(wire)
                wire.close()
        finally:
            self._left += 1


class _Wire:
    """A connection: frames out, messages in."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._decoder = frames.Decoder(frames.MAX_FRAME, None)
        self._last = 0

    def send(self, op: str, args: dict[str, Any]) -> int:
        """Asks; returns the request's number. Raises ProtocolError for what cannot be sent."""
        try:
            frame = frames.pack({"v": PROTOCOL, "id": self._last + 1, "op": op, "args": args})
        except (TypeError, OverflowError, ValueError) as error:
            raise ProtocolError(INVALID, f"cannot {op}: a value cannot be sent: {error}") from None
        if len(frame) - 4 > frames.MAX_REQUEST:
            text = f"cannot {op}: the request has {len(frame)} bytes, at most {frames.MAX_REQUEST} are accepted"
            raise ProtocolError(INVALID, text)
        self._last += 1
        self._writer.write(frame)
        return self._last

    async def receive(self) -> list[dict[str, Any]]:
        """At least one message. Raises ProtocolError once no more come."""
        messages: list[dict[str, Any]] = []
        while not messages:
            try:
                data = await self._reader.read(_CHUNK)
                messages = self._decoder.feed(data)
            except OSError as error:
                raise _unreachable(self._path, (error.strerror or str(error)).lower()) from None
            except frames.FrameError as error:
                raise _unreachable(self._path, f"{error}. Is it rdagentd?") from None
            if not data:
                raise _unreachable(self._path, "it closed the connection")
        return messages

    def close(self) -> None:
        self._writer.close()


class _Shared:
    """A wire for many at once: a task reads it and hands each answer to whoever waits for it."""

    def __init__(self, wire: _Wire) -> None:
        self.lost = False
        self._wire = wire
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, op: str, args: dict[str, Any]) -> Any:
        number = self._wire.send(op, args)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return _result(await answer)
        finally:
            del self._waiting[number]

    async def _read(self) -> None:
        try:
            while True:
                for message in await self._wire.receive():
                    number = message.get("id")
                    if number is None:  # about the connection as a whole, which ends here
                        _result(message)
                    elif number in self._waiting:
                        self._settle(number, message)
        except ProtocolError as error:
            for number in self._waiting:
                self._settle(number, {"error": error.to_wire()})
        finally:
            self.lost = True
            self._wire.close()

    def _settle(self, number: int, message: dict[str, Any]) -> None:
        if not self._waiting[number].done():
            self._waiting[number].set_result(message)

    async def close(self) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading


async def _soon(path: Path) -> _Wire:
    try:
        async with asyncio.timeout(WITHIN):
            return await _connect(path)
    except TimeoutError:
        raise _unreachable(path, "too many wait for it") from None


async def _connect(path: Path) -> _Wire:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_CHUNK)
    except OSError as error:
        raise _unreachable(path, (error.strerror or str(error)).lower()) from None
    return _Wire(path, reader, writer)


def _result(message: dict[str, Any]) -> Any:
    error = message.get("error")
    if error is not None:
        code, text = str(error.get("code", INTERNAL)), str(error.get("message", ""))
        raise ProtocolError(code, text, dict(error.get("details") or {}))
    return message.get("result")


def _unreachable(path: Path, reason: str) -> ProtocolError:
    return ProtocolError(UNAVAILABLE, f"cannot reach rdagentd at {path}: {reason}")
