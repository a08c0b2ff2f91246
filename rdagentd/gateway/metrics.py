"""/metrics: what the daemon tells, whether it does, and what the gateway adds of itself."""

from __future__ import annotations

import asyncio
import logging
import zlib
from functools import partial
from typing import Any

from aiohttp import web

from rdagentd.gateway.exposition import END, OPEN, TEXT, Exposition, is_openmetrics
from rdagentd.gateway.fresh import Fresh
from rdagentd.gateway.http_metrics import HttpMetrics
from rdagentd.gateway.link import Link
from rdagentd.protocol.errors import UNAVAILABLE, ProtocolError

log = logging.getLogger(__name__)

_UP = {
    "name": "rdagentd_up",
    "kind": "gauge",
    "help": "Whether the daemon answers.",
    "labels": [],
}

_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1
"""Of compression. Six times smaller for 5 ms of CPU for a thousand workers; the default level takes four times as long."""


class Metrics:
    """Scrapes. In each format the text is made once for all who ask within a second."""

    def __init__(self, link: Link, own: HttpMetrics) -> None:
        self._link = link
        self._own = own
        self._missing = ""
        self._text = Fresh(partial(self._rendered, openmetrics=False))
        self._openmetrics = Fresh(partial(self._rendered, openmetrics=True))

    async def get(self, request: web.Request) -> web.Response:
        """The answer to a scrape: always 200, so that a daemon that is away is told as such and not as a gateway that is."""
        openmetrics = is_openmetrics(request.headers.getall("Accept", []))
        text = self._openmetrics if openmetrics else self._text
        body = await text.get() + self._own.render(openmetrics=openmetrics)
        if openmetrics:
            body += END
        headers = {"Content-Type": OPEN if openmetrics else TEXT, "Vary": "Accept, Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = await asyncio.to_thread(
                zlib.compress, body, _LEVEL, _GZIP
            )  # other requests have their turn meanwhile
        return web.Response(body=body, headers=headers)

    async def _asked(self) -> tuple[list[dict[str, Any]], bool]:
        """The daemon's families, and whether it answered."""
        try:
            families = (await self._link.call("metrics"))["families"]
            self._missing = ""
            return families, True
        except ProtocolError as error:
            if error.message != self._missing:  # once, not with every scrape
                log.warning("no metrics of the daemon: %s", error)
            self._missing = error.message
            return [], error.code != UNAVAILABLE

    async def _rendered(self, *, openmetrics: bool) -> bytes:
        families, up = await self._asked()
        writer = Exposition(openmetrics=openmetrics)
        parts = [writer.family({**_UP, "samples": [[[], int(up)]]})]
        for family in families:
            parts.append(writer.family(family))
            await asyncio.sleep(0)  # a thousand samples take a millisecond: other requests come in between
        return "".join(parts).encode()
