"""Removes old checkpoints of workers that run or have ended, one after the other: an agent may write gigabytes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from rdagentd.core import events as ev
from rdagentd.drivers.base import Driver
from rdagentd.model.size import format_size
from rdagentd.model.worker import AT_REST, State, Worker
from rdagentd.supervisor.looks import prune

EVERY = 300.0
"""Seconds from one time to the next."""


class Pruning:
    """driver: whom to ask; find: a worker as it is now; post: takes events."""

    def __init__(
        self, driver: Callable[[], Driver], find: Callable[[str], Worker | None], post: Callable[[ev.Event], None]
    ) -> None:
        self._driver = driver
        self._find = find
        self._post = post
        self._runs: set[str] = set()
        self._ran: set[str] = set()
        self._ended: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(self, worker: Worker) -> None:
        """The worker is like this now."""
        name = worker.name
        if _keeps(worker) and worker.state is State.RUNNING:
            self._runs.add(name)
            self._ran.add(name)
        else:
            self._runs.discard(name)
        if name in self._ran and worker.state in AT_REST:
            self._ran.discard(name)
            self._ended.add(name)
            self._wake.set()
        if (self._runs or self._ended) and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._go_on())

    async def _go_on(self) -> None:
        """While there is somebody to look after: all that run as often as is said, and each once more when it has ended."""
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY
        try:
            while self._runs or self._ended:
                with suppress(TimeoutError):
                    async with asyncio.timeout(due - loop.time()):
                        await self._wake.wait()
                self._wake.clear()
                names, self._ended = self._ended, set()
                if loop.time() >= due:
                    names, due = names | self._runs, loop.time() + EVERY
                for worker in filter(None, map(self._find, sorted(names))):
                    if _keeps(worker) and worker.state in {State.RUNNING, *AT_REST}:
                        await self.prune(worker)
        finally:
            self._task = None

    async def prune(self, worker: Worker) -> None:
        """Once, now."""
        looked = await prune(self._driver(), worker)
        text = ""
        if looked.problem:
            text = f"its old checkpoints could not be removed: {looked.problem}"
        elif looked.seen["removed"]:
            text = f"old checkpoints were removed: {looked.seen['removed']}, {format_size(looked.seen['bytes'])}"
        if text:
            self._post(ev.Noted(worker.name, "pruned", text, None))

    def close(self) -> None:
        """The daemon leaves."""
        if self._task is not None:
            with suppress(RuntimeError):
                self._task.cancel()


def _keeps(worker: Worker) -> bool:
    """Whether only some of its checkpoints are kept; 0 stands for all."""
    return worker.spec.checkpoints is not None and worker.spec.checkpoints.keep > 0
