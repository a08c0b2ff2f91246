"""The engine: every decision of the daemon. `handle(event, now)` changes the workers and returns what to do about it.

A turn concerns one worker. The lifecycle table decides; the engine drops what is stale (an event of a run that is over, a
deadline that was moved), follows the queue, derives the timers from the worker, and lets the next in the queue start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core import recovery, waiting
from rdagentd.core.handlers import IllegalInputError, climb
from rdagentd.core.lifecycle import TABLE, input_of
from rdagentd.core.pressure import Pressure
from rdagentd.core.queue import Queue
from rdagentd.core.recovery import UNREADABLE, is_unreadable
from rdagentd.core.turn import Turn
from rdagentd.model.container import DriverName, Way
from rdagentd.model.requests import NO_CAPACITY, Capacity
from rdagentd.model.spec import Spec
from rdagentd.model.worker import LIVE, Reason, State, Then, Want, Worker

BEHIND: Mapping[str, str] = {
    Way.PROCESS: "the executor",
    Way.DOCKER: "the Docker engine",
    Way.SOCKET: "the Docker proxy",
}
"""What a driver, and a run with a Docker socket, speaks to, in words."""


class Engine:
    """All workers, and what happens to them.

    new_run makes time-ordered run ids, no two alike. slots: places per group. strict: raise a defect. capacity: what the host
    has to give away. away: what is wrong with what cannot be reached.
    """

    def __init__(
        self,
        new_run: Callable[[], str],
        slots: Mapping[str, int | None] | None = None,
        max_workers: int = 10_000,
        strict: bool = False,
        capacity: Capacity = NO_CAPACITY,
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self.queue = Queue(slots, capacity)
        self.pressure = Pressure()
        self.away: dict[str, str] = dict.fromkeys(Way, "cannot be reached")
        self.draining = False
        self.defects = 0
        self._new_run = new_run
        self._max_workers = max_workers
        self._strict = strict
        self._order = 0
        self._undo: dict[str, Worker | None] = {}
        self._flags = (self.away, False, self.pressure)

    # --- taking back --------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """`rollback` leads back to here."""
        self._undo = {}
        self._flags = (dict(self.away), self.draining, self.pressure)

    def rollback(self) -> None:
        """Undoes what was decided since `mark`: it could not be kept, so it has not happened."""
        for name, before in self._undo.items():
            after = self.workers.pop(name, None)
            if before is not None:
                self.workers[name] = before
            self.queue.follow(after, before)
        self._undo = {}
        self.away, self.draining, self.pressure = self._flags

    # --- reading ------------------------------------------------------------------------------------------------------

    def live(self) -> int:
        """How many workers have a run."""
        return sum(1 for worker in self.workers.values() if worker.state in LIVE)

    def trouble(self, worker: Worker) -> str | None:
        """What is wrong with the driver of this worker, as a sentence without its full stop; None if it answers."""
        driver = worker.spec.driver
        return f"{BEHIND[driver]} {self.away[driver]}" if driver in self.away else None

    def waits_for(self, worker: Worker) -> Reason:
        """Why a queued worker does not run yet."""
        if self.draining:
            return Reason("draining", "waits for the daemon, which is stopping, to be started again")
        for way in (worker.spec.driver, worker.spec.way):
            if way in self.away:
                return Reason("executor", f"waits for {BEHIND[way]}, which {self.away[way]}")
        return waiting.waits_for(worker, self.queue, self.pressure, self._ways())

    def held_by(self, worker: Worker) -> list[str]:
        """Who holds what a queued worker waits for."""
        lack = self.queue.lack(worker, self._ways())
        if lack.slot:
            return self.queue.holders(worker.spec.queue.group)
        return self.queue.ledger.holders(lack.resources) if lack.resources else []

    def _ways(self) -> frozenset[Way]:
        """Those that can be asked to start something."""
        ways = frozenset(Way).difference(self.away)
        return ways if Way.PROCESS in ways else ways - {Way.SOCKET}

    # --- deciding -----------------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """What to do about an event at monotonic time `now`."""
        effects: list[fx.Effect] = []
        match event:
            case ev.SubmitRequested():
                self._submit(event, now, effects)
            case ev.Declared():
                self._declare(event, now, effects)
            case ev.ExecutorConnected():
                self.away.pop(event.driver, None)
                effects.append(fx.Ready(event.driver))
                for turn_event in recovery.reconcile(self.workers, event, effects):
                    self._turn(turn_event, now, effects)
            case ev.ExecutorLost() | ev.ProxyChanged():
                self._note_trouble(event)
            case ev.DrainRequested():
                self._drain(event, now, effects)
            case ev.GroupsChanged():
                self.queue.set_slots(event.slots)
            case ev.HostChanged() | ev.PressureRead() | ev.PressureUnseen():
                self._observe(event, now, effects)
            case ev.Noted():
                effects.append(fx.Story(event.worker, None, event.kind, event.text, event.by, event.data))
            case _:
                self._turn(event, now, effects)
        self._admit(now, effects)
        return effects

    def restore(self, workers: Iterable[Worker], now: float, rebooted: bool) -> list[fx.Effect]:
        """Takes the workers up as they were kept. rebooted: the monotonic clock began anew since."""
        effects: list[fx.Effect] = []
        for kept in workers:
            worker = recovery.after_boot(kept, now) if rebooted else kept
            self._order = max(self._order, worker.order)
            self.workers[worker.name] = worker
            self.queue.follow(None, worker)
            if worker is not kept:
                effects.append(fx.Save(worker))
            self._timers(None, worker, effects)
        return effects

    def restore_unreadable(self, rows: Iterable[tuple[str, str]]) -> None:
        """Takes up workers whose row cannot be read, with the reason: shown as failed, untouched until they are removed."""
        for name, reason in rows:
            spec = Spec(name=name, command=("unreadable",))
            text = f"cannot be read from the state database: {reason}"
            self.workers[name] = Worker(
                name, spec, 0, want=Want.DOWN, state=State.FAILED, reason=Reason(UNREADABLE, text)
            )

    def _note_trouble(self, event: ev.ExecutorLost | ev.ProxyChanged) -> None:
        way = event.driver if isinstance(event, ev.ExecutorLost) else Way.SOCKET
        if event.trouble is None:
            self.away.pop(way, None)
        else:
            self.away[way] = event.trouble

    # --- one worker ---------------------------------------------------------------------------------------------------

    def _submit(self, event: ev.SubmitRequested, now: float, effects: list[fx.Effect]) -> None:
        spec = event.spec
        if spec.name in self.workers:
            text = f"cannot submit {spec.name}: a worker of that name exists; use apply to change it, or another name"
            effects.append(fx.Refused("conflict", text))
            return
        if len(self.workers) >= self._max_workers:
            text = f"cannot submit {spec.name}: {self._max_workers} workers exist (max_workers); remove some first"
            effects.append(fx.Refused("over_capacity", text))
            return
        never = Reason("submitted", "was never started")
        worker = Worker(spec.name, spec, event.by, want=Want.DOWN, reason=never, source=event.source)
        effects.append(fx.SaveSpec(spec.name, worker.revision, spec, event.by))
        effects.append(fx.Story(spec.name, None, "submitted", "submitted", event.by))
        self._undo.setdefault(spec.name, None)
        self.workers[spec.name] = worker
        effects.append(fx.Save(worker))
        self.queue.follow(None, worker)
        if event.start:
            self._turn(ev.StartRequested(spec.name, event.by), now, effects)

    def _declare(self, event: ev.Declared, now: float, effects: list[fx.Effect]) -> None:
        """A worker whose file goes is to stop, once; when it comes back, to start. What people wish meanwhile holds."""
        worker = self.workers.get(event.worker)
        if worker is None or is_unreadable(worker):
            return
        gone, wish = event.file is None, ev.StopRequested if event.file is None else ev.StartRequested
        turn = Turn(wish(worker.name, event.by), worker, now, self._next_order, effects)
        turn.change(source=event.file or worker.source, orphaned=gone)
        if gone != worker.orphaned:
            kind, text = ("orphaned", "is gone; it is to stop") if gone else ("declared", "is back")
            turn.tell(kind, f"its file {turn.worker.source} {text}")
        self._keep(worker, turn)
        if gone != worker.orphaned:
            self._turn(turn.event, now, effects)

    def _turn(self, event: ev.WorkerEvent, now: float, effects: list[fx.Effect]) -> None:
        worker = self.workers.get(event.worker)
        if isinstance(event, ev.RunExited) and not (worker and is_unreadable(worker)):
            effects.append(fx.Ack(event.run))  # whatever we make of it: it is on disk when this is carried out
        if worker is None:
            self._unknown(event, effects)
            return
        if self._stale(worker, event):
            return
        barred = self._barred(worker, event)
        if barred:
            effects.append(barred)
            return
        turn = Turn(event, worker, now, self._next_order, effects)
        try:
            TABLE[worker.state][input_of(event)](turn)
        except IllegalInputError as defect:
            self._defect(defect, worker, effects)
            return
        self._keep(worker, turn)

    def _unknown(self, event: ev.WorkerEvent, effects: list[fx.Effect]) -> None:
        if isinstance(event, ev.Request):
            effects.append(fx.Refused("not_found", f"cannot find worker {event.worker}: no worker of that name"))

    def _barred(self, worker: Worker, event: ev.WorkerEvent) -> fx.Refused | None:
        """What cannot be asked for whatever the state says."""
        if isinstance(event, ev.SignalRequested) and worker.state in LIVE:
            if trouble := self.trouble(worker):
                return fx.Refused("unavailable", f"cannot signal {worker.name}: {trouble}; try again")
            if worker.spec.driver is DriverName.DOCKER and event.scope != "main":
                text = f"cannot signal the {event.scope} of {worker.name}: Docker signals its first process alone"
                return fx.Refused("conflict", f"{text}; leave the scope out")
        if is_unreadable(worker) and isinstance(event, ev.Request) and not isinstance(event, ev.RemoveRequested):
            why = worker.reason.text if worker.reason else ""
            return fx.Refused("conflict", f"cannot change {worker.name}: it {why}; remove it, then submit it again")
        return None

    def _stale(self, worker: Worker, event: ev.WorkerEvent) -> bool:
        if isinstance(event, ev.RunStarted | ev.RunExited | ev.QuotaExceeded):
            return worker.run is None or worker.run.id != event.run or worker.run.exit is not None
        if isinstance(event, ev.Due):
            return event.at != (worker.due if event.timer is ev.Timer.STATE else worker.deadline)
        return False

    def _keep(self, before: Worker, turn: Turn) -> None:
        after = None if turn.gone else turn.worker
        if after is before:
            return
        self._undo.setdefault(before.name, before)
        self.queue.follow(before, after)
        if after is None:
            del self.workers[before.name]
        else:
            self.workers[before.name] = after
            turn.do(fx.Save(after))
        self._timers(before, after, turn.effects, turn.event.timer if isinstance(turn.event, ev.Due) else None)

    def _timers(
        self, before: Worker | None, after: Worker | None, effects: list[fx.Effect], fired: ev.Timer | None = None
    ) -> None:
        """Brings the timers in line with the worker; the one that `fired` is gone even if its next time is the same."""
        name = before.name if before else after.name if after else ""
        for timer, field in ((ev.Timer.STATE, "due"), (ev.Timer.LIMIT, "deadline")):
            old: float | None = getattr(before, field, None)
            new: float | None = getattr(after, field, None)
            if new is not None and (new != old or timer is fired):
                effects.append(fx.Arm(name, timer, new))
            elif new is None and old is not None:
                effects.append(fx.Disarm(name, timer))

    def _defect(self, defect: IllegalInputError, worker: Worker, effects: list[fx.Effect]) -> None:
        if self._strict:
            raise defect
        self.defects += 1
        effects.append(
            fx.Story(worker.name, worker.run.id if worker.run else None, "defect", f"cannot happen: {defect}")
        )

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    # --- all workers --------------------------------------------------------------------------------------------------

    def _admit(self, now: float, effects: list[fx.Effect]) -> None:
        if self.draining or self.pressure.held:
            return
        while (turn := self.queue.next(self._ways())) is not None:
            self._turn(ev.Admitted(turn.worker, self._new_run(), turn.holds), now, effects)

    def _observe(
        self, event: ev.HostChanged | ev.PressureRead | ev.PressureUnseen, now: float, effects: list[fx.Effect]
    ) -> None:
        """The host is another, or busier, or less busy."""
        before = self.pressure
        match event:
            case ev.HostChanged():
                self.queue.offer(event.capacity)
                self.pressure = before.under(event.thresholds)
            case ev.PressureUnseen():
                self.pressure = evolve(before, problem=event.problem)
            case ev.PressureRead():
                self.pressure = before.after(event.averages, event.triggered, now)
                if (at := self.pressure.look_at(now)) is not None:
                    effects.append(fx.Look(at))
        after = self.pressure
        if after.problem and after.problem != before.problem:
            effects.append(fx.Story(None, None, "unseen", after.problem))
        if after.reason and not before.held:
            effects.append(fx.Story(None, None, "held", f"the queue {after.reason.text}"))
        if before.held and not after.held:
            effects.append(fx.Story(None, None, "released", "the queue goes on: the pressure has fallen"))

    def _drain(self, event: ev.DrainRequested, now: float, effects: list[fx.Effect]) -> None:
        self.draining = True
        for worker in list(self.workers.values()):
            if worker.state not in LIVE or worker.state is State.STOPPING:
                continue
            turn = Turn(ev.StopRequested(worker.name, None), worker, now, self._next_order, effects)
            turn.change(then=Then.DRAINED, cause=None, reason=Reason("draining", "the daemon is stopping"))
            turn.tell("stopping", "the daemon is stopping")
            climb(turn)
            self._keep(worker, turn)
