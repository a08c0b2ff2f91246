"""What workers tell by the rules of their specs: begins with a run, and is at its end before that is decided about."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path

from attrs import define, field

from rdagentd.core.events import Event
from rdagentd.drivers.base import Assisted, Driver, EndedRun, Errand
from rdagentd.model.container import DriverName
from rdagentd.model.reporters import ASKED, Reporter, Source
from rdagentd.model.run import Run
from rdagentd.model.worker import LIVE, State, Worker
from rdagentd.protocol.segments import STREAMS
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.log_feed import Feed, LogFeed
from rdagentd.supervisor.told import LogRules, Told

log = logging.getLogger(__name__)

LAST_LOOK = 10.0
"""Seconds that the end of a run waits for what it still has to tell."""

ASKING = 10.0
"""Seconds in which an assistant must have its answers."""

_BEFORE = 0.02
"""Seconds by which the time of a file may lie before that of the run: the kernel's clock for files goes in ticks."""


@define(eq=False)
class _Watched:
    """A run that is listened to."""

    worker: Worker
    run: str
    reporters: tuple[Reporter, ...] = ()
    feeds: dict[str, Feed] = field(factory=dict)
    asker: asyncio.Task[None] | None = None


class Reporters:
    """logs: directories of captured output, by driver. workers: those that there are, by name."""

    def __init__(
        self,
        post: Callable[[Event], None],
        driver: Callable[[], Driver],
        hub: Hub,
        logs: Mapping[DriverName, Path],
        workers: Mapping[str, Worker],
    ) -> None:
        self._post = post
        self._driver = driver
        self._logs = logs
        self._workers = workers
        self._feed = LogFeed(post, driver, hub)
        self._watched: dict[str, _Watched] = {}
        self._ending: dict[str, tuple[str, asyncio.Task[None]]] = {}

    # --- a run lives --------------------------------------------------------------------------------------------------

    def follow(self, worker: Worker) -> None:
        """The worker is like this now."""
        known, run = self._watched.get(worker.name), worker.run
        if known is not None and (run is None or known.run != run.id or worker.state not in LIVE):
            self._leave(known)
            known = None
        if run is None or worker.state not in LIVE or self._ending.get(worker.name, ("",))[0] == run.id:
            return  # of a run that ends all has been told, and what is kept of it may lie behind that
        if known is None and worker.spec.reporters:
            known = self._watched[worker.name] = _Watched(worker, run.id)
        if known is not None:
            self._moved(known, run, worker)

    def _moved(self, known: _Watched, run: Run, worker: Worker) -> None:
        before, known.worker = known.worker, worker
        if known.reporters is not worker.spec.reporters:
            self._ruled(known, worker.spec.reporters)
        if not known.feeds:
            self._read(known, run, run.log_start)
        if worker.state is State.STOPPING and before.state is not State.STOPPING and known.asker is not None:
            self._set_asker(known, self._ask(known, ASKED, last=False))  # while there is somebody to answer

    def _ruled(self, known: _Watched, reporters: tuple[Reporter, ...]) -> None:
        """Other rules, from where it has been read; what is posted and not kept yet is not to be read again."""
        known.reporters = reporters
        for feed in known.feeds.values():
            feed.rules = LogRules.of(reporters)
        asks = any(reporter.source in ASKED for reporter in reporters)
        self._set_asker(known, self._ask_on(known) if asks else None)

    def _set_asker(self, known: _Watched, asker: Coroutine[None, None, None] | None) -> None:
        if known.asker is not None:
            known.asker.cancel()
        known.asker = None if asker is None else asyncio.get_running_loop().create_task(asker)

    def forget(self, name: str) -> None:
        """The worker is gone."""
        self._ending.pop(name, None)

    def _leave(self, watched: _Watched) -> None:
        self._watched.pop(watched.worker.name, None)
        for feed in watched.feeds.values():
            self._feed.drop(feed)
        self._set_asker(watched, None)

    def _read(self, watched: _Watched, run: Run, starts: Mapping[str, int]) -> None:
        """Reads its log, from where that was kept, if it has rules for it and is known to have begun."""
        rules = LogRules.of(watched.reporters)
        if not rules.rules:
            return
        spec = watched.worker.spec
        for stream in STREAMS if spec.log.separate else STREAMS[:1]:
            offset = run.reading.log.get(stream, starts.get(stream))
            if offset is not None:
                place = self._logs[spec.driver] / spec.name
                watched.feeds[stream] = self._feed.begin(run, place, stream, rules, offset)

    # --- a run ends ---------------------------------------------------------------------------------------------------

    def at_end(self, ended: EndedRun, then: Callable[[], None]) -> None:
        """Calls `then` when all that the run has told is posted; at once if nobody listened, not at all if it is under way."""
        run, task = self._ending.get(ended.worker, ("", None))
        if run == ended.run and task is not None and not task.done():
            return
        watched = self._watched.get(ended.worker)
        if watched is None or watched.run != ended.run:
            then()
            return
        task = asyncio.get_running_loop().create_task(self._end(watched, ended, then))
        self._ending[ended.worker] = (ended.run, task)

    async def _end(self, watched: _Watched, ended: EndedRun, then: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(LAST_LOOK):
                await self._last_look(watched, ended)
        except TimeoutError:
            text = f"what it told last could not be read within {LAST_LOOK:g} s"
            self._tell(watched, Told(errors=1, trouble=text), "reporters")
        except Exception:
            log.exception("defect: cannot take up what %s told last", ended.worker)
        finally:
            self._leave(watched)
            then()

    async def _last_look(self, watched: _Watched, ended: EndedRun) -> None:
        worker = self._workers.get(ended.worker)
        if not watched.feeds and ended.started is not None and worker is not None and worker.run is not None:
            self._read(watched, worker.run, ended.started.log)  # nobody was there to hear that it began
        last = []
        for stream, feed in watched.feeds.items():  # of a lost run nobody says where its output ends
            end = ended.log.get(stream)
            last.append(
                self._feed.finish(feed, (await asyncio.to_thread(feed.reader.bounds))[1] if end is None else end)
            )
        if any(reporter.source is Source.JSON for reporter in watched.reporters):
            self._set_asker(watched, None)
            await self._ask(watched, {Source.JSON}, last=True)
        await asyncio.gather(*last)

    def _tell(self, watched: _Watched, told: Told, source: str) -> None:
        if told.anything:
            self._post(told.event(watched.worker.name, watched.run, source, {}))

    # --- what must be asked -------------------------------------------------------------------------------------------

    async def _ask_on(self, watched: _Watched) -> None:
        """Asks as often as the reporter says that wants it most often; a paused worker is left alone."""
        every = min(reporter.every for reporter in watched.reporters if reporter.source in ASKED)
        while True:
            await asyncio.sleep(every)
            if watched.worker.state is State.RUNNING:
                await self._ask(watched, ASKED, last=False)

    async def _ask(self, watched: _Watched, sources: Iterable[Source], *, last: bool) -> None:
        """last: what is not there now never will be."""
        chosen = [reporter for reporter in watched.reporters if reporter.source in sources]
        files = [reporter for reporter in chosen if reporter.source is Source.JSON]
        metrics = [reporter for reporter in chosen if reporter.source is Source.PROMETHEUS]
        run = watched.worker.run
        wanted = {
            "files": [(reporter.file, reporter.path, reporter.add) for reporter in files],
            "metrics": [(reporter.url, reporter.metric) for reporter in metrics],
            "since": (run.started_at or 0.0) - _BEFORE if run else 0.0,
        }
        command = (sys.executable, "-I", "-m", "rdagentd.look", "told", json.dumps(wanted))
        found = await self._driver().assist(watched.worker, Errand(command, ASKING, 256 << 10))
        told = Told()
        try:
            answers = _answers(found, len(chosen))
        except ValueError as error:
            told.wrong(f"cannot ask what it tells: {error}")
            answers = []
        for reporter, (value, trouble) in zip([*files, *metrics], answers, strict=False):
            _take(told, reporter, value, trouble, last)
        self._tell(watched, told, "reporters")


def _answers(found: Assisted, count: int) -> list[tuple[float | str | None, str]]:
    """What an assistant says, who was a process of the worker's user: checked. Raises ValueError."""
    if found.code != 0:
        raise ValueError(found.reason or found.output[-200:].decode(errors="replace").strip())
    answers = json.loads(found.output)
    if not isinstance(answers, list) or len(answers) != count or not all(map(_is_answer, answers)):
        raise ValueError("it answers something else")
    return answers


def _is_answer(answer: object) -> bool:
    return (
        isinstance(answer, list)
        and len(answer) == 2
        and isinstance(answer[0], str | int | float | None)
        and isinstance(answer[1], str)
    )


def _take(told: Told, reporter: Reporter, value: float | str | None, trouble: str, last: bool) -> None:
    if trouble:
        told.wrong(trouble)
    elif value is None:
        if last:
            told.wrong(f"there is no file {reporter.file} of this run")
    elif reporter.source is Source.PROMETHEUS:
        try:
            told.values[reporter.measure] = summed(str(value), str(reporter.metric))
        except ValueError as error:
            told.wrong(f"cannot read {reporter.metric} of {reporter.url}: {error}")
    else:
        told.values[reporter.measure] = value


def summed(lines: str, metric: str) -> float:
    """All series of a metric, in Prometheus's text format. Raises ValueError."""
    from prometheus_client.parser import text_string_to_metric_families  # most daemons need none of it

    families = text_string_to_metric_families(lines)
    return float(sum(sample.value for family in families for sample in family.samples if sample.name == metric))
