"""Finds out how much runs write, where there is a budget of output: the driver is asked to say when a log is so long.

How much a run may write before something is to be decided is known. A piece of that is watched for in each of its streams,
and when one has it, the next. So who writes little is never looked at, and a budget is exceeded by little more than a piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from attrs import Factory, define

from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.drivers.base import Driver
from rdagentd.model.run import log_bytes
from rdagentd.model.worker import State, Worker

LEAST = 1024
"""Bytes of the least piece that is watched for, where several streams or runs share what is left."""


@define(eq=False)
class _Metered:
    """ends: of its streams, as far as they are known; None: nobody has told yet."""

    worker: Worker
    ends: dict[str, int] | None = None
    watched: dict[str, int] = Factory(dict)

    @property
    def run(self) -> str:
        """Its id."""
        return self.worker.run.id if self.worker.run else ""


class Meter:
    """post: takes what is found."""

    def __init__(self, post: Callable[[ev.Event], None], engine: Engine, driver: Callable[[], Driver]) -> None:
        self._post = post
        self._engine = engine
        self._driver = driver
        self._runs: dict[str, _Metered] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, worker: Worker) -> None:
        """The worker is like this now."""
        name, run = worker.name, worker.run
        room = (
            None if run is None or worker.state not in (State.RUNNING, State.PAUSED) else self._engine.log_room(worker)
        )
        if run is None or room is None:
            self._runs.pop(name, None)
            return
        known = self._runs.get(name)
        if known is None or known.run != run.id:
            self._runs[name] = _Metered(worker)
            self._ask([name])
            return
        wrote, known.worker = known.worker.wrote, worker
        others = self._runs.values() if worker.wrote != wrote else ()  # what one has written is not left to the others
        for one in (known, *others):
            self._watch(one)

    def again(self, workers: Iterable[Worker]) -> None:
        """The executor has forgotten what was watched for: all are asked for anew. These are all workers."""
        self._runs.clear()
        for worker in workers:
            self.follow(worker)

    def grew(self, worker: str, stream: str, end: int) -> None:
        """A log is told to have grown, whoever watched it."""
        known = self._runs.get(worker)
        if known is None or known.ends is None:
            return
        known.ends[stream] = max(end, known.ends.get(stream, 0))
        if end > known.watched.get(stream, end):
            self._ask(list(self._runs))
        elif stream in known.watched:  # somebody else watches it more closely
            self._driver().watch(worker, stream, known.watched[stream])

    def _ask(self, names: Sequence[str]) -> None:
        task = asyncio.get_running_loop().create_task(self._look(names))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, names: Sequence[str]) -> None:
        """Who is over, or whose driver does not answer, is asked again when there is one that does."""
        runs = {known.run: known for name in names if (known := self._runs.get(name)) is not None}
        for run, used in (await self._driver().usage(list(runs))).items():
            known = runs[run]
            if self._runs.get(known.worker.name) is known:
                known.ends = dict(used["log"])
                self._tell(known)
                self._watch(known)

    def _tell(self, known: _Metered) -> None:
        assert known.ends is not None
        assert known.worker.run is not None
        wrote = log_bytes(known.worker.run, known.ends)
        if wrote > known.worker.wrote:
            self._post(ev.Metered(known.worker.name, known.run, wrote=wrote))

    def _watch(self, known: _Metered) -> None:
        """Has the driver say when the next piece is written."""
        room, run = self._engine.log_room(known.worker), known.worker.run
        if room is None or not known.ends or run is None:
            return
        left = max(0, known.worker.wrote + room - log_bytes(run, known.ends))
        piece = (
            left
            if len(known.ends) == 1 and self._engine.log_is_own(known.worker)
            else max(LEAST, left // len(known.ends))
        )
        for stream, end in known.ends.items():
            if known.watched.get(stream) != end + piece:
                known.watched[stream] = end + piece
                self._driver().watch(known.worker.name, stream, end + piece)
