"""What every request passes: is it meant for us, does it come from a page that may ask, who asks, may they, is it too large.

Defences of a server that browsers on this host can reach: a name that leads here must be one of ours (DNS rebinding), and a
change must not come from another's page (CSRF). OWASP's cheat sheets and the Fetch standard have the reasons.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler

from rdagentd.gateway.access import ROLE, Role, require, unauthorized
from rdagentd.gateway.connections import address_of, is_local
from rdagentd.gateway.errors import Middleware
from rdagentd.gateway.settings import Settings
from rdagentd.protocol.errors import INVALID, ProtocolError

COOKIE = "rdagent_auth"
"""As RD-Agent's own server calls it."""

_LOOKS = {"GET", "HEAD", "OPTIONS"}
"""Methods that change nothing (RFC 9110, 9.2.1)."""

_ROLE_OF_ANONYMOUS = {"none": Role.NONE, "view": Role.VIEW, "operate": Role.OPERATE}

_SECURE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Server": "rdagentd",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_MOST_HEADERS = 128

_CORS = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Max-Age": "600",
}


def checks(settings: Settings) -> Middleware:
    """The middleware."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_head(request)
        _check_host(request, settings)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=_CORS if _is_listed(request, settings) else {})
        if request.method == "GET" and request.path == "/" and "token" in request.query:
            return _let_in(request, settings)
        request[ROLE] = _role(request, settings)
        if request.method not in _LOOKS:
            _check_origin(request, settings)
        _check_body(request, settings)
        # A route that does not exist takes nothing, so that it is told as such.
        need = Role.NONE if request.match_info.http_exception is not None else _need(request)
        require(request, need)
        return await handler(request)

    return check


def secure(settings: Settings) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """For on_response_prepare: headers of all responses. A response's own come before them."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in _SECURE.items():
            response.headers.setdefault(name, value)
        response.headers["Server"] = _SECURE["Server"]
        if settings.config.origins:
            response.headers.add("Vary", "Origin")
            if _is_listed(request, settings):
                response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
                response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if "Upgrade" in request.headers:
            response.force_close()  # what follows was not meant as HTTP/1.1

    return add


# --- whether it is a request ------------------------------------------------------------------------------------------


def _check_head(request: web.Request) -> None:
    """What newer versions of aiohttp refuse by themselves, and 3.8 does not."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise web.HTTPVersionNotSupported(text="speak HTTP/1.1")
    if len(request.raw_headers) > _MOST_HEADERS:
        raise web.HTTPRequestHeaderFieldsTooLarge(text=f"at most {_MOST_HEADERS} headers")
    if any(b" " in name for name, _ in request.raw_headers):
        raise web.HTTPBadRequest(text="a header's name has a space in it")


# --- whom it is meant for ---------------------------------------------------------------------------------------------


def _check_host(request: web.Request, settings: Settings) -> None:
    """A page of evil.example whose name was made to lead here still says `Host: evil.example`. A bare address cannot lie so."""
    told = request.headers.getall("Host", [])
    host = _host(told[0]) if len(told) == 1 else None
    if host is None:
        raise web.HTTPBadRequest(text="one header Host is needed")
    if not (_is_address(host) or host == "localhost" or host in settings.config.hosts):
        raise web.HTTPMisdirectedRequest(
            text=f"this server is not called {host[:253]!r}; add it to gateway.hosts in rdagentd.toml"
        )


def _host(header: str) -> str | None:
    """Its name without the port, in small letters; None if it is not one."""
    try:
        parts = urlsplit(f"//{header}")
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        parts.port  # noqa: B018 (raises)
    except ValueError:
        return None
    return parts.hostname


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_origin(request: web.Request, settings: Settings) -> None:
    """Browsers say where a change comes from. Who came in by the cookie is a browser, and has to."""
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Referer"):
        parts = urlsplit(request.headers["Referer"])
        origin = f"{parts.scheme}://{parts.netloc}"
    if origin is None:
        if COOKIE in request.cookies and "Authorization" not in request.headers:
            raise web.HTTPForbidden(text="a header Origin is needed beside the cookie")
        return
    if origin.lower() != f"{request.scheme}://{request.headers['Host']}".lower() and not _is_listed(request, settings):
        raise web.HTTPForbidden(text=f"pages of {origin[:300]!r} may not; add it to gateway.origins in rdagentd.toml")


def _is_listed(request: web.Request, settings: Settings) -> bool:
    return request.headers.get("Origin", "").lower() in settings.config.origins


# --- who asks ---------------------------------------------------------------------------------------------------------


def _role(request: web.Request, settings: Settings) -> Role:
    """Raises HTTPUnauthorized for a wrong token, and for none from another host."""
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    if shown and scheme.lower() == "bearer":
        return _with_token(shown.strip(), settings.tokens)
    if COOKIE in request.cookies:
        good = tuple(cookie_of(token) for token in settings.tokens)
        if _is_one_of(request.cookies[COOKIE], good):
            return Role.OPERATE
    # A proxy on this host speaks for others; whoever it is, it says so.
    through = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "Via"))
    if is_local(address_of(request.transport)) and not through:
        return _ROLE_OF_ANONYMOUS[settings.config.anonymous]
    raise unauthorized()


def _with_token(shown: str, tokens: tuple[str, ...]) -> Role:
    if not _is_one_of(shown, tokens):
        raise unauthorized("the token is wrong; ")
    return Role.OPERATE


def _is_one_of(shown: str, good: tuple[str, ...]) -> bool:
    """Takes as long whichever it is, and however much of it is right."""
    found = [hmac.compare_digest(shown.encode(errors="replace"), one.encode()) for one in good]
    return any(found)


def cookie_of(token: str) -> str:
    """What stands in the cookie: the token itself is not kept by browsers."""
    return hmac.digest(token.encode(), b"rdagentd cookie", "sha256").hex()


def _let_in(request: web.Request, settings: Settings) -> web.Response:
    """/?token=…: the browser keeps the cookie, and the token is not left in the line of the address."""
    token = request.query["token"]
    _with_token(token, settings.tokens)
    response = web.Response(status=303, headers={"Location": "/"})
    secure_ = settings.config.certificate is not None
    response.set_cookie(COOKIE, cookie_of(token), httponly=True, samesite="Strict", secure=secure_, path="/")
    return response


def _need(request: web.Request) -> Role:
    marked = getattr(request.match_info.handler, "needs", None)
    return marked if isinstance(marked, Role) else Role.VIEW if request.method in _LOOKS else Role.OPERATE


# --- what comes -------------------------------------------------------------------------------------------------------


def _check_body(request: web.Request, settings: Settings) -> None:
    most = settings.config.body
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length or 0)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # Few bytes that become many are no body that anybody needs to send here.
        raise ProtocolError(INVALID, f"cannot {request.method} {request.path}: send the body without Content-Encoding")
