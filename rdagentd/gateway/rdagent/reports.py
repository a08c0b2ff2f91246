"""What RD-Agent's messages say about its work, for the daemon: experiments, what came of them, their metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from rdagentd.gateway.link import Link
from rdagentd.gateway.rdagent.traces import Trace
from rdagentd.protocol.errors import UNAVAILABLE, ProtocolError

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Reports that wait for a daemon that is away; beyond, the oldest go."""

MOST_METRICS = 32
"""Numbers of one message that are told."""

_AGAIN = 1.0
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")


@frozen
class Report:
    """A request to the daemon: its arguments."""

    args: Mapping[str, Any]


def found(message: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """What a message says: totals, and what is added. An experiment is over when there is feedback on its hypothesis."""
    content = message.get("content")
    if not isinstance(content, dict):
        return {}, {}
    if message["tag"] == "feedback.hypothesis_feedback":
        accepted = str(content.get("decision")).lower() == "true"
        failed = content.get("exception") not in (None, "", "None")
        return {}, {"iteration": 1.0, "experiments": 1.0, "accepted": float(accepted), "errors": float(failed)}
    if message["tag"] == "feedback.metric":
        return dict(list(_metrics(content.get("result")))[:MOST_METRICS]), {}
    return {}, {}


def _metrics(result: Any) -> Iterator[tuple[str, float]]:
    """Numbers of a result, which is JSON in a text; of tables in it, each by its own name."""
    try:
        values = json.loads(result) if isinstance(result, str) else result
    except (ValueError, RecursionError):
        return
    waiting = [values]
    for _ in range(MOST_METRICS):
        inner = waiting.pop(0) if waiting else None
        for name, value in inner.items() if isinstance(inner, dict) else ():
            if isinstance(value, dict):
                waiting.append(value)
            elif type(value) in (int, float) and math.isfinite(value):
                called = _NOT_IN_NAMES.sub("_", str(name).lower()).strip("_")[:63]
                if called[:1].isalpha():
                    yield called, float(value)


class Reports:
    """Tells the daemon, one after the other; whoever sent the message does not wait for that."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: deque[Report] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    def took(self, trace: Trace, message: Mapping[str, Any]) -> None:
        """A message has been kept, as the latest of the trace; what it says is told of the run that lives now."""
        values, added = found(message)
        run = trace.row["run"] if trace.row is not None else None
        if not (values or added) or run is None or trace.over:
            return
        about = {"name": trace.worker, "run": run["id"], "source": "receive", "number": trace.journal.end - 1}
        self._waiting.append(Report({**about, "values": values, "added": added}))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._waiting:
            report = self._waiting[0]
            try:
                await self._link.call("report", dict(report.args))
            except ProtocolError as error:
                if error.code == UNAVAILABLE:
                    await asyncio.sleep(_AGAIN)
                    continue
                log.debug("%s", error.message)  # nobody asked for it, or the run is over
            if self._waiting and self._waiting[0] is report:
                self._waiting.popleft()
        self._task = None

    def close(self) -> None:
        """Tells no more."""
        if self._task is not None:
            self._task.cancel()
