"""What a module of the gateway gives that has more than routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web
from attrs import frozen


@frozen
class Part:
    """Routes of a module that has something to open and to close. running: an aiohttp cleanup context; what follows its
    `yield` is done at the end. leaving: is called before requests that are under way are waited for.
    """

    routes: Sequence[web.RouteDef]
    running: Callable[[web.Application], AsyncIterator[None]] | None = None
    leaving: Callable[[web.Application], Awaitable[None]] | None = None
