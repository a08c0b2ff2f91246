"""Looks after the directories of workers that run: measures and sweeps them, one at a time, and tells who exceeds a quota."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Factory, define

from rdagentd.core import events as ev
from rdagentd.core.space import Look, is_due, look
from rdagentd.model.directories import CacheDirectory
from rdagentd.model.size import format_size
from rdagentd.model.worker import State, Worker

TICK = 5.0
"""Seconds between two looks at how full the file system is, while a worker runs that has a quota or a cache."""

REST = 9.0
"""Times as long as a look took nobody is looked at, however many are due; a `TICK` at most."""

Tend = Callable[[str, CacheDirectory | None], bool]


@define(eq=False)
class _Watched:
    worker: Worker
    run: str
    last: Look | None = None
    used: Mapping[str, int] = Factory(dict)


class Space:
    """tend: asks for the directories of a worker to be looked after; False if nobody can be asked. home: where they are.

    counts: whether a budget is for what those of a worker hold.
    """

    def __init__(
        self,
        post: Callable[[ev.Event], None],
        tend: Tend,
        home: Callable[[], str | None],
        counts: Callable[[Worker], bool] = lambda worker: False,
    ) -> None:
        self._post = post
        self._counts = counts
        self._tend = tend
        self._home = home
        self._watched: dict[str, _Watched] = {}
        self._asked: str | None = None
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, worker: Worker) -> None:
        """The worker is like this now. A run that has just begun is looked at soon: it may have inherited too much."""
        name, run = worker.name, worker.run
        wanted = worker.spec.cache is not None or worker.spec.state is not None
        if not (wanted and run is not None and worker.state is State.RUNNING):
            self._watched.pop(name, None)
            return
        known = self._watched.get(name)
        if known is None or known.run != run.id:
            self._watched[name] = _Watched(worker, run.id)
            self._arm(0)
        else:
            known.worker = worker

    def again(self, workers: Iterable[Worker]) -> None:
        """There is an executor again: what was asked before is forgotten; these are all workers."""
        self._asked = None
        for worker in workers:
            self.follow(worker)
        self._arm(0)

    def used(self, name: str) -> Mapping[str, int]:
        """What the directories of a worker that runs hold, in bytes, by kind; nothing while nobody has looked."""
        known = self._watched.get(name)
        return known.used if known else {}

    def tended(self, found: Mapping[str, Any]) -> None:
        """What was found: used (bytes by kind), removed (files, bytes), took (seconds), or a problem."""
        name, self._asked = found["worker"], None
        used, known = found.get("used", {}), self._watched.get(name)
        self._tell(name, found)
        if known is not None:
            known.used = used or known.used
            known.last = look(known.last, sum(used.values()), self._free(), found.get("took", TICK), time.monotonic())
            if used and self._counts(known.worker):
                self._post(ev.Metered(name, known.run, disk=sum(used.values())))
            quota = known.worker.spec.state.quota if known.worker.spec.state else None
            if quota is not None and used.get("state", 0) > quota:
                self._post(ev.QuotaExceeded(name, known.run, used["state"], quota))
        self._arm(min(TICK, REST * found.get("took", 0.0)))

    def _tell(self, name: str, found: Mapping[str, Any]) -> None:
        files, size = found.get("removed", (0, 0))
        if found["problem"]:
            self._post(ev.Noted(name, "unmeasured", f"cannot look after its directories: {found['problem']}", None))
        elif files:
            text = f"unused files of its cache were removed: {files}, {format_size(size)}"
            self._post(ev.Noted(name, "swept", text, None))

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            return
        self._arm(TICK)
        if self._asked is None:
            now, free = time.monotonic(), self._free()
            due = [known for known in self._watched.values() if is_due(known.last, _quota(known.worker), free, now)]
            longest = min(due, key=lambda known: known.last.at if known.last else 0.0, default=None)
            if longest is not None and self._tend(longest.worker.name, longest.worker.spec.cache):
                self._asked = longest.worker.name

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _free(self) -> int | None:
        home = self._home()
        try:
            found = os.statvfs(home) if home else None
        except OSError:
            return None
        return found.f_bfree * found.f_frsize if found else None


def _quota(worker: Worker) -> int | None:
    """What must not be exceeded, and is the sooner looked at the nearer it may be."""
    limits = (worker.spec.state.quota if worker.spec.state else None, worker.spec.budgets.disk)
    return min((limit for limit in limits if limit is not None), default=None)
