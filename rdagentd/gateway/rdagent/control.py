"""What is done to a worker by its trace: /control, and its output: /stdout."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from rdagentd.gateway.link import Link
from rdagentd.gateway.rdagent.answers import NO_PROCESS, NOT_TOLD, RefusedError, read_json, refusing, texts
from rdagentd.gateway.rdagent.follow import look
from rdagentd.gateway.rdagent.traces import Trace, Traces
from rdagentd.protocol.errors import NOT_FOUND, UNAVAILABLE, ProtocolError

_DONE = {"pause": "paused", "resume": "resumed", "stop": "stopped"}

_LONGEST_STOP = 120.0
"""Seconds in which a worker that is stopped must have ended: two signals and a grace of 20 s by default, then SIGKILL."""


class Control:
    """The routes; they take the daemon."""

    def __init__(self, link: Link, traces: Traces) -> None:
        self._link = link
        self._traces = traces

    def routes(self) -> list[web.RouteDef]:
        """Those of control."""
        return [web.post("/control", self.control), web.get("/stdout", self.stdout)]

    @refusing
    async def control(self, request: web.Request) -> web.Response:
        """Pauses, resumes or stops; a stop is answered when nothing is left, and its END is there."""
        sent = texts(await read_json(request))
        if "id" not in sent or "action" not in sent:
            raise RefusedError(400, "Missing 'id' or 'action' in request")
        action, trace = sent["action"], self._traces.find(sent["id"])
        if action not in _DONE:
            raise RefusedError(400, "Unknown action")
        if trace is None:
            raise RefusedError(400, NO_PROCESS)
        if not self._traces.knows(trace):
            raise RefusedError(503, NOT_TOLD)
        if trace.over and action != "stop":
            raise RefusedError(400, "Process has already terminated")
        if not trace.over:
            await self._do(action, trace)
        return web.json_response({"status": _DONE[action]})

    async def _do(self, action: str, trace: Trace) -> None:
        """Raises RefusedError."""
        select: dict[str, Any] = {"select": {"names": [trace.worker]}}
        try:
            fared = (await self._link.call(action, select))["workers"]
            for error in (one["error"] for one in fared if one["error"]):
                raise ProtocolError(error["code"], error["message"])
            if action == "stop":
                async with asyncio.timeout(_LONGEST_STOP):
                    await self._link.call("wait", {**select, "until": "rest"}, within=None)
            await look(self._link, self._traces, trace.worker)
        except ProtocolError as error:
            status = 503 if error.code == UNAVAILABLE else 500
            raise RefusedError(status, f"Failed to {action} process, {error.message}") from None
        except TimeoutError:
            raise RefusedError(500, f"Failed to {action} process, it has not ended for {_LONGEST_STOP:g} s") from None

    @refusing
    async def stdout(self, request: web.Request) -> web.StreamResponse:
        """What it wrote, as a file."""
        trace = self._traces.find(request.query.get("id", "").strip())
        if trace is None:
            raise RefusedError(400, "Trace ID is required or invalid")
        async with aclosing(cast(Any, self._link.stream("logs", {"name": trace.worker}))) as items:
            try:
                first: dict[str, Any] = await anext(items, {})
            except ProtocolError as error:
                if error.code != NOT_FOUND:
                    raise
                raise RefusedError(404, "Stdout file not found") from None
            name = f"{trace.id.rpartition('/')[2]}.log"
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/plain; charset=utf-8",
                    "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
                }
            )
            await response.prepare(request)
            await response.write(first.get("data", b""))
            async for item in items:
                await response.write(item.get("data", b""))
            return response
