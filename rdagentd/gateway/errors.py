"""Errors as HTTP tells them: a status for each code of the control protocol, and one shape of body."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from rdagentd.protocol.errors import (
    CONFLICT,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    NOT_FOUND,
    OVER_CAPACITY,
    UNAVAILABLE,
    ProtocolError,
)

log = logging.getLogger(__name__)

Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

STATUS = {
    INVALID: 400,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    CONFLICT: 409,
    OVER_CAPACITY: 429,
    UNAVAILABLE: 503,
    INTERNAL: 500,
}

RETRY_AFTER = {OVER_CAPACITY: "1", UNAVAILABLE: "1"}
"""Seconds after which it makes sense to ask again."""

_CODE_OF_STATUS = {401: FORBIDDEN, 403: FORBIDDEN, 404: NOT_FOUND, 409: CONFLICT, 429: OVER_CAPACITY, 503: UNAVAILABLE}
"""For errors that HTTP itself knows; those not named: invalid from 400 on, internal from 500 on."""


def told(error: ProtocolError) -> web.Response:
    """An error as a response."""
    headers = {"Retry-After": RETRY_AFTER[error.code]} if error.code in RETRY_AFTER else {}
    return web.json_response(body_of(error), status=STATUS.get(error.code, 500), headers=headers)


def body_of(error: ProtocolError) -> dict[str, Any]:
    """What a program reads."""
    return {"error": error.to_wire()}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error in one shape. Of a defect of ours the traceback goes to the log under an id, the id to the client."""
    try:
        return await handler(request)
    except ProtocolError as error:
        return told(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _CODE_OF_STATUS.get(error.status, INVALID if error.status < 500 else INTERNAL)
        text = error.text if error.text and not error.text.startswith(f"{error.status}:") else error.reason.lower()
        response = web.json_response(
            body_of(ProtocolError(code, f"cannot {_asked(request)}: {text}")), status=error.status
        )
        for name in ("Allow", "Retry-After", "WWW-Authenticate"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except (HttpProcessingError, web.RequestPayloadError):
        return told(ProtocolError(INVALID, f"cannot {_asked(request)}: the body is not as its head says"))
    except ConnectionError:
        raise  # nobody is there to be told
    except Exception as error:
        mark = secrets.token_hex(4)
        log.error("defect %s while answering %s", mark, _asked(request), exc_info=error)
        text = f"cannot answer: a defect in the gateway; its log tells more under {mark}"
        return told(ProtocolError(INTERNAL, text, {"id": mark}))


def _asked(request: web.Request) -> str:
    return f"{request.method} {request.path[:200]}"
