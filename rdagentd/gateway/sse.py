"""Server-sent events (HTML, 9.2) to one client."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the connection for dead, and a dead one is found."""

RETRY = 1000
"""Milliseconds after which a browser connects again."""

_SLICE = 1 << 16
"""Bytes written at a time: about what a client that does not read holds in our memory, besides what all share."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx
}


def dumps(value: Any) -> str:
    """JSON; bytes as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_text)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"{type(value).__name__} cannot be told as JSON")


def event(value: Any, kind: str | None = None, mark: int | None = None) -> bytes:
    """One event. kind: its name, if it is not the ordinary one; mark: where to go on after it."""
    lines = [f"id: {mark}"] if mark is not None else []
    lines += [f"event: {kind}"] if kind is not None else []
    return "\n".join([*lines, f"data: {dumps(value)}", "\n"]).encode()


class Events:
    """The response. Begun with the first word, so that until then an error can be told as such."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=_HEADERS)

    @property
    def begun(self) -> bool:
        """Whether it is too late for an error's status."""
        return self._response.prepared

    async def begin(self) -> None:
        """Sends the headers."""
        if not self.begun:
            await self._response.prepare(self._request)
            await self.send(f"retry: {RETRY}\n\n".encode())

    async def beat(self) -> None:
        """Shows that we live."""
        await self.send(b":\n\n")

    async def send(self, data: bytes) -> None:
        """Sends it all, as fast as the client reads; one that does not is cut off (connections.py). Raises ConnectionError."""
        for at in range(0, len(data), _SLICE):
            await self._response.write(data[at : at + _SLICE])

    async def end(self) -> web.StreamResponse:
        """The last word."""
        await self._response.write_eof()
        return self._response
