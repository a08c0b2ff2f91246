"""RD-Agent's own HTTP API, generations A (up to 0.8) and C (1.0), over the daemon's workers; see docs/rd-agent-api.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from rdagentd.gateway.link import Link
from rdagentd.gateway.part import Part
from rdagentd.gateway.rdagent.control import Control
from rdagentd.gateway.rdagent.follow import follow
from rdagentd.gateway.rdagent.messages import Messages
from rdagentd.gateway.rdagent.reports import Reports
from rdagentd.gateway.rdagent.traces import Traces
from rdagentd.gateway.rdagent.upload import Uploads
from rdagentd.gateway.settings import Settings


def routes(link: Link, settings: Settings) -> Part:
    """Those of RD-Agent's API, and what keeps its traces up to date."""
    traces = Traces(settings.state / "traces")
    uploads = Uploads(link, traces, settings.state / "uploads", settings.config.body)
    reports = Reports(link)
    parts = (Messages(traces, reports), Control(link, traces), uploads)

    async def running(app: web.Application) -> AsyncIterator[None]:
        await asyncio.to_thread(traces.load)
        following = asyncio.create_task(follow(link, traces))
        yield
        reports.close()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await traces.close()

    return Part([route for part in parts for route in part.routes()], running)
