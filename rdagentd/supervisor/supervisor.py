"""The supervisor: events in, one at a time; decided, kept, then carried out.

Whatever is waiting when the loop turns becomes one batch: the engine decides each, all that must be kept goes into one
transaction, and when that is on disk the other effects are carried out and the askers answered. One batch is under way at a
time, so the order of events is the order of effects. If a batch cannot be kept, the engine takes it back: who asked is told
why, and what merely happened is taken up again later. Only a daemon that takes its workers along does not wait for the disk:
whoever stops it means it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from attrs import define

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import BEHIND, Engine
from rdagentd.drivers.base import Driver, EndedRun, HeldRun
from rdagentd.model.container import DriverName
from rdagentd.model.health import Check
from rdagentd.model.worker import Worker
from rdagentd.protocol.errors import INTERNAL, UNAVAILABLE, ProtocolError
from rdagentd.store.codec import encode_circuits
from rdagentd.store.store import Store
from rdagentd.store.writes import AddEvent, ForgetWorker, SaveRun, SaveSpec, SaveWorker, SetMeta, Write
from rdagentd.supervisor.failpoint import failpoint
from rdagentd.supervisor.happenings import Happenings
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.notices import events_of
from rdagentd.supervisor.pictures import Pictures
from rdagentd.supervisor.preparing import Preparing
from rdagentd.supervisor.probes import Answer
from rdagentd.supervisor.rows import Rows
from rdagentd.supervisor.tallies import kept
from rdagentd.supervisor.timers import Timers

log = logging.getLogger(__name__)

_BATCH = 256
"""Most events decided before they are kept: bounds how long the loop is busy at a stretch."""

_HOUR, _DAY = 3600.0, 86400.0

_RETRY = 1.0
"""Seconds until a batch that could not be kept is tried again."""


EPOCHS = {DriverName.PROCESS: "executor_epoch", DriverName.DOCKER: "docker_epoch"}
"""Under which name the epoch of a driver is kept."""


@define(eq=False)
class _Item:
    """event None: only the meta is to be kept."""

    event: ev.Event | None
    answer: asyncio.Future[None] | None = None
    meta: SetMeta | None = None
    refused: fx.Refused | None = None


class Supervisor:
    """Owns the engine, the store and the driver while the daemon lives."""

    def __init__(
        self, engine: Engine, store: Store, hub: Hub, epochs: Mapping[DriverName, str], forgetting: Iterable[str] = ()
    ) -> None:
        self.engine = engine
        self.store = store
        self.hub = hub
        self.timers = Timers(self.post)
        self.driver: Driver
        self.since = time.monotonic()
        self.store_error: str | None = None
        self.happened = Happenings()
        self.on_change: Callable[[], None] = lambda: None
        self.on_docker: Callable[[], None] = lambda: None
        self.on_socket: Callable[[], None] = lambda: None
        self.on_look: Callable[[float], None] = lambda at: None
        self.on_spawn: Callable[[Worker], None] = self._spawn_now
        self.preparing = Preparing(lambda: self.driver, self.post)
        self.on_worker: Callable[[Worker], None] = lambda worker: None
        self.on_forgotten: Callable[[str], None] = lambda name: None
        self.at_end: Callable[[EndedRun, Callable[[EndedRun], None]], None] = lambda run, then: then(run)
        self.on_executor: Callable[[], None] = lambda: None
        self.on_probe: Callable[[fx.Probe], None] = lambda effect: None
        self.answers: Callable[[str], Mapping[Check, Sequence[Answer]]] = lambda name: {}
        self.on_grew: Callable[[str, str, int], None] = lambda worker, stream, end: None
        self.pictures: Pictures
        self.disk: Callable[[str], Mapping[str, int]] = lambda name: {}
        self.rows: Rows
        self._epochs = dict(epochs)
        self._forgetting = set(forgetting)
        self._forgetting_kept = self._forgetting_text()
        self._unsettled: Counter[DriverName] = Counter()
        self._queue: deque[_Item] = deque()
        self._busy = False
        self._batch_since = 0.0
        self._all_kept = asyncio.Event()
        self._all_kept.set()
        self._insists = False
        self._day = -1
        self._loop = asyncio.get_running_loop()

    def begin(self, effects: Sequence[fx.Effect], meta: SetMeta) -> None:
        """Keeps and carries out what taking up the workers led to. Blocks; raises StoreError."""
        self.store.commit([*_writes(effects, time.time()), meta]).result()
        self.happened.begin(self.engine.workers.values())
        self._do(effects)
        self._look_at_the_date()

    # --- in -----------------------------------------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Something happened."""
        self._add(_Item(event))

    def ask(self, event: ev.Event) -> asyncio.Future[None]:
        """Something is asked for: done when it is on disk; raises ProtocolError if it is refused or cannot be kept."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._add(_Item(event, answer))
        return answer

    async def all_kept(self) -> None:
        """Returns when nothing is seen of workers that may yet be taken back, since it is not on disk."""
        await self._all_kept.wait()

    @property
    def stuck(self) -> float:
        """Seconds for which the batch that is under way has waited to be kept; 0 if none is."""
        return time.monotonic() - self._batch_since if self._batch_since else 0.0

    def _add(self, item: _Item) -> None:
        self._queue.append(item)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._decide)

    # --- decide, keep, do ---------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
        if not batch:
            self._busy = False
            return
        now, wall = time.monotonic(), time.time()
        if int(wall // _DAY) != self._day:  # before all that happens on it
            self._day = int(wall // _DAY)
            batch.insert(0, _Item(ev.DayBegan(self._day)))
        self._batch_since = now
        self._insists = self.engine.draining or isinstance(batch[0].event, ev.DrainRequested)
        effects = self._decide_all(batch, now)
        writes = _writes(effects, wall)
        writes += [item.meta for item in batch if item.meta]
        if writes:
            writes += self._keep_forgetting(effects)
            self._all_kept.clear()
            future = self.store.commit(writes)
            future.add_done_callback(
                lambda done: self._loop.call_soon_threadsafe(self._kept, batch, effects, writes, done)
            )
        else:
            self._batch_since = 0.0
            self._carry_out(batch, effects, [], [])

    def _look_at_the_date(self) -> None:
        """At midnight, UTC, though nothing else happens; and each hour, for a clock can be set, and a host sleep."""
        if int(time.time() // _DAY) != self._day:
            self._add(_Item(None))
        self._loop.call_later(min(_HOUR, _DAY - time.time() % _DAY + 0.01), self._look_at_the_date)

    def _keep_forgetting(self, effects: Sequence[fx.Effect]) -> list[SetMeta]:
        """Which logs the executor has not confirmed to be gone, if that is not what was kept last."""
        text = self._forgetting_text(effect.worker for effect in effects if isinstance(effect, fx.Forget))
        changed, self._forgetting_kept = text != self._forgetting_kept, text
        return [SetMeta("forgetting", text)] if changed else []

    def _forgetting_text(self, more: Iterable[str] = ()) -> str:
        return " ".join(sorted(self._forgetting.union(more)))

    def _decide_all(self, batch: list[_Item], now: float) -> list[fx.Effect]:
        """Effects of the whole batch. An event that the engine cannot take is dropped from it: the others must go on."""
        while True:
            self.engine.mark()
            effects: list[fx.Effect] = []
            for item in batch:
                try:
                    decided = self.engine.handle(item.event, now) if item.event is not None else []
                except Exception:
                    log.exception("defect: cannot decide about %s; it is dropped", type(item.event).__name__)
                    self.engine.rollback()
                    batch.remove(item)
                    if isinstance(item.event, ev.ExecutorConnected):
                        self._unsettled[item.event.driver] -= 1
                    if item.answer is not None and not item.answer.done():
                        text = "cannot answer: a defect in the daemon; its log tells more"
                        item.answer.set_exception(ProtocolError(INTERNAL, text))
                    break
                item.refused = next((effect for effect in decided if isinstance(effect, fx.Refused)), None)
                effects += decided
            else:
                return effects

    def _kept(self, batch: list[_Item], effects: list[fx.Effect], writes: list[Write], done: Future[list[int]]) -> None:
        self._batch_since = 0.0
        self._all_kept.set()  # whoever waits goes on after this turn of the loop, and before the next batch
        error = done.exception()
        if error is not None:
            self._not_kept(batch, effects, error)
            return
        if self.store_error is not None:
            log.info("the state database can be written again")
            self.store_error = None
        self._carry_out(batch, effects, writes, done.result())

    def _not_kept(self, batch: list[_Item], effects: list[fx.Effect], error: BaseException) -> None:
        first, self.store_error = self.store_error is None, str(error)
        self._forgetting_kept = "unknown"
        if self._insists and not any(item.answer for item in batch):
            if first:
                log.error("%s; leaving all the same: the next daemon judges the runs by how they ended", error)
            self._carry_out(batch, [effect for effect in effects if not isinstance(effect, _PROMISES)], [], [])
            return
        if first:
            log.error("%s; nothing is started or stopped until it can be kept", error)
        self._take_back(batch, error)

    def _take_back(self, batch: list[_Item], error: BaseException) -> None:
        """Nothing of the batch was kept, so nothing of it has happened."""
        self.engine.rollback()
        for item in batch:
            if item.answer is not None and not item.answer.done():
                item.answer.set_exception(ProtocolError(UNAVAILABLE, str(error)))
        again = [item for item in batch if item.answer is None]
        if not again and not self._queue:  # something small to try with, so that it is known when the trouble is over
            again = [_Item(None, meta=SetMeta("tried_at", str(time.time())))]
        self._queue = deque(sorted([*again, *self._queue], key=_is_no_drain))
        self._loop.call_later(_RETRY, self._decide)
        self.on_change()

    def _carry_out(
        self, batch: list[_Item], effects: list[fx.Effect], writes: Sequence[Write], seqs: Sequence[int]
    ) -> None:
        self._do(effects)
        if self.hub.listened:
            self._tell(writes, seqs)
        for item in batch:
            _answer(item)
        self.on_change()
        if self._queue:
            self._loop.call_soon(self._decide)
        else:
            self._busy = False

    def _do(self, effects: Sequence[fx.Effect]) -> None:
        for effect in effects:
            does = _DOES.get(type(effect))
            if does is not None:
                failpoint(_POINTS.get(type(effect), ""))
                try:
                    does(self, effect)
                except Exception:  # one effect that fails must not hold up all that comes after it
                    log.exception("defect: cannot carry out %s", type(effect).__name__)

    def _tell(self, writes: Sequence[Write], seqs: Sequence[int]) -> None:
        stories = [write for write in writes if isinstance(write, AddEvent)]
        for seq, story in zip(seqs, stories, strict=True):
            self.hub.told(
                {
                    "seq": seq, "at": story.at, "worker": story.worker, "run": story.run, "kind": story.kind,
                    "text": story.text, "by": story.by, "data": dict(story.data),
                }
            )  # fmt: skip

    # --- the driver tells ---------------------------------------------------------------------------------------------

    def connected(
        self,
        epoch: str,
        runs: Sequence[HeldRun],
        ended: Sequence[EndedRun],
        driver: DriverName = DriverName.PROCESS,
    ) -> None:
        """The executor, or the Docker engine, is there; what was intended is brought in line with what it holds."""
        log.info("%s connected: %d runs held, %d ends to be taken over", BEHIND[driver], len(runs), len(ended))
        held = tuple(ev.Held(r.worker, r.run, r.pid, r.start_ticks, r.at, r.frozen, r.log, r.container) for r in runs)
        same = epoch == self._epochs.get(driver)
        event = ev.ExecutorConnected(same, held, frozenset(end.run for end in ended), driver)
        self._epochs[driver] = epoch
        if driver is DriverName.PROCESS:
            self._forget_again({run.run for run in runs} | event.exited)
            self.on_executor()
        self._unsettled[driver] += 1
        self._add(_Item(event, meta=SetMeta(EPOCHS[driver], epoch)))
        for run in runs:
            self.told(run.worker, run.run, run.told)
        for end in ended:
            if end.started is not None:
                self.started(end.started)  # nobody may have been there to hear it
            self.ended(end)
        self.hub.all_grew()

    def lost(self, reason: str, driver: DriverName = DriverName.PROCESS, trouble: str = "cannot be reached") -> None:
        """The executor, or the Docker engine, is away. trouble: how to tell it to people, as a verb phrase."""
        log.warning("%s lost: %s", BEHIND[driver], reason)
        self.post(ev.ExecutorLost(driver, trouble))

    def proxy(self, trouble: str | None) -> None:
        """The Docker proxy can be asked (None), or not: what is wrong, as a verb phrase."""
        self.post(ev.ProxyChanged(trouble))

    def started(self, run: HeldRun) -> None:
        """A program is executing; one whose exec is still under way is told later."""
        if run.pid is not None:
            self.post(ev.RunStarted(run.worker, run.run, run.pid, run.start_ticks, run.at, run.log, run.container))

    def told(self, worker: str, run: str, fields: Mapping[str, str]) -> None:
        """A run tells something of itself."""
        for event in events_of(worker, run, fields):
            self.post(event)

    def ended(self, run: EndedRun) -> None:
        """A run is over; that is decided about when what it told until then, and what it came to, are known."""
        self.told(run.worker, run.run, run.told)
        self.at_end(run, self.over)

    def over(self, run: EndedRun) -> None:
        """A run is over, and all that is to be known of its end is."""
        self.post(ev.RunExited(run.worker, run.run, run.exit, run.at, run.usage, run.log))

    def forgotten(self, worker: str) -> None:
        """The log of a worker that was removed is gone; kept with whatever is kept next."""
        self._forgetting.discard(worker)

    def _forget_again(self, known: set[str]) -> None:
        """Logs whose removal the executor may not have been asked for. known: runs that it has.

        No run of a new worker of that name can have been asked for before the old log was gone, and once the end of one is kept
        so is that. So a log is the new worker's if the executor has its run, and the old one's if not.
        """
        for name in sorted(self._forgetting):
            worker = self.engine.workers.get(name)
            run = worker.run if worker else None
            if run is None or (run.pid is None and run.exit is None and run.id not in known):
                self.driver.forget(name)
            else:
                self._forgetting.discard(name)

    def grew(self, worker: str, stream: str, end: int) -> None:
        """A watched log has grown."""
        self.hub.grew(worker, stream)
        self.on_grew(worker, stream, end)

    def noted(self, worker: str, kind: str, text: str) -> None:
        """A driver has something to tell."""
        self.post(ev.Noted(worker, kind, text, None))

    # --- effects ------------------------------------------------------------------------------------------------------

    def _settled(self, effect: fx.Ready) -> None:
        self._unsettled[effect.driver] -= 1

    def _spawn(self, effect: fx.Spawn) -> None:
        if not self._unsettled[
            effect.worker.spec.driver
        ]:  # else it was decided before the executor was heard, and what still counts is said again
            self.on_spawn(effect.worker)

    def _spawn_now(self, worker: Worker) -> None:
        self.driver.spawn(worker)

    def _prepare(self, effect: fx.Prepare) -> None:
        if not self._unsettled[effect.worker.spec.driver]:
            self.preparing.begin(effect.worker)

    def _signal(self, effect: fx.Signal) -> None:
        if not self.preparing.stop(effect.run):
            self.driver.signal(effect.run, effect.signal, effect.scope)

    def _kill(self, effect: fx.Kill) -> None:
        if not self.preparing.stop(effect.run):
            self.driver.kill(effect.run)

    def _saved(self, effect: fx.Save) -> None:
        if effect.worker.spec.driver is DriverName.DOCKER:
            self.on_docker()
        if effect.worker.spec.docker_socket:
            self.on_socket()
        self.happened.saved(effect.worker)
        self.on_worker(effect.worker)
        self.hub.changed(effect.worker.name, effect.worker)

    def _forgotten(self, effect: fx.Forget) -> None:
        self._forgetting.add(effect.worker)
        self.driver.forget(effect.worker)
        self.rows.drop(effect.worker)
        self.happened.forgotten(effect.worker)
        self.on_forgotten(effect.worker)
        self.hub.changed(effect.worker, None)

    def _story(self, effect: fx.Story) -> None:
        self.happened.told(effect)
        if effect.kind in _LOUD:
            about = {"worker": effect.worker}
            log.log(_LOUD[effect.kind], "%s: %s", effect.worker or "daemon", effect.text, extra=about)


_LOUD = {
    "defect": logging.ERROR,
    "fenced": logging.WARNING,
    "failed": logging.WARNING,
    "breaker_open": logging.WARNING,
    "unhealthy": logging.WARNING,
    "killing": logging.WARNING,
    "orphaned": logging.WARNING,
    "budget_warning": logging.WARNING,
    "over_budget": logging.WARNING,
    "stalled": logging.WARNING,
    "unstalled": logging.INFO,
    "unseen": logging.WARNING,
    "held": logging.WARNING,
    "released": logging.INFO,
    "blocked": logging.WARNING,
    "provider_open": logging.WARNING,
    "provider_closed": logging.INFO,
}
"""Story kinds that belong into the daemon's own log too."""


