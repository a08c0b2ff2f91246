"""The application: its parts, each a module with routes, behind what all requests pass."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from rdagentd.gateway import api, health, page, rdagent
from rdagentd.gateway.checks import checks, secure
from rdagentd.gateway.connections import Connections
from rdagentd.gateway.errors import Middleware, errors
from rdagentd.gateway.http_metrics import HttpMetrics
from rdagentd.gateway.link import Link
from rdagentd.gateway.metrics import Metrics
from rdagentd.gateway.part import Part
from rdagentd.gateway.settings import Settings

MODULES: tuple[ModuleType, ...] = (health, api, rdagent, page)
"""Each has `routes(link, settings)`, which gives a list of routes, or a Part."""


def application(link: Link, settings: Settings, connections: Connections) -> web.Application:
    """All of it."""
    counts = HttpMetrics(connections)
    middlewares: list[Any] = [_under_way(connections, counts), errors, checks(settings)]
    largest = settings.config.body + 1  # aiohttp 3.8 refuses what is as large
    app = web.Application(middlewares=middlewares, client_max_size=largest)
    app.on_response_prepare.append(secure(settings))
    app.add_routes([web.get("/metrics", Metrics(link, counts).get)])
    for module in MODULES:
        found = module.routes(link, settings)
        if isinstance(found, Part):
            if found.running is not None:
                app.cleanup_ctx.append(found.running)
            if found.leaving is not None:
                app.on_shutdown.append(found.leaving)
            found = found.routes
        app.add_routes(found)
    return app


def _under_way(connections: Connections, counts: HttpMetrics) -> Middleware:
    """The outermost middleware: tells when a request begins and ends, and counts it."""

    @web.middleware
    async def under_way(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin, response = time.monotonic(), None
        connections.begin(request)
        try:
            response = await handler(request)
        finally:
            counts.answered(request, response, time.monotonic() - begin)
            connections.end(request)
        return response

    return under_way
