"""The engine: every decision of the daemon. `handle(event, now)` changes the workers and returns what to do about it.

A turn concerns one worker. The lifecycle table decides; the engine drops what is stale (an event of a run that is over, a
deadline that was moved), follows the queue, derives the timers from the worker, and lets the next in the queue start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import evolve

from rdagentd.core import budgets, circuits, dependencies, recovery, stall, waiting
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.checks import CHECK_OF
from rdagentd.core.dependencies import Dependents
from rdagentd.core.handlers import IllegalInputError, ask_to_end
from rdagentd.core.health import schedule
from rdagentd.core.lifecycle import TABLE, input_of
from rdagentd.core.notices import wind, wind_anew
from rdagentd.core.pressure import Pressure
from rdagentd.core.providers import Providers
from rdagentd.core.purse import DAY, Key, Purse
from rdagentd.core.queue import Queue
from rdagentd.core.recovery import UNREADABLE, is_unreadable
from rdagentd.core.turn import Turn
from rdagentd.core.words import listed
from rdagentd.model.budgets import Tally
from rdagentd.model.container import DriverName, Way
from rdagentd.model.provider import Circuit, Phase
from rdagentd.model.requests import NO_CAPACITY, Capacity
from rdagentd.model.spec import Spec
from rdagentd.model.worker import AT_REST, HELD, LIVE, Reason, State, Then, Want, Worker

BEHIND: Mapping[str, str] = {
    Way.PROCESS: "the executor",
    Way.DOCKER: "the Docker engine",
    Way.SOCKET: "the Docker proxy",
}
"""What a driver, and a run with a Docker socket, speaks to, in words."""

_FIELD_OF: Mapping[ev.Timer, str] = {
    ev.Timer.STATE: "due",
    ev.Timer.LIMIT: "deadline",
    ev.Timer.WATCHDOG: "watchdog_at",
    ev.Timer.BUDGET: "budget_due",
    ev.Timer.STALL: "stall_due",
}
"""The field of a worker that holds each deadline."""


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
        self.dependents = Dependents(self.workers)
        self.providers = Providers()
        self.purse = Purse()
        self._bars: tuple[Callable[[Worker], Reason | None], ...] = (
            self._lacks, self.providers.barred, _without_means, self.purse.bar,
        )  # fmt: skip
        self.queue = Queue(slots, capacity, self.barred)
        self.pressure = Pressure()
        self.away: dict[str, str] = dict.fromkeys(Way, "cannot be reached")
        self.draining = False
        self.defects = 0
        self._new_run = new_run
        self.max_workers = max_workers
        self._strict = strict
        self._order = 0
        self._undo: dict[str, Worker | None] = {}
        self._flags = (self.away, False, self.pressure, self.providers.circuits)
        self._overspent: list[ev.OverBudget] = []
        self._touched: set[Key] = set()

    # --- taking back --------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """`rollback` leads back to here."""
        self._undo = {}
        self._flags = (dict(self.away), self.draining, self.pressure, dict(self.providers.circuits))
        self.purse.mark()

    def rollback(self) -> None:
        """Undoes what was decided since `mark`: it could not be kept, so it has not happened."""
        self.purse.rollback()
        for name, before in self._undo.items():
            after = self.workers.pop(name, None)
            if before is not None:
                self.workers[name] = before
            self._follow(after, before)
        self._undo = {}
        self.away, self.draining, self.pressure, self.providers.circuits = self._flags
        self.queue.review(list(self.workers.values()))

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
        return self.barred(worker) or waiting.waits_for(worker, self.queue, self.pressure, self._ways())

    def barred(self, worker: Worker) -> Reason | None:
        """Why a queued worker is passed over, whatever is free; None: it is not.

        The first reason of `_bars` counts. Whatever changes an answer calls `queue.review` with the workers that it concerns.
        """
        return next((reason for bar in self._bars if (reason := bar(worker))), None)

    def _lacks(self, worker: Worker) -> Reason | None:
        return dependencies.waits(worker.spec.depends, self.workers) if worker.spec.depends else None

    def log_room(self, worker: Worker) -> int | None:
        """How much its run may write before something is to be decided about; None: as much as it likes."""
        rooms = [room for account in budgets.accounts(worker, 0.0) if (room := account.log_room()) is not None]
        return min([*rooms, *self.purse.log_rooms(worker)], default=None)

    def log_is_own(self, worker: Worker) -> bool:
        """Whether what its run may write is left to nobody else."""
        return not any(True for _ in self.purse.log_rooms(worker))

    def counts_disk(self, worker: Worker) -> bool:
        """Whether somebody wants to know how much its directories hold."""
        shared = (self.purse.budgets[key] for key in self.purse.keys(worker))
        return any(getattr(budget, "disk", None) is not None for budget in (worker.spec.budgets, *shared))

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
                self._connect(event, now, effects)
            case ev.ExecutorLost() | ev.ProxyChanged():
                self._note_trouble(event)
            case ev.DrainRequested():
                self._drain(now, effects)
            case ev.Due(timer=ev.Timer.PROVIDER):
                self._provider_due(event, now, effects)
            case ev.GroupsChanged() | ev.ProvidersChanged() | ev.BudgetsChanged() | ev.DayBegan() | ev.Due(worker=""):
                self._share_out(event, now, effects)
            case ev.HostChanged() | ev.PressureRead() | ev.PressureUnseen():
                self._observe(event, now, effects)
            case ev.Noted():
                effects.append(fx.Story(event.worker, None, event.kind, event.text, event.by, event.data))
            case _:
                self._turn(event, now, effects)
        self._audit(now, effects)
        self._admit(now, effects)
        return effects

    def restore(
        self, workers: Iterable[Worker], now: float, rebooted: bool, tallies: Iterable[Tally] = ()
    ) -> list[fx.Effect]:
        """Takes up the workers, and what they spent together, as kept. rebooted: the monotonic clock began anew since."""
        effects: list[fx.Effect] = []
        self.purse.restore(tallies)
        for kept in workers:
            worker = recovery.after_boot(kept, now) if rebooted else kept
            self._order = max(self._order, worker.order)
            self.workers[worker.name] = worker
            self._follow(None, worker)
            if worker is not kept:
                effects.append(fx.Save(worker))
            self._timers(None, worker, effects, now)
        self.queue.review(list(self.workers.values()))
        return effects

    def restore_circuits(self, kept: Mapping[str, Circuit], now: float, rebooted: bool) -> list[fx.Effect]:
        """Takes the breakers of providers up as they were kept, once the workers are there."""
        self.providers.restore(kept, self.workers, now, rebooted)
        self.queue.review(list(self.workers.values()))
        found = dict(self.providers.circuits)
        changed: list[fx.Effect] = [] if found == kept else [fx.SaveCircuits(found)]
        due = ((name, circuit.due) for name, circuit in found.items())
        return changed + [fx.Arm(name, ev.Timer.PROVIDER, at) for name, at in due if at is not None]

    def restore_unreadable(self, rows: Iterable[tuple[str, str]]) -> None:
        """Takes up workers whose row cannot be read, with the reason: shown as failed, untouched until they are removed."""
        for name, reason in rows:
            spec = Spec(name=name, command=("unreadable",))
            text = f"cannot be read from the state database: {reason}"
            self.workers[name] = Worker(
                name, spec, 0, want=Want.DOWN, state=State.FAILED, reason=Reason(UNREADABLE, text)
            )

    def _connect(self, event: ev.ExecutorConnected, now: float, effects: list[fx.Effect]) -> None:
        self.away.pop(event.driver, None)
        effects.append(fx.Ready(event.driver))
        for turn_event in recovery.reconcile(self.workers, event, effects):
            self._turn(turn_event, now, effects)
        for name in [worker.name for worker in self.workers.values() if worker.step == HELD]:
            self._turn(ev.Released(name), now, effects)
        self._wind_all(now, effects)

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
        if len(self.workers) >= self.max_workers:
            text = f"cannot submit {spec.name}: {self.max_workers} workers exist (max_workers); remove some first"
            effects.append(fx.Refused("over_capacity", text))
            return
        if (wrong := self._depends_wrongly(spec)) is not None:
            effects.append(fx.Refused("invalid", f"cannot submit {spec.name}: {wrong}"))
            return
        never = Reason("submitted", "was never started")
        worker = Worker(spec.name, spec, event.by, want=Want.DOWN, reason=never, source=event.source)
        effects.append(fx.SaveSpec(spec.name, worker.revision, spec, event.by))
        effects.append(fx.Story(spec.name, None, "submitted", "submitted", event.by))
        self._undo.setdefault(spec.name, None)
        self.workers[spec.name] = worker
        effects.append(fx.Save(worker))
        self._follow(None, worker)
        if event.start:
            self._turn(ev.StartRequested(spec.name, event.by), now, effects)

    def _declare(self, event: ev.Declared, now: float, effects: list[fx.Effect]) -> None:
        """A worker whose file goes is to stop, once; when it comes back, to start. What people wish meanwhile holds."""
        worker = self.workers.get(event.worker)
        if worker is None or is_unreadable(worker):
            return
        gone, wish = event.file is None, ev.StopRequested if event.file is None else ev.StartRequested
        turn = self._new_turn(wish(worker.name, event.by), worker, now, effects)
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
        turn = self._new_turn(event, worker, now, effects)
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
            return self._unsignalled(worker, event)
        if _starts(worker, event) and (spent := budgets.used_up(worker)) is not None:
            verb = type(event).__name__.removesuffix("Requested").lower()
            how = budgets.how_to_raise(worker, "worker", spent[0])
            return fx.Refused("conflict", f"cannot {verb} {worker.name}: {spent[1]}; {how}")
        if is_unreadable(worker) and isinstance(event, ev.Request) and not isinstance(event, ev.RemoveRequested):
            why = worker.reason.text if worker.reason else ""
            return fx.Refused("conflict", f"cannot change {worker.name}: it {why}; remove it, then submit it again")
        if isinstance(event, ev.SpecChanged) and (wrong := self._depends_wrongly(event.spec)) is not None:
            return fx.Refused("invalid", f"cannot change {worker.name}: {wrong}")
        if isinstance(event, ev.RemoveRequested) and (keeping := self.dependents.keeping(worker.name)):
            text = f"cannot remove {worker.name}: there depend on it {listed(keeping)}"
            return fx.Refused("conflict", f"{text}; remove these first, or take it out of their `depends`")
        return None

    def _unsignalled(self, worker: Worker, event: ev.SignalRequested) -> fx.Refused | None:
        if trouble := self.trouble(worker):
            return fx.Refused("unavailable", f"cannot signal {worker.name}: {trouble}; try again")
        if worker.spec.driver is DriverName.DOCKER and event.scope != "main":
            text = f"cannot signal the {event.scope} of {worker.name}: Docker signals its first process alone"
            return fx.Refused("conflict", f"{text}; leave the scope out")
        return None

    def _stale(self, worker: Worker, event: ev.WorkerEvent) -> bool:
        if isinstance(event, _OF_RUNS):
            return worker.run is None or worker.run.id != event.run or worker.run.exit is not None
        if isinstance(event, ev.Due):
            if event.timer in CHECK_OF:
                return schedule(worker, CHECK_OF[event.timer]) is None
            return event.at != getattr(worker, _FIELD_OF[event.timer]) or (
                event.timer is ev.Timer.WATCHDOG and not self._hears(worker)
            )
        return False

    def _hears(self, worker: Worker) -> bool:
        """Whether what a run tells comes here: by the executor, whatever its driver."""
        return self.away.keys().isdisjoint({DriverName.PROCESS, worker.spec.driver})

    def _new_turn(self, event: ev.WorkerEvent, worker: Worker, now: float, effects: list[fx.Effect]) -> Turn:
        return Turn(event, worker, now, self._next_order, effects, self.dependents.ending, self.providers.outage)

    def _keep(self, before: Worker, turn: Turn) -> None:
        wind(turn, before)
        if not turn.gone:
            self._watch(before, turn)
        after = None if turn.gone else turn.worker
        if after is before:
            return
        self._undo.setdefault(before.name, before)
        self._follow(before, after)
        self._count(before, after, turn)
        if after is None:
            del self.workers[before.name]
        else:
            self.workers[before.name] = after
            if after.watchdog_at == before.watchdog_at or evolve(after, watchdog_at=before.watchdog_at) != before:
                turn.do(fx.Save(after))  # a sign of life alone is not kept: a new daemon begins anew
        fired = turn.event.timer if isinstance(turn.event, ev.Due) else None
        self._timers(before, after, turn.effects, turn.now, fired)
        self._pass_on(before, after, turn)

    def _follow(self, before: Worker | None, after: Worker | None) -> None:
        self.dependents.follow(before, after)
        self.providers.follow(before, after)
        self.purse.follow(before, after)
        self.queue.follow(before, after)

    def _timers(
        self,
        before: Worker | None,
        after: Worker | None,
        effects: list[fx.Effect],
        now: float,
        fired: ev.Timer | None = None,
    ) -> None:
        """Brings the timers in line with the worker; the one that `fired` is gone even if its next time is the same."""
        name = before.name if before else after.name if after else ""
        for timer, field in _FIELD_OF.items():
            old: float | None = getattr(before, field, None)
            new: float | None = getattr(after, field, None)
            if new is not None and (new != old or timer is fired):
                effects.append(fx.Arm(name, timer, new))
            elif new is None and old is not None:
                effects.append(fx.Disarm(name, timer))
        for timer, check in CHECK_OF.items():
            was = schedule(before, check) if before else None
            plan = schedule(after, check) if after else None
            if plan is not None and plan != was:
                effects.append(fx.Arm(name, timer, plan.after(now)))
            elif plan is None and was is not None:
                effects.append(fx.Disarm(name, timer))

    # --- those that depend on each other ------------------------------------------------------------------------------

    def _depends_wrongly(self, spec: Spec) -> str | None:
        new = {spec.name: spec}
        return dependencies.problem(new, dependencies.depends_with(new, self.workers)) if spec.depends else None

    def _pass_on(self, before: Worker, after: Worker | None, turn: Turn) -> None:
        """A worker has changed: those that wait for it are looked at again."""
        if after is not None and after.state is State.QUEUED and before.state is not State.QUEUED:
            self._tell_blocked(after, turn.effects)
        if before.name in self.dependents and dependencies.standing(before) != dependencies.standing(after):
            waiting = self.dependents.of(before.name)
            self.queue.review(waiting)
            if after is not None and dependencies.has_failed(after):
                for worker in waiting:
                    self._tell_blocked(worker, turn.effects)
        for name in dependencies.held_back_by(before) - dependencies.held_back_by(after):
            self._turn(ev.Released(name), turn.now, turn.effects)
        for name, circuit in self.providers.news(before, after, turn.now):
            self._set_circuit(name, circuit, turn.now, turn.effects)

    def _tell_blocked(self, worker: Worker, effects: list[fx.Effect]) -> None:
        """That a start waits for what has failed for good is told once it is so."""
        reason = self._lacks(worker) if worker.state is State.QUEUED else None
        if reason is not None and reason.code == dependencies.FAILED:
            effects.append(fx.Story(worker.name, None, "blocked", reason.text))

    # --- providers ----------------------------------------------------------------------------------------------------

    def _provider_due(self, event: ev.Due, now: float, effects: list[fx.Effect]) -> None:
        circuit = self.providers.of(event.worker)
        if circuit.due == event.at:
            self._set_circuit(event.worker, circuits.came_due(circuit), now, effects)

    def _set_circuit(self, name: str, after: Circuit, now: float, effects: list[fx.Effect]) -> None:
        """A provider's breaker takes a step: it is told, and those that need it are looked at again."""
        before, setting = self.providers.of(name), self.providers.setting(name)
        self.providers.set(name, after)
        if after.due is not None:
            effects.append(fx.Arm(name, ev.Timer.PROVIDER, after.due))
        elif before.due is not None:
            effects.append(fx.Disarm(name, ev.Timer.PROVIDER))
        effects.append(fx.SaveCircuits(dict(self.providers.circuits)))
        if (before.phase, before.probe, before.why) == (after.phase, after.probe, after.why):
            return
        kind, text = circuits.story(name, setting, before, after)
        effects.append(fx.Story(None, None, kind, text, data={"provider": name}))
        users = [self.workers[user] for user in self.providers.users(name) if user in self.workers]
        if before.phase is Phase.CLOSED:
            since = next((at for at, _ in circuits.recent(before, setting, now)), now)
            for user in users:
                if user.ends and user.ends[-1] >= since:
                    self._turn(ev.Excused(user.name, since, name), now, effects)
        self.queue.review(self.workers[user.name] for user in users)

    # --- budgets and stalls -------------------------------------------------------------------------------------------

    def _watch(self, before: Worker, turn: Turn) -> None:
        """After whatever happened: what that means for its budgets and for the watch for stalls."""
        worker, now = turn.worker, turn.now
        if (quiet := stall.follow(before, worker, now)) != worker.quiet:
            turn.change(quiet=quiet)
        if before.quiet and before.quiet.stalled and quiet and not quiet.stalled:
            turn.tell("unstalled", "gets on again")
        shared = [self.purse.budgets[key] for key in self.purse.keys(worker)]
        found = budgets.examine(worker, shared, now)
        if (found.warned, found.due) != (worker.warned, worker.budget_due):
            turn.change(warned=found.warned, budget_due=found.due)
        for text in found.warnings:
            turn.tell("budget_warning", text)
        if found.over is not None:
            self._overspent.append(ev.OverBudget(worker.name, turn.run_id, found.over))

    def _count(self, before: Worker, after: Worker | None, turn: Turn) -> None:
        """What it has spent of budgets that it shares."""
        purse = self.purse
        if after is not None:
            for tally in purse.count(before, after):
                turn.do(fx.SaveTally(tally))
            self._touched.update(purse.keys(after))
        self._touched.update(purse.keys(before))

    def _audit(self, now: float, effects: list[fx.Effect]) -> None:
        """Stops those that have spent too much, alone or together, until none is left that has."""
        if not (self._overspent or self._touched):
            return
        while self._overspent or self._touched:
            while self._overspent:
                self._turn(self._overspent.pop(), now, effects)
            while self._touched:
                self._judge(self._touched.pop(), now, effects)
        due = self.purse.next_due(now)
        if due is not None and due != self.purse.due:
            effects.append(fx.Arm("", ev.Timer.BUDGET, due))
        elif due is None and self.purse.due is not None:
            effects.append(fx.Disarm("", ev.Timer.BUDGET))
        self.purse.due = due

    def _judge(self, key: Key, now: float, effects: list[fx.Effect]) -> None:
        """A shared budget: a warning, an end, and whether anybody who spends of it may start."""
        if key not in self.purse.budgets:
            return
        found = self.purse.standing(key, now)
        effects += [fx.Story(None, None, "budget_warning", text) for text in found.nearly.values()]
        if (tally := self.purse.note_warned(key, now)) is not None:
            effects.append(fx.SaveTally(tally))
        if found.over is not None:
            self._overspent += [
                ev.OverBudget(worker.name, worker.run.id, found.over, shared=True)
                for worker in self.purse.members(key)
                if worker.run is not None and worker.state is not State.STOPPING
            ]
        if found.full != self.purse.full.get(key):
            self.purse.set_full(key, found.full)
            self.queue.review(worker for worker in self.workers.values() if key in self.purse.keys(worker))

    def _share_out(
        self,
        event: ev.GroupsChanged | ev.ProvidersChanged | ev.BudgetsChanged | ev.DayBegan | ev.Due,
        now: float,
        effects: list[fx.Effect],
    ) -> None:
        """Nobody has done anything, and yet there is more or less for several together."""
        match event:
            case ev.GroupsChanged():
                self.queue.set_slots(event.slots)
            case ev.ProvidersChanged():
                self.providers.settings = event.settings
            case ev.BudgetsChanged():
                self.purse.set_budgets(event.budgets, self.workers.values())
                self.queue.review(self.workers.values())
                for worker in list(self.workers.values()):
                    self._look_again(worker, now, effects)
            case ev.DayBegan():
                self._begin_day(event.day, now, effects)
            case _:
                self.purse.due = None
        self._touched.update(self.purse.budgets)

    def _begin_day(self, day: int, now: float, effects: list[fx.Effect]) -> None:
        """What was spent today is nothing yet; what runs has run before."""
        if not self.purse.begin_day(day) or DAY not in self.purse.budgets:
            return
        effects.append(fx.SaveTally(self.purse.tallies[DAY]))
        if self.purse.budgets[DAY].run_time is not None:
            for worker in self.purse.members(DAY):
                self._look_again(worker, now, effects, before_today=worker.run_time(now))

    def _look_again(self, worker: Worker, now: float, effects: list[fx.Effect], **changes: Any) -> None:
        turn = self._new_turn(ev.Due(worker.name, ev.Timer.BUDGET, now), worker, now, effects)
        turn.change(**changes)
        self._keep(worker, turn)

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

    def _wind_all(self, now: float, effects: list[fx.Effect]) -> None:
        """What runs have told while nobody heard is not known: their watchdogs begin anew."""
        for worker in list(self.workers.values()):
            if worker.state is State.RUNNING and worker.spec.watchdog is not None:
                turn = self._new_turn(ev.Notified(worker.name, "", {}), worker, now, effects)
                wind_anew(turn)
                self._keep(worker, turn)

    def _drain(self, now: float, effects: list[fx.Effect]) -> None:
        self.draining = True
        for name in self.dependents.to_stop(self.workers):
            worker = self.workers[name]
            if worker.state not in LIVE or worker.state is State.STOPPING:
                continue
            event = ev.StopRequested(worker.name, None)
            turn = self._new_turn(event, worker, now, effects)
            turn.change(then=Then.DRAINED, cause=None, reason=Reason("draining", "the daemon is stopping"))
            turn.tell("stopping", "the daemon is stopping")
            ask_to_end(turn)
            self._keep(worker, turn)


_OF_RUNS = (
    ev.Prepared
    | ev.RunStarted
    | ev.RunExited
    | ev.QuotaExceeded
    | ev.Reported
    | ev.Notified
    | ev.Checked
    | ev.Metered
    | ev.OverBudget
    | ev.Examined
    | ev.Pictured
)
"""Events that are nothing to the run after."""


def _without_means(worker: Worker) -> Reason | None:
    """Why a queued worker waits for a budget of its own."""
    spent = budgets.used_up(worker)
    if spent is None:
        return None
    return Reason("budget", f"waits for its budget: {spent[1]}; {budgets.how_to_raise(worker, 'worker', spent[0])}")


def _starts(worker: Worker, event: ev.WorkerEvent) -> bool:
    """Whether this would have a new run begin."""
    if isinstance(event, ev.StartRequested | ev.ResumeRequested):
        return worker.state in (*AT_REST, State.BACKOFF, State.STOPPING)
    return isinstance(event, ev.RestartRequested) and worker.state is not State.QUEUED
