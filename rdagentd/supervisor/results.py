"""The end of a run whose exit code does not tell what it came to: held back until that was looked for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from rdagentd.core import events as ev
from rdagentd.core.result import Found, Place, is_asked, judged, places
from rdagentd.drivers.base import Driver, EndedRun, Errand
from rdagentd.model.container import DriverName
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.logs import LogReader

_PATIENCE = 10.0
_MOST_OUTPUT = 4 << 20
"""Bytes at the end of a run's output in which texts are looked for."""

_SLACK = 2.0
"""Seconds by which a file may seem to be older than the run that wrote it: clocks of file systems are coarse."""


class Results:
    """Hands the ends of runs on, those with [result] after a look. logs: captured output, by driver."""

    def __init__(
        self,
        post: Callable[[ev.Event], None],
        driver: Callable[[], Driver],
        workers: Mapping[str, Worker],
        logs: Mapping[DriverName, Path],
    ) -> None:
        self._post = post
        self._driver = driver
        self._workers = workers
        self._logs = logs
        self._tasks: set[asyncio.Task[None]] = set()

    def at_end(self, end: EndedRun, then: Callable[[EndedRun], None]) -> None:
        """Calls `then` when it is known what the run came to. One that was being stopped came to what it was stopped for."""
        worker = self._workers.get(end.worker)
        run = worker.run if worker and worker.state is not State.STOPPING else None
        if worker is None or run is None or run.id != end.run or not is_asked(worker.spec.result, end.exit):
            then(end)
            return
        task = asyncio.ensure_future(self._judge(worker, end, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, worker: Worker, end: EndedRun, then: Callable[[EndedRun], None]) -> None:
        result = worker.spec.result
        assert result is not None
        try:
            output = await asyncio.to_thread(self._output, worker, end)
            found = Found(output, await self._values(worker, end, places(result)))
            end = evolve(end, exit=judged(result, end.exit, found))
        finally:  # whatever goes wrong, the end must be known
            then(end)

    def _output(self, worker: Worker, end: EndedRun) -> bytes:
        """The end of what the run wrote, of each stream."""
        begins = end.started.log if end.started else worker.run.log_start if worker.run else {}
        directory = self._logs[worker.spec.driver] / worker.name
        parts = []
        for stream, last in end.log.items():
            first = max(begins.get(stream, 0), last - _MOST_OUTPUT)
            parts.append(b"".join(piece.data for piece in LogReader(directory / stream).pieces(first, last)))
        return b"\n".join(parts)

    async def _values(self, worker: Worker, end: EndedRun, wanted: list[Place]) -> dict[Place, Any]:
        if not wanted:
            return {}
        began = end.started.at if end.started else worker.run.started_at if worker.run else None
        since = (began or 0.0) - _SLACK
        asked = json.dumps({"places": wanted, "since": since})
        command = (sys.executable, "-I", "-m", "rdagentd.look", "values", asked)
        told = await self._driver().assist(worker, Errand(command, _PATIENCE))
        if told.code != 0:
            reason = told.reason or f"the look ended with {told.code or told.signal}: {told.output[-200:]!r}"
            self._post(ev.Noted(worker.name, "unlooked", f"its result could not be looked for: {reason}", None))
            return {}
        return {(file, path): value for file, path, value in json.loads(told.output)}
