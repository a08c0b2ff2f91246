"""What the routes share: reading JSON as RD-Agent's server does, and refusing in its shape."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from rdagentd.gateway.errors import STATUS
from rdagentd.protocol.errors import ProtocolError

NO_PROCESS = "No running process for given id"
NO_TRACE = "Trace ID is required"
NOT_TOLD = "cannot say whether its process runs: rdagentd has not answered yet; try again later"


_Self = TypeVar("_Self")
_Handler = Callable[[_Self, web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """status, text: the answer to a request that is refused."""


def refusing(handler: _Handler[_Self]) -> _Handler[_Self]:
    """Makes a handler answer what is refused in RD-Agent's shape; errors of the daemon by their codes."""

    @functools.wraps(handler)
    async def answered(self: _Self, request: web.Request) -> web.StreamResponse:
        try:
            return await handler(self, request)
        except RefusedError as error:
            status, text = error.args
        except ProtocolError as error:
            status, text = STATUS.get(error.code, 500), error.message
        headers = {"Retry-After": "1"} if status in (429, 503) else {}
        return web.json_response({"error": text}, status=status, headers=headers)

    return answered


async def read_json(request: web.Request) -> Any:
    """The body. Raises RefusedError: 415 if it does not say that it is JSON, 400 if it is not."""
    if not _says_json(request.content_type):
        raise RefusedError(415, "the body must be JSON, and the header Content-Type must say so")
    try:
        return _parse_json(await request.read())
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None


def _parse_json(body: bytes) -> Any:
    """The value. What Python alone takes for JSON (NaN) is null, for browsers read it. Raises ValueError."""
    try:
        return json.loads(body, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _says_json(content_type: str) -> bool:
    return content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )


def texts(value: Any) -> dict[str, Any]:
    """The object that was sent; an empty one for anything else."""
    return value if isinstance(value, dict) else {}
