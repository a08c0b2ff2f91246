"""What comes between the decision to start a run and its start: its work tree is kept, its checkpoints are looked for.

The intent is on disk before, what was found is on disk after, and only then the executor is asked. A crash in between, of
whatever, leads to the same being done again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rdagentd.core import checkpoints as core
from rdagentd.core import events as ev
from rdagentd.core.endings import NEVER
from rdagentd.drivers.base import Driver
from rdagentd.model.checkpoints import Found
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.worker import Worker
from rdagentd.supervisor.looks import checkpoints, look, since

log = logging.getLogger(__name__)


class Preparing:
    """driver: whom to ask; post: takes events."""

    def __init__(self, driver: Callable[[], Driver], post: Callable[[ev.Event], None]) -> None:
        self._driver = driver
        self._post = post
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}

    def begin(self, worker: Worker) -> None:
        """Prepares `worker.run`; asked for again, it begins anew."""
        assert worker.run is not None
        run = worker.run.id
        if run in self._tasks:
            self._tasks.pop(run)[1].cancel()
        task = asyncio.get_running_loop().create_task(self._prepare(worker, run))
        self._tasks[run] = worker.name, task
        task.add_done_callback(lambda done: self._done(worker.name, run, done))

    def stop(self, run: str) -> bool:
        """The run is not to begin; False if it is not being prepared."""
        if run not in self._tasks:
            return False
        name, task = self._tasks.pop(run)
        task.cancel()
        self._post(ev.RunExited(name, run, Exit(ExitKind.LOST, reason=NEVER)))
        return True

    def _done(self, name: str, run: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run, (None, None))[1] is task:
            del self._tasks[run]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("defect: cannot prepare a run of %s", name, exc_info=error)
            self._refuse(name, run, "prepare", "a defect in the daemon; its log tells more")

    def _refuse(self, name: str, run: str, stage: str, problem: str) -> None:
        reason = f"could not start: {stage}: {problem}"
        self._post(ev.RunExited(name, run, Exit(ExitKind.COULD_NOT_START, stage=stage, reason=reason)))

    async def _prepare(self, worker: Worker, run: str) -> None:
        stage, problem, found = "snapshot", "", None
        if worker.spec.snapshot.git:
            wanted = {"directory": worker.spec.directory, "run": run}
            problem = (await look(self._driver(), worker, "bundle", wanted, snapshots=True)).problem
        if not problem and core.goes_on(worker):
            stage = "checkpoints"
            found, problem = await self._find(worker)
        if self._driver().facts() is None:  # asked for again once there is an executor
            return
        if problem:
            self._refuse(worker.name, run, stage, problem)
        else:
            self._post(ev.Prepared(worker.name, run, found))

    async def _find(self, worker: Worker) -> tuple[tuple[Found, ...], str]:
        """Those of its present life, or the one that somebody has chosen; or why that cannot be."""
        whole = core.wanted(worker.setbacks)
        found, problem = await checkpoints(self._driver(), worker, whole=whole, one=worker.chosen)
        if worker.chosen is None:
            return tuple(one for one in found if one.checkpoint.at >= since(worker)), problem
        why = problem or (found[0].problem if found else "no such checkpoint")
        return tuple(found), f"{worker.chosen}: {why}" if why else ""
