"""The page: files that a browser loads once, and which then live on the JSON API. They hold no secret: anybody may have them.

Two things are told for the page alone: what whoever looks may do, and how the host fares.
"""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import frozen

from rdagentd.gateway.access import ROLE, Role, needs
from rdagentd.gateway.fresh import Fresh
from rdagentd.gateway.link import Link
from rdagentd.gateway.settings import Settings

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy (CSP 3; Trusted Types): nothing from elsewhere, and no text ever becomes markup or a script."""

FAMILIES = {
    "cpu_usage_percent": "cpu",
    "memory_usage_percent": "memory",
    "disk_usage_percent": "disk",
    "rdagentd_slots": "slots",
    "rdagentd_queue_held": "held",
}
"""Metric → what it is called in /host."""

EVERY = 4.0
"""Seconds for which what was told of the host serves all who look: metrics of a thousand workers cost something."""

_TYPES = {".js": "text/javascript"}
"""Some systems' tables have another one, with which a browser refuses modules."""


def routes(link: Link, settings: Settings) -> list[web.RouteDef]:
    """`/`, the files that it names, and what it asks for besides the API."""
    page = Page(link)
    return [
        web.get("/", page.index),
        web.get("/static/{name}", page.file),
        web.get("/whoami", page.whoami),
        web.get("/host", page.host),
    ]


class Page:
    """What the handlers share."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._files = {path.name: _read(path) for path in STATIC.iterdir()}
        self._host = Fresh(self._ask_host, EVERY)

    @needs(Role.NONE)
    async def index(self, request: web.Request) -> web.Response:
        """The document."""
        return self._files["index.html"].answer(request)

    @needs(Role.NONE)
    async def file(self, request: web.Request) -> web.Response:
        """What it names."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(text="there is no such file")
        return found.answer(request)

    async def whoami(self, request: web.Request) -> web.Response:
        """Of what the gateway may do and what the client may have of it, the lesser."""
        told = await self._link.call("whoami")
        role = told["role"] if request[ROLE] >= Role.OPERATE else "viewer"
        return web.json_response({"uid": told["uid"], "role": role})

    async def host(self, request: web.Request) -> web.Response:
        """Of the metrics those that are about the host: the others are thousands where there are many workers."""
        return web.json_response(await self._host.get())

    async def _ask_host(self) -> dict[str, Any]:
        return _about_host((await self._link.call("metrics"))["families"])


def _about_host(families: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers in percent; those with a label as `{label: number}`."""
    told: dict[str, Any] = {}
    for family in families:
        if family["name"] in FAMILIES:
            values = {"".join(labels): value for labels, value in family["samples"]}
            told[FAMILIES[family["name"]]] = values if family["labels"] else values.get("")
    return told


@frozen
class _File:
    body: bytes
    kind: str
    mark: str

    def answer(self, request: web.Request) -> web.Response:
        """The file, or that the browser has it."""
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": f'"{self.mark}"'}
        if any(known.value in (self.mark, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, content_type=self.kind, charset="utf-8", headers=headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(body, kind, hashlib.sha256(body).hexdigest()[:32])
