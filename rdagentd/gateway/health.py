"""Whether it works: /livez for who restarts us, /readyz for who sends work, /health for who wants to know what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from attrs import frozen

from rdagentd.gateway.access import ROLE, Role, needs
from rdagentd.gateway.fresh import Fresh
from rdagentd.gateway.link import Link
from rdagentd.gateway.settings import Settings
from rdagentd.protocol.errors import ProtocolError

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"

_SERVICES = {"state": "state", "executor": "executor", "Docker": "docker", "Docker proxy": "docker_proxy"}
"""Findings of the operation `doctor` that are services, and their names here; the others are about what the host can do."""

_NEEDED = frozenset({"daemon", "state", "executor"})
"""Without these nothing can be started; without the others some workers cannot."""


@frozen
class Finding:
    """A service. problem: why it does not serve, "" if it does."""

    name: str
    problem: str


def routes(link: Link, settings: Settings) -> list[web.RouteDef]:
    """Those of health."""
    health = Health(link)
    return [web.get("/livez", livez), web.get("/readyz", health.ready), web.get("/health", health.health)]


@needs(Role.NONE)
async def livez(request: web.Request) -> web.Response:
    """That this program answers, whatever the daemon does."""
    return web.Response(text="ok\n")


class Health:
    """What the daemon finds, asked once a second however many want to know."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._findings = Fresh(self._look)

    @needs(Role.NONE)
    async def health(self, request: web.Request) -> web.Response:
        """All services. 503 if one fails without which nothing can be started; reasons only for who may see."""
        findings = await self._findings.get()
        status = _status(findings)
        body: dict[str, Any] = {
            "status": status,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "services": {found.name: UNHEALTHY if found.problem else HEALTHY for found in findings},
        }
        if request[ROLE] >= Role.VIEW:
            body["reasons"] = {found.name: found.problem for found in findings if found.problem}
        return web.json_response(body, status=503 if status == UNHEALTHY else 200)

    @needs(Role.NONE)
    async def ready(self, request: web.Request) -> web.Response:
        """Whether work can be given to the daemon, and if not, why."""
        broken = [found for found in await self._findings.get() if found.problem and found.name in _NEEDED]
        if not broken:
            return web.Response(text="ok\n")
        may_see = request[ROLE] >= Role.VIEW
        lines = [f"{found.name}: {found.problem}" if may_see else found.name for found in broken]
        return web.Response(status=503, text="\n".join(["not ready", *lines, ""]), headers={"Retry-After": "1"})

    async def _look(self) -> list[Finding]:
        try:
            ping, doctor = await asyncio.gather(self._link.call("ping"), self._link.call("doctor"))
        except ProtocolError as error:
            return [Finding("daemon", error.message)]
        return list(_found(ping, doctor))


def _found(ping: dict[str, Any], doctor: list[dict[str, Any]]) -> Iterator[Finding]:
    yield Finding("daemon", "it is stopping: nothing new is started" if ping["draining"] else "")
    for finding in doctor:
        name = _SERVICES.get(finding["subject"])
        if name is not None and finding["state"] != "absent":  # absent: nobody counts on it
            yield Finding(name, "" if finding["state"] == "ok" else finding["text"])


def _status(findings: list[Finding]) -> str:
    broken = {found.name for found in findings if found.problem}
    return UNHEALTHY if broken & _NEEDED else DEGRADED if broken else HEALTHY
