"""The JSON API for programs: each operation of the control socket is a path below /api/v1/. It has no logic of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from rdagentd.gateway import arguments, sse
from rdagentd.gateway.access import Role, needs, require
from rdagentd.gateway.errors import body_of
from rdagentd.gateway.lasting import Lasting
from rdagentd.gateway.link import OWN, Link
from rdagentd.gateway.live import Feed
from rdagentd.gateway.openapi import ALIASES, BASE, document, methods
from rdagentd.gateway.operations import Operation, Operations
from rdagentd.gateway.part import Part
from rdagentd.gateway.settings import Settings
from rdagentd.gateway.sse import Events, dumps, event
from rdagentd.gateway.streams import WAYS, Way, followed, resumed, with_beats
from rdagentd.protocol import frames
from rdagentd.protocol.errors import ProtocolError

_PATIENCE = 10.0
"""Seconds for an answer. The daemon itself gives those of whom it asks (the executor, Docker) 5."""

SPARE = 16
"""Connections of the link that are left for the other parts of the gateway."""


def routes(link: Link, settings: Settings) -> Part:
    """Those of the API. Half of the connections may last, and fewer than the link can have: its own followers need some."""
    api = Api(link, Lasting(min(settings.config.connections // 2, OWN - SPARE)))
    found = [
        web.route("*", BASE + "openapi.json", api.describe),
        web.route("*", BASE + "live", api.live),
        web.route("*", BASE + "{op}", api.answer),
    ]
    return Part(found, leaving=api.leave)


class Api:
    """What the handlers share."""

    def __init__(self, link: Link, lasting: Lasting) -> None:
        self._link = link
        self._lasting = lasting
        self._operations = Operations(link)
        self._feed = Feed(link)

    @needs(Role.VIEW)
    async def describe(self, request: web.Request) -> web.Response:
        """The document."""
        _only(request, "GET", "HEAD")
        return _json(document(await self._operations.all()))

    @needs(Role.VIEW)
    async def live(self, request: web.Request) -> web.StreamResponse:
        """Rows as they change."""
        _only(request, "GET")
        await self._link.call("ping")  # what is wrong now is told as an error, what comes later as an event
        return await self._tell(request, self._feed.told())

    @needs(Role.VIEW)
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An operation; its arguments are the query of a GET, the JSON object of a POST."""
        name = request.match_info["op"]
        operation = await self._operations.get(ALIASES.get(name, name))
        _only(request, *methods(operation, alias=name in ALIASES))
        require(request, operation.role)
        if request.method == "POST":
            return await self._call(request, operation, arguments.of_body(await _body(request)))
        args = arguments.of_query(operation.args, request.query.items())
        if operation.stream:
            return await self._follow(request, operation, args)
        return await self._call(request, operation, args)

    async def leave(self, app: web.Application) -> None:
        """Ends what would go on."""
        self._lasting.end()

    async def _call(self, request: web.Request, operation: Operation, args: dict[str, Any]) -> web.Response:
        arguments.check(operation.op, args)
        if not operation.lasts and operation.access != "admin":
            return _json(await self._link.call(operation.op, args, _PATIENCE))
        return _json(await self._lasting.run(request, self._link.call(operation.op, args, None)))

    async def _follow(self, request: web.Request, operation: Operation, args: dict[str, Any]) -> web.StreamResponse:
        way = WAYS.get(operation.op, Way)()
        said = resumed(way, args, request.headers.get("Last-Event-ID"))
        arguments.check(operation.op, said)
        return await self._tell(request, followed(self._link, operation.op, said, way))

    async def _tell(self, request: web.Request, told: AsyncGenerator[bytes, None]) -> web.StreamResponse:
        return await self._lasting.run(request, _sent(Events(request), told))


async def _sent(events: Events, told: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Sends what is told, as long as it lasts. Raises ProtocolError for an error before the first word."""
    try:
        async with aclosing(told), aclosing(with_beats(told, sse.HEARTBEAT)) as chunks:
            async for chunk in chunks:
                await events.begin()
                await (events.beat() if chunk is None else events.send(chunk))
    except ProtocolError as error:
        if not events.begun:
            raise
        await events.send(event(body_of(error), "failed"))
    except asyncio.CancelledError:  # we leave, or the client is gone; if it is not, it is to come again
        if not events.begun:
            raise
    return await events.end()


def _json(result: Any) -> web.Response:
    return web.Response(body=dumps(result).encode(), content_type="application/json")


def _only(request: web.Request, *allowed: str) -> None:
    """Raises HTTPMethodNotAllowed for other methods."""
    if request.method not in allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)


async def _body(request: web.Request) -> bytes:
    """The body, if it says that it is JSON, and is not too large for a frame."""
    if request.content_type != "application/json":  # which no page of another server can send unasked
        raise web.HTTPUnsupportedMediaType(text="the body must be application/json")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > frames.MAX_REQUEST:
            raise web.HTTPRequestEntityTooLarge(frames.MAX_REQUEST, len(body))
    return bytes(body)