_PROMISES = (fx.Spawn, fx.Prepare, fx.Ack, fx.Forget)
"""Effects that nobody must see before what they follow from is on disk."""


def _is_no_drain(item: _Item) -> bool:
    """Sorts the wish to leave before all else: nothing is started after it."""
    return not isinstance(item.event, ev.DrainRequested)


_POINTS: dict[type[Any], str] = {
    fx.Prepare: "before-prepare",
    fx.Spawn: "before-ask-spawn",
    fx.Ack: "before-send-ack",
    fx.Forget: "before-forget",
}
"""Where crash tests end the daemon between the commit and its effects."""


def _answer(item: _Item) -> None:
    if item.answer is None or item.answer.done():
        return
    if item.refused is not None:
        item.answer.set_exception(ProtocolError(item.refused.code, item.refused.text))
    else:
        item.answer.set_result(None)


_DOES: dict[type[Any], Callable[[Supervisor, Any], None]] = {
    fx.Save: Supervisor._saved,
    fx.Forget: Supervisor._forgotten,
    fx.Story: Supervisor._story,
    fx.Ready: Supervisor._settled,
    fx.Spawn: Supervisor._spawn,
    fx.Prepare: Supervisor._prepare,
    fx.Signal: Supervisor._signal,
    fx.Kill: Supervisor._kill,
    fx.Freeze: lambda self, effect: self.driver.freeze(effect.run),
    fx.Thaw: lambda self, effect: self.driver.thaw(effect.run),
    fx.Ack: lambda self, effect: self.driver.ack(effect.run),
    fx.Arm: lambda self, effect: self.timers.arm(effect.worker, effect.timer, effect.at),
    fx.Disarm: lambda self, effect: self.timers.disarm(effect.worker, effect.timer),
    fx.Probe: lambda self, effect: self.on_probe(effect),
    fx.Look: lambda self, effect: self.on_look(effect.at),
    fx.Examine: lambda self, effect: self.pictures.examine(effect.worker),
    fx.Picture: lambda self, effect: self.pictures.picture(effect.worker),
}


def _writes(effects: Sequence[fx.Effect], wall: float) -> list[Write]:
    """What is to be kept of the effects, in order. Only the last Save of a worker counts."""
    last = {effect.worker.name: index for index, effect in enumerate(effects) if isinstance(effect, fx.Save)}
    writes: list[Write] = []
    for index, effect in enumerate(effects):
        match effect:
            case fx.Save(worker):
                if last[worker.name] == index:
                    writes.append(SaveWorker(worker))
            case fx.SaveTally(tally):
                writes.append(kept(tally))
            case fx.SaveRun(run):
                writes.append(SaveRun(run))
            case fx.SaveSpec(name, revision, spec, by):
                writes.append(SaveSpec(name, revision, spec, wall, -1 if by is None else by))
            case fx.SaveCircuits(circuits):
                writes.append(SetMeta("providers", encode_circuits(circuits)))
            case fx.Story(worker_name, run_id, kind, text, by, data):
                writes.append(AddEvent(wall, worker_name, run_id, kind, text, by, data))
            case fx.Forget(name):
                writes.append(ForgetWorker(name))
    return writes
