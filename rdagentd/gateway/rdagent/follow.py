"""What the daemon's workers come to, for the traces: all of them once, then what its events tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from rdagentd.gateway.link import Link
from rdagentd.gateway.rdagent.traces import Traces
from rdagentd.protocol.errors import NOT_FOUND, ProtocolError

log = logging.getLogger(__name__)

_AGAIN = 1.0
"""Seconds until the daemon is asked again after it could not be."""

_NEW = ("submitted", "changed")
"""Kinds of events after which a worker that had no trace may have one."""


async def follow(link: Link, traces: Traces) -> None:
    """Keeps the traces up to date for ever, whatever becomes of the daemon."""
    told = False
    while True:
        try:
            async for _ in _followed(link, traces):
                told = False
        except ProtocolError as error:
            if not told:
                log.warning("%s; ends of RD-Agent are told later", error.message)
            told = True
        except Exception:  # nothing else would take up what is over
            log.exception("defect: cannot follow the daemon's workers; they are all looked at again")
        await asyncio.sleep(_AGAIN)


async def _followed(link: Link, traces: Traces) -> AsyncIterator[None]:
    """Yields each time that all that is known has been taken in. Raises ProtocolError."""
    seq = 0
    async for item in link.stream("events", {"tail": 1}):
        seq = item["seq"]
    traces.all_seen(await link.call("status"))
    yield
    async with aclosing(cast(Any, link.stream("events", {"since": seq, "follow": True}))) as events:
        async for event in events:
            name = event["worker"]
            if name and (traces.of_worker(name) is not None or event["kind"] in _NEW):
                await look(link, traces, name)
            yield


async def look(link: Link, traces: Traces, name: str) -> None:
    """Takes in how one worker is now. Raises ProtocolError."""
    try:
        rows = await link.call("status", {"select": {"names": [name]}})
    except ProtocolError as error:
        if error.code != NOT_FOUND:
            raise
        traces.gone(name)
        return
    for row in rows:
        traces.saw(row)
