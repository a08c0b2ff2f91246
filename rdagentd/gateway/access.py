"""Who asks over HTTP, and what that takes: a token opens everything; without one, what the configuration leaves to this host.

TCP does not tell who is at the other end, so all programs of this host count as one. What the gateway itself may do is the
daemon's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

from aiohttp import web

ROLE = "rdagentd.role"
"""Key of the request under which the role of whoever asks stands."""


class Role(IntEnum):
    """What a request takes, and what somebody has. NONE: to have connected from this host."""

    NONE = 0
    VIEW = 1
    OPERATE = 2


_Handler = TypeVar("_Handler", bound=Callable[..., object])


def needs(role: Role) -> Callable[[_Handler], _Handler]:
    """Marks a handler (a function or a method) with the role that it takes; not marked: VIEW for GET and HEAD, else OPERATE."""

    def mark(handler: _Handler) -> _Handler:
        handler.needs = role  # type: ignore[attr-defined]
        return handler

    return mark


def require(request: web.Request, role: Role) -> None:
    """For a handler that learns only on the way what it takes. Raises HTTPUnauthorized: the token would do."""
    if request[ROLE] < role:
        raise unauthorized()


def unauthorized(what: str = "") -> web.HTTPUnauthorized:
    """That the token is missing, or (what) what is wrong with it."""
    told = "give the token, as Authorization: Bearer TOKEN, or open /?token=TOKEN in the browser"
    return web.HTTPUnauthorized(text=f"{what}{told}", headers={"WWW-Authenticate": 'Bearer realm="rdagentd"'})
