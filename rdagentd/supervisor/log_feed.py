"""Reads the logs of runs for what they tell: one piece of one log after the other, and never long at a stretch.

A log is looked at when its driver says that it grew, and then no more for a moment, so that much output makes few events. How
far it has been read goes into the event with what was found there, and so into one transaction: after a crash it goes on where
what is kept ends. Only whole lines are read; the offset is always behind one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from rdagentd.core.events import Reported
from rdagentd.drivers.base import Driver
from rdagentd.model.pattern import LINE
from rdagentd.model.run import Run
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.logs import LogReader
from rdagentd.supervisor.told import LogRules, Told

log = logging.getLogger(__name__)

PIECE = 512 << 10
"""Bytes read at a time."""

SLICE = 0.002
"""Seconds after which others have their turn."""

PAUSE = 0.1
"""Seconds between two looks at a log that grows on and on, and between two events of it."""

KEPT = 4 << 20
"""Bytes without anything told after which it is kept all the same how far was read."""

_ENDS = (b"\n", b"\r")


@define(eq=False)
class Feed:
    """One stream of a run. offset: behind the last line that was read; kept: where the last event said so; seen: end of what
    was looked at. end: where the run's output ends, once that is known. partial: the line at `offset` began before it, and is
    lost.
    """

    worker: str
    run: str
    stream: str
    reader: LogReader
    rules: LogRules
    offset: int
    kept: int = field(init=False)
    seen: int = field(init=False)
    end: int | None = None
    told: Told = field(factory=Told)
    told_at: float = 0.0
    partial: bool = False
    queued: bool = False
    over: bool = False
    growth: asyncio.Future[None] | None = None
    timer: asyncio.TimerHandle | None = None
    done: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())

    def __attrs_post_init__(self) -> None:
        self.kept = self.seen = self.offset


class LogFeed:
    """All feeds. post: takes what is told."""

    def __init__(self, post: Callable[[Reported], None], driver: Callable[[], Driver], hub: Hub) -> None:
        self._post = post
        self._driver = driver
        self._hub = hub
        self._queue: deque[Feed] = deque()
        self._task: asyncio.Task[None] | None = None

    # --- what is read -------------------------------------------------------------------------------------------------

    def begin(self, run: Run, place: Path, stream: str, rules: LogRules, offset: int) -> Feed:
        """Reads this stream from there on. place: the directory of the worker's log."""
        feed = Feed(run.worker, run.id, stream, LogReader(place / stream), rules, offset)
        self._wake(feed)
        return feed

    def finish(self, feed: Feed, end: int) -> asyncio.Future[None]:
        """The run is over, its output ends there: done when that was read and told."""
        feed.end = end
        self._wake(feed)
        return feed.done

    def drop(self, feed: Feed) -> None:
        """Reads it no more."""
        feed.over = True
        self._unwatch(feed)
        if not feed.done.done():
            feed.done.set_result(None)

    def _wake(self, feed: Feed) -> None:
        self._unwatch(feed)
        if not feed.queued and not feed.over:
            feed.queued = True
            self._queue.append(feed)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._queue:
            feed = self._queue.popleft()
            feed.queued = False
            try:
                more = not feed.over and await self._piece(feed)
            except Exception:
                log.exception("defect: cannot read the log of %s for what it tells; it is left", feed.worker)
                self.drop(feed)
                continue
            if feed.queued or feed.over:
                continue
            if more:
                self._wake(feed)
            else:
                self._rest(feed)
        self._task = None

    async def _piece(self, feed: Feed) -> bool:
        """Reads on; whether there may be more."""
        end = feed.end  # as it is known before the log is looked at: else what is written meanwhile would seem lost
        try:
            begin, data = await asyncio.to_thread(feed.reader.read, feed.offset, PIECE)
        except OSError as error:
            feed.told.wrong(f"cannot read its log: {error.strerror}")
            return False
        if end is not None:
            data = data[: max(0, end - begin)]
            begin = begin if data else max(feed.offset, end)
        if begin > feed.offset:
            self._lost(feed, begin)
        progress = feed.offset + len(data) > feed.seen
        feed.seen = max(feed.seen, feed.offset + len(data))
        await self._read(feed, data[: _whole(data, end is not None and feed.seen >= end)])
        now = time.monotonic()
        if now - feed.told_at >= PAUSE and (feed.told.anything or feed.offset - feed.kept >= KEPT):
            self._tell(feed, now)
        return progress

    def _lost(self, feed: Feed, begin: int) -> None:
        """What is missing in between has been dropped by the log's cap, or was never written."""
        feed.told.wrong(f"{begin - feed.offset} bytes of its output were dropped before they could be read")
        feed.offset, feed.partial = begin, True

    async def _read(self, feed: Feed, data: bytes) -> None:
        """Takes whole lines. Whoever reads along sees the offset move with the last of them."""
        start = _first_line(data) if feed.partial and data else 0
        until = time.perf_counter() + SLICE
        for _ in feed.rules.read(data[start:] if start else data, feed.told):
            if time.perf_counter() >= until:
                await asyncio.sleep(0)
                until = time.perf_counter() + SLICE
        feed.partial = feed.partial and start == len(data)
        feed.offset += len(data)

    def _tell(self, feed: Feed, now: float) -> None:
        if feed.over:
            return
        told, feed.told, feed.told_at, feed.kept = feed.told, Told(), now, feed.offset
        self._post(told.event(feed.worker, feed.run, f"log {feed.stream}", {feed.stream: feed.offset}))

    # --- resting ------------------------------------------------------------------------------------------------------

    def _rest(self, feed: Feed) -> None:
        """All that is there has been read."""
        if feed.end is not None and feed.offset >= feed.end:
            if feed.told.anything or feed.kept != feed.offset:
                self._tell(feed, time.monotonic())
            self.drop(feed)
            return
        feed.timer = asyncio.get_running_loop().call_later(PAUSE, self._watch, feed)

    def _watch(self, feed: Feed) -> None:
        """Waits until it grows. Costs nothing until then."""
        feed.timer = None
        if feed.told.anything:
            self._tell(feed, time.monotonic())
        feed.growth = self._hub.growth(feed.worker, feed.stream)
        feed.growth.add_done_callback(lambda growth: None if growth.cancelled() else self._wake(feed))
        self._driver().watch(feed.worker, feed.stream, feed.seen)

    def _unwatch(self, feed: Feed) -> None:
        if feed.timer is not None:
            feed.timer.cancel()
            feed.timer = None
        if feed.growth is not None:
            self._hub.no_growth(feed.worker, feed.stream, feed.growth)
            feed.growth = None


def _whole(data: bytes, last: bool) -> int:
    """Length of the whole lines. last: the end of the data is the end of a line. A line that is too long is cut."""
    if last:
        return len(data)
    end = max(data.rfind(byte) for byte in _ENDS) + 1
    return end if len(data) - end < LINE else len(data)


def _first_line(data: bytes) -> int:
    """Where the first line begins that has its beginning."""
    found = [place for place in (data.find(byte) for byte in _ENDS) if place >= 0]
    return min(found) + 1 if found else len(data)
