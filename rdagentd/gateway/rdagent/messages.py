"""Messages: /receive takes them from RD-Agent, /trace gives them to who reads along, /test and /traces tell what there is."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from rdagentd.gateway.access import Role, needs
from rdagentd.gateway.rdagent.answers import (
    NO_PROCESS,
    NO_TRACE,
    NOT_TOLD,
    RefusedError,
    read_json,
    refusing,
    texts,
)
from rdagentd.gateway.rdagent.journal import LONGEST_TAG, Piece
from rdagentd.gateway.rdagent.reports import Reports
from rdagentd.gateway.rdagent.traces import Traces

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
"""Bytes of messages in memory at a time, whatever somebody asks for."""

_AT_ONCE = 64 << 10
"""Bytes that are read without asking a thread: they are in the kernel's memory nearly always."""

_LONGEST_CLIENT = 64
_FEW = 10
"""Messages at most for who does not ask for all: RD-Agent's front end shows them as if they came just now."""


class Messages:
    """The routes; they work while the daemon is away, too."""

    def __init__(self, traces: Traces, reports: Reports) -> None:
        self._traces = traces
        self._reports = reports

    def routes(self) -> list[web.RouteDef]:
        """Those of messages."""
        return [
            web.post("/receive", self.receive),
            web.post("/trace", self.trace),
            web.get("/traces", self.traces),
            web.get("/test", self.test),
            web.post("/user_interaction/submit", self.submit),
        ]

    # --- in -----------------------------------------------------------------------------------------------------------

    @refusing
    @needs(Role.VIEW)
    async def receive(self, request: web.Request) -> web.Response:
        """Keeps one message or a list of them. The sender waits a second at most, and looks at no answer."""
        try:
            sent = await read_json(request)
        except RefusedError:
            raise RefusedError(500, "Internal Server Error") from None
        if not sent:
            raise RefusedError(400, "No JSON data received")
        messages = sent if isinstance(sent, list) else [sent]
        if not all(_is_message(message) for message in messages):
            raise RefusedError(
                400, f"each message must be {{id, msg}}, msg an object with a tag of {LONGEST_TAG} characters at most"
            )
        await self._traces.await_launch(message["id"] for message in messages)
        known = [(self._traces.find(message["id"]), message["msg"]) for message in messages]
        try:
            for trace, message in known:
                if trace is not None:
                    self._traces.append(trace, message)
                    self._reports.took(trace, message)
        except OSError as error:
            log.error("cannot keep a message: %s", error)
            raise RefusedError(500, f"cannot keep the message: {error.strerror or error}") from None
        if any(trace is None for trace, _ in known):
            raise RefusedError(404, "no worker has this id as its label `trace`; what was sent for it is dropped")
        return web.json_response({"status": "success"})

    @refusing
    async def submit(self, request: web.Request) -> web.Response:
        """Keeps what a person answered, as a message: the way to the program that asked, which is no child of ours."""
        try:
            sent = texts(await read_json(request))
        except RefusedError:
            sent = {}
        if not sent.get("id"):
            raise RefusedError(400, NO_TRACE)
        if sent.get("payload") is None:
            raise RefusedError(400, "Missing 'payload'")
        trace = self._traces.find(sent["id"])
        if trace is None:
            raise RefusedError(400, NO_PROCESS)
        if not self._traces.knows(trace):
            raise RefusedError(503, NOT_TOLD)
        if trace.over:
            raise RefusedError(400, NO_PROCESS)
        now = datetime.now(UTC).isoformat()
        try:
            self._traces.append(
                trace, {"tag": "user_interaction.response", "timestamp": now, "content": sent["payload"]}
            )
        except OSError as error:
            log.error("cannot keep an answer: %s", error)
            raise RefusedError(500, "Failed to enqueue user response") from None
        return web.json_response({"status": "success"})

    # --- out ----------------------------------------------------------------------------------------------------------

    @refusing
    @needs(Role.VIEW)
    async def trace(self, request: web.Request) -> web.StreamResponse:
        """The messages that this client has not been given yet."""
        sent = texts(await read_json(request))
        if not sent.get("id"):
            raise RefusedError(400, NO_TRACE)
        trace = self._traces.find(sent["id"])
        if trace is None:
            return web.json_response([])
        self._traces.settle(trace)
        count = None if sent.get("all") else random.randint(1, _FEW)  # noqa: S311
        given = trace.pointers.take(client_of(request, sent), trace.numbers, reset=bool(sent.get("reset")), count=count)
        return await _given(request, list(trace.journal.pieces(given.start, given.stop)))

    async def traces(self, request: web.Request) -> web.Response:
        """Ids of all that have begun."""
        return web.json_response(sorted(trace.id for trace in self._traces))

    async def test(self, request: web.Request) -> web.Response:
        """Tags of all messages, and pointers of all clients, by the path of the trace."""
        told = [trace for trace in self._traces if trace.journal.end]
        return web.json_response(
            {
                "msgs": {trace.path: trace.journal.tags for trace in told},
                "pointers": {trace.path: trace.pointers.told() for trace in told},
            }
        )


def client_of(request: web.Request, sent: dict[str, Any]) -> str:
    """Who reads: who says so, by the field `client`, is told apart from others at the same address."""
    client = sent.get("client")
    said = isinstance(client, str) and 0 < len(client) <= _LONGEST_CLIENT
    return f"{request.remote} {client}" if said else str(request.remote)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("msg"), dict):
        return False
    tag = message["msg"].get("tag")
    return isinstance(message.get("id"), str) and isinstance(tag, str) and len(tag) <= LONGEST_TAG


async def _given(request: web.Request, pieces: list[Piece]) -> web.StreamResponse:
    """The messages as a JSON list: the lines as they are, with commas for newlines."""
    size = sum(piece.length for piece in pieces)
    if size <= _AT_ONCE:
        body = b"".join(_read(piece) for piece in pieces).replace(b"\n", b",")
        return web.Response(body=b"[" + body[:-1] + b"]", content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(size + 1)})
    await response.prepare(request)
    await response.write(b"[")
    left = size
    for piece in pieces:
        for offset in range(0, piece.length, _CHUNK):
            part = Piece(piece.path, piece.offset + offset, min(_CHUNK, piece.length - offset))
            data = (await asyncio.to_thread(_read, part)).replace(b"\n", b",")
            left -= len(data)
            await response.write(data if left else data[:-1] + b"]")
    return response


def _read(piece: Piece) -> bytes:
    """Raises OSError, also where less is there than was written."""
    fd = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, piece.length, piece.offset)
    finally:
        os.close(fd)
    if len(data) != piece.length:
        raise OSError(f"{piece.path} is shorter than it was")
    return data
