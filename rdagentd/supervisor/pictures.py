"""Looks at runs that are silent: what they have done lately, and, once they are stalled, what they look like."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from rdagentd.core import events as ev
from rdagentd.drivers.base import Driver, Errand
from rdagentd.model.container import DriverName
from rdagentd.model.run import Run, log_bytes
from rdagentd.model.stall import Signal
from rdagentd.model.worker import Worker
from rdagentd.supervisor.logs import LogReader
from rdagentd.supervisor.looks import last_written

log = logging.getLogger(__name__)

LINES = 20
"""Last lines of output that a picture has."""

_LONGEST = 500
"""Bytes of each of them."""

_PATIENCE = 20.0
"""Seconds that the look at its processes may take; stacks take some of them each."""

_MOST = 48 << 10
"""Bytes of what it tells: a picture is one event of the log."""


class Pictures:
    """post: takes what is found. logs: where they are, by driver."""

    def __init__(
        self, post: Callable[[ev.Event], None], driver: Callable[[], Driver], logs: Mapping[DriverName, Path]
    ) -> None:
        self._post = post
        self._driver = driver
        self._logs = logs
        self._tasks: set[asyncio.Task[None]] = set()

    def examine(self, worker: Worker) -> None:
        """Makes `Examined`; nothing if nobody answers."""
        if worker.run is not None:
            self._do(self._examine(worker, worker.run))

    def picture(self, worker: Worker) -> None:
        """Makes `Pictured`."""
        if worker.run is not None:
            self._do(self._picture(worker, worker.run))

    def _do(self, look: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(look)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("defect: cannot look at a run", exc_info=error)

    async def _examine(self, worker: Worker, run: Run) -> None:
        used = (await self._driver().usage([run.id])).get(run.id)
        if used is None:
            return
        user, system, active = used.get("user"), used.get("system"), used.get("active")
        cpu = None if user is None or system is None else user + system
        idle = time.time() - active if active else None
        checkpoint = await self._checkpoint(worker)
        self._post(ev.Examined(worker.name, run.id, cpu, log_bytes(run, used["log"]), idle, checkpoint))

    async def _checkpoint(self, worker: Worker) -> float | None:
        """Seconds ago that it wrote one, where that counts."""
        spec = worker.spec
        if spec.checkpoints is None or spec.stall is None or Signal.CHECKPOINT not in spec.stall.signals:
            return None
        written = await last_written(self._driver(), worker)
        return None if written is None else time.time() - written

    async def _picture(self, worker: Worker, run: Run) -> None:
        lines = await self._last_lines(worker)
        wanted = json.dumps({"pid": run.pid})
        command = (sys.executable, "-I", "-m", "rdagentd.look", "picture", wanted)
        told = await self._driver().assist(worker, Errand(command, _PATIENCE, _MOST))
        picture: dict[str, Any] = {"lines": lines}
        try:
            picture |= json.loads(told.output)
        except (ValueError, TypeError):
            said = told.output.decode("utf-8", "replace")[:_LONGEST].strip()
            picture["trouble"] = f"cannot look at its processes: {told.reason or said or 'it told nothing'}"
        self._post(ev.Pictured(worker.name, run.id, picture))

    async def _last_lines(self, worker: Worker) -> list[str]:
        await self._driver().catch_up(worker.name)
        reader = LogReader(self._logs[worker.spec.driver] / worker.name / "out")
        try:
            data = await asyncio.to_thread(_tail, reader)
        except OSError:
            return []
        return [line[:_LONGEST].decode("utf-8", "replace") for line in data.splitlines()]


def _tail(reader: LogReader) -> bytes:
    oldest, end = reader.bounds()
    start = reader.tail(LINES, max(oldest, end - LINES * _LONGEST * 4), end)
    return b"".join(piece.data for piece in reader.pieces(start, end))
