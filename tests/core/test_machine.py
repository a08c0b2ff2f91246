"""The engine under random events, late, doubled and out of order, while daemon, executor, disk and machine fail.

What the machine does is in `shell.py`; here are the dice, and what must hold whatever they say.
"""

from __future__ import annotations

import itertools
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rdagentd.core import dependencies
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.budgets import accounts, used_up
from rdagentd.core.checks import CHECK_OF
from rdagentd.core.engine import _FIELD_OF, Engine
from rdagentd.core.health import schedule
from rdagentd.core.pool import RESOURCES, amount
from rdagentd.model.budgets import UNBOUNDED, Budgets, Flow
from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Found, Snapshot
from rdagentd.model.dependency import Condition
from rdagentd.model.health import Check, Health, HealthCheck, OnFailure, Probe
from rdagentd.model.provider import Phase, Provider
from rdagentd.model.requests import NOTHING, Capacity, Gpu, Requests, Thresholds
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Breaker, Policy, Queue, Restart, Spec, Stop
from rdagentd.model.stall import Action, Signal, Stall
from rdagentd.model.worker import AT_REST, HELD, LIVE, State, Then, Want, Worker

from .shell import Disk, Executor, Process, Shell
from .world import KILLED, code

NAMES = st.sampled_from(["a", "b", "c", "d"])
SLOTS = st.fixed_dictionaries({"one": st.integers(0, 2), "two": st.sampled_from([1, None])})
HOSTS = st.builds(
    Capacity,
    st.sampled_from([8, 8, 5]),
    st.sampled_from([2.0, 1.0]),
    st.just(100),
    st.sampled_from([(Gpu("0", "GPU-aa"), Gpu("1")), (Gpu("1"),)]),
)
REQUESTED = st.just(NOTHING) | st.builds(
    Requests,
    st.integers(0, 6),
    st.sampled_from([0.0, 0.5]),
    st.just(0),
    st.sampled_from([0, 1, 2, ("1",), ("GPU-aa",)]),
)
PROBES = {
    "interval": st.sampled_from([1.0, 30.0]),
    "retries": st.integers(1, 2),
    "start_period": st.sampled_from([0.0, 40.0]),
}
READINESS = st.none() | st.builds(Probe, tcp=st.just("127.0.0.1:1"), **PROBES)
HEALTH = st.none() | st.builds(
    HealthCheck, tcp=st.just("127.0.0.1:2"), on_failure=st.sampled_from(OnFailure), ready=READINESS, **PROBES
)
BUDGETS = (
    Budgets(cost_usd=3.0, run=Flow(cost_usd=2.0), within=20.0),
    Budgets(cost_usd=9.0, within=700.0),
    Budgets(run_time=60.0, log_bytes=500),
    Budgets(cost_usd=0.0),
)
SHARED = {
    ("group", "one"): Flow(cost_usd=6.0),
    ("owner", "1000"): Flow(cost_usd=30.0),
    ("day", ""): Flow(cost_usd=8.0, run_time=900.0),
}
"""What workers may spend together. Group one is soon in need; everything that was ever spent counts for user 1000."""

SPECS = st.fixed_dictionaries(
    {
        "health": HEALTH,
        "requests": REQUESTED,
        "command": st.sampled_from([("/bin/agent",), ("/bin/other",)]),
        "restart": st.builds(
            Restart,
            policy=st.sampled_from(Policy),
            delay=st.sampled_from([0.0, 5.0]),
            factor=st.sampled_from([1.0, 2.0]),
            jitter=st.sampled_from([0.0, 0.5]),
            retries=st.integers(0, 3),
            stop_codes=st.sampled_from([(), (3,)]),
            restart_codes=st.sampled_from([(), (2,)]),
            breaker=st.builds(Breaker, st.sampled_from([0, 2]), st.just(600.0), st.just(50.0)),
        ),
        "stop": st.builds(
            Stop,
            st.sampled_from([(), ("SIGTERM",), ("SIGHUP", "SIGINT", "SIGTERM")]),
            st.sampled_from([0.0, 2.0]),
            st.sampled_from([0.0, 10.0]),
        ),
        "timeout": st.sampled_from([None, None, 0.0, 30.0]),
        "watchdog": st.sampled_from([None, None, 20.0]),
        "queue": st.builds(Queue, st.sampled_from(["one", "two"]), st.integers(0, 2)),
        "docker_socket": st.sampled_from([False, False, True]),
        "checkpoints": st.sampled_from([None, Checkpoints("*", resume=("/bin/agent", "{checkpoint}"))]),
        "snapshot": st.sampled_from([Snapshot(), Snapshot(git=True)]),
        "depends": st.just({}) | st.dictionaries(NAMES, st.sampled_from(Condition), max_size=2),
        "providers": st.sampled_from([(), (), ("x",), ("x", "y")]),
        "budgets": st.sampled_from([UNBOUNDED, UNBOUNDED, *BUDGETS]),
        "stall": st.sampled_from([None, Stall(40.0), *(Stall(40.0, (Signal.REPORT,), action) for action in Action)]),
    }
)
REQUESTS = st.sampled_from(
    [
        ev.StartRequested,
        ev.StopRequested,
        ev.RestartRequested,
        ev.PauseRequested,
        ev.ResumeRequested,
        ev.KillRequested,
        ev.RemoveRequested,
    ]
)
NOTICES = st.dictionaries(
    st.sampled_from(["WATCHDOG", "READY", "STOPPING", "EXTEND_TIMEOUT_USEC", "RELOADING"]),
    st.sampled_from(["1", "1", "trigger", "30000000", "-1"]),
)
LATE = st.sampled_from([False, False, False, True])
PICK = st.integers(0, 1 << 16)


def _without_signs(workers: dict[str, Worker]) -> dict[str, Worker]:
    """Signs of life are not kept."""
    return {name: evolve(worker, watchdog_at=None) for name, worker in workers.items()}


class Machine(RuleBasedStateMachine):
    """One daemon after the other over one disk and one executor after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        ids = itertools.count(1)
        self.new_run = lambda: f"r{next(ids):04}"
        self.disk = Disk()
        self.executor = Executor(self.disk)
        self.truth: dict[str, Exit] = {}
        self.slots: dict[str, int | None] = {}
        self.host = Capacity()
        self.pressed: dict[str, float] = {}
        self.fired: list[ev.Due] = []
        self.day = 20000

    @initialize(slots=SLOTS, host=HOSTS)
    def boot(self, slots: dict[str, int | None], host: Capacity) -> None:
        self.slots, self.host = slots, host
        self.start_daemon(rebooted=False)
        self.shell.connect()

    def start_daemon(self, rebooted: bool) -> None:
        engine = Engine(self.new_run, self.slots, 100, strict=True, capacity=self.host)
        engine.providers.settings = {"x": Provider(errors=2, window=60.0, cooldown=120.0)}
        engine.purse.set_budgets(SHARED, ())
        self.shell = Shell(engine, self.disk, self.executor)
        self.shell.begin(self.now, rebooted)
        self.shell.post(ev.DayBegan(self.day))
        self.shell.post(ev.PressureRead(self.pressed))

    # --- the shell turns ----------------------------------------------------------------------------------------------

    def turn(self, late: bool = False) -> None:
        """Everything that waits is decided, kept and done, unless it is to lie a while."""
        while not late and (self.shell.batch or self.shell.events):
            if self.shell.batch is None:
                self.shell.decide(256, self.now, self.watch)
            self.shell.carry_out(self.shell.keep())

    def watch(self, event: ev.Event, effects: list[fx.Effect]) -> None:
        """What must hold of each single decision."""
        engine = self.shell.engine
        admitted = [effect.worker for effect in effects if isinstance(effect, fx.Spawn | fx.Prepare)]
        if not isinstance(event, ev.ExecutorConnected | ev.Prepared):  # which ask for what has its slot already
            for worker in admitted:
                group = worker.spec.queue.group
                slots = engine.queue.slots(group)
                assert slots is None or engine.queue.taken(group) <= slots, f"{group} is over its slots: {event}"
                self.check_held(worker)
                assert used_up(worker) is None, f"{worker} is started, and has nothing left"
                assert engine.purse.bar(worker) is None, f"{worker} is started, and others have spent what it needs"
                assert not engine.pressure.held, f"{worker} is started under pressure"
                assert engine.barred(worker) is None, f"{worker} is started, and {engine.barred(worker)}"
        for worker in engine.workers.values():
            if worker.state is State.QUEUED:
                self.check_waits(worker)
            if worker.state in (State.STARTING, State.RUNNING, State.PAUSED) and not isinstance(event, ev.Due):
                self.check_means(worker)

    def check_means(self, worker: Worker) -> None:
        """What goes on is within its budgets, as far as was told; time alone has its deadlines."""
        purse = self.shell.engine.purse
        shared = [purse.account(key, self.now) for key in purse.keys(worker)] if purse.day == self.day else []
        for account in (*accounts(worker, self.now), *shared):
            found = account.over()
            assert found is None or found[0] == "run_time", f"{worker} goes on: {found}"

    def check_waits(self, worker: Worker) -> None:
        engine = self.shell.engine
        group = worker.spec.queue.group
        told = engine.waits_for(worker).code
        for expected, holds in (
            ("draining", engine.draining),
            ("executor", bool({worker.spec.driver.value, worker.spec.way.value} & engine.away.keys())),
            (getattr(engine.barred(worker), "code", ""), engine.barred(worker)),
            ("budget", engine.barred(worker)),
            ("never", engine.queue.ledger.never(worker.spec.requests)),
            ("pressure", engine.pressure.held),
        ):
            if holds:
                assert told == expected
                return
        lack = engine.queue.lack(worker, engine._ways())
        assert told in (("slot",) if lack.slot else lack.resources), f"{worker.name} waits for nothing"
        assert engine.queue.free(group) or told == "slot", f"{worker.name} waits for {told}, and there is no slot"

    def check_held(self, worker: Worker) -> None:
        """What it was given was there."""
        engine = self.shell.engine
        assert worker.run is not None
        live = [other.run.holds for other in engine.workers.values() if other.state in LIVE and other.run is not None]
        wanted = engine.queue.ledger.resolved(worker.spec.requests)
        for resource in RESOURCES:
            assert amount(worker.run.holds, resource) == amount(wanted, resource), f"{worker} has not what it asked for"
            if amount(worker.run.holds, resource):
                held = sum(amount(holds, resource) for holds in live)
                assert held <= engine.queue.ledger.all.has(resource), f"{resource} is given away twice"

    @precondition(lambda self: self.shell.events and not self.shell.batch)
    @rule(most=st.integers(1, 4))
    def decide(self, most: int) -> None:
        self.shell.decide(most, self.now, self.watch)

    @precondition(lambda self: self.shell.batch)
    @rule()
    def carry_out(self) -> None:
        self.shell.carry_out(self.shell.keep())

    @precondition(lambda self: self.shell.batch)
    @rule()
    def disk_full(self) -> None:
        self.shell.fail()

    @rule()
    def catch_up(self) -> None:
        self.turn()

    # --- people -------------------------------------------------------------------------------------------------------

    @rule(name=NAMES, fields=SPECS, start=st.sampled_from([True, True, True, False]), late=LATE)
    def submit(self, name: str, fields: dict[str, Any], start: bool, late: bool) -> None:
        self.shell.post(ev.SubmitRequested(Spec(name, **fields), 1000, start))
        self.turn(late)

    @rule(kind=REQUESTS, name=NAMES, late=LATE)
    def ask(self, kind: Any, name: str, late: bool) -> None:
        self.shell.post(kind(name, 1000))
        self.turn(late)

    @rule(name=NAMES, late=LATE)
    def remove_by_force(self, name: str, late: bool) -> None:
        self.shell.post(ev.RemoveRequested(name, 1000, force=True))
        self.turn(late)

    @rule(name=NAMES, fields=SPECS, late=LATE)
    def change(self, name: str, fields: dict[str, Any], late: bool) -> None:
        self.shell.post(ev.SpecChanged(name, Spec(name, **fields), 1000))
        self.turn(late)

    @rule(slots=SLOTS, late=LATE)
    def change_groups(self, slots: dict[str, int | None], late: bool) -> None:
        self.slots = slots
        self.shell.post(ev.GroupsChanged(slots))
        self.turn(late)

    @rule(trouble=st.sampled_from([None, "cannot be reached"]), late=LATE)
    def change_proxy(self, trouble: str | None, late: bool) -> None:
        self.shell.post(ev.ProxyChanged(trouble))
        self.turn(late)

    @rule(host=HOSTS, late=LATE)
    def change_host(self, host: Capacity, late: bool) -> None:
        self.host = host
        self.shell.post(ev.HostChanged(host, Thresholds()))
        self.turn(late)

    @rule(percent=st.sampled_from([0.0, 0.0, 16.0, 30.0]), triggered=st.booleans(), late=LATE)
    def read_pressure(self, percent: float, triggered: bool, late: bool) -> None:
        self.pressed = {"memory_10s": percent}
        self.shell.post(ev.PressureRead(self.pressed, triggered))
        self.turn(late)

    # --- time ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.shell.timers)
    @rule(pick=PICK, lateness=st.sampled_from([0.0, 0.0, 3.0]), late=LATE)
    def fire(self, pick: int, lateness: float, late: bool) -> None:
        timers = self.shell.timers
        worker, timer = sorted(timers)[pick % len(timers)]
        at = timers.pop((worker, timer))
        self.now = max(self.now, at) + lateness
        self.fired.append(ev.Due(worker, timer, at))
        self.shell.post(self.fired[-1])
        self.turn(late)

    @precondition(lambda self: self.fired)
    @rule(pick=PICK)
    def fire_again(self, pick: int) -> None:
        due = self.fired[pick % len(self.fired)]
        if self.shell.timers.get((due.worker, due.timer)) != due.at:  # else it would not be the past's
            self.shell.post(due)
            self.turn()

    @rule(seconds=st.sampled_from([0.5, 5.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    # --- processes ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(p.pid is None for p in self.executor.living()))
    @rule(pick=PICK, late=LATE)
    def execute(self, pick: int, late: bool) -> None:
        waiting = [process for process in self.executor.living() if process.pid is None]
        self.executor.execute(waiting[pick % len(waiting)])
        if not late:
            self.deliver_all()

    @precondition(lambda self: self.shell.prepared)
    @rule(pick=PICK, problems=st.lists(st.sampled_from(["", "", "is cut off"]), max_size=3), late=LATE)
    def prepare(self, pick: int, problems: list[str], late: bool) -> None:
        """What there is was looked for; it may be told twice."""
        prepared = self.shell.prepared
        worker = prepared[pick % len(prepared)]
        if pick % 3:
            prepared.remove(worker)
        assert worker.run is not None
        found = tuple(Found(Checkpoint(str(n), n, 1), problem) for n, problem in enumerate(problems))
        self.shell.post(ev.Prepared(worker.name, worker.run.id, found if worker.life is not None else None))
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, number=st.integers(0, 3), late=LATE)
    def end(self, pick: int, number: int, late: bool) -> None:
        living = self.executor.living()
        self.end_of(living[pick % len(living)], code(number))
        if not late:
            self.deliver_all()

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, late=LATE)
    def exceed(self, pick: int, late: bool) -> None:
        living = self.executor.living()
        process = living[pick % len(living)]
        self.shell.post(ev.QuotaExceeded(process.worker, process.run, 2, 1))
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, check=st.sampled_from(Check), ok=st.booleans(), late=LATE)
    def answer(self, pick: int, check: Check, ok: bool, late: bool) -> None:
        living = self.executor.living()
        process = living[pick % len(living)]
        self.shell.post(ev.Checked(process.worker, process.run, check, ok, "connection refused"))
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, cost=st.sampled_from([0.1, 0.25, None]), late=LATE, read=st.booleans())
    def write(self, pick: int, cost: float | None, late: bool, read: bool) -> None:
        """A program writes a line: what it has cost since the last, or something that nobody can read."""
        living = self.executor.living()
        process = living[pick % len(living)]
        self.executor.logs.setdefault(process.run, []).append(cost)
        if read:
            self.shell.read(process.worker, process.run)
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, fields=NOTICES, late=LATE)
    def notify(self, pick: int, fields: dict[str, str], late: bool) -> None:
        living = self.executor.living()
        process = living[pick % len(living)]
        self.shell.post(ev.Notified(process.worker, process.run, fields))
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, name=st.sampled_from(["provider_errors", "provider_errors.x", "tokens"]), late=LATE)
    def tell(self, pick: int, name: str, late: bool) -> None:
        """A program meets an error of its provider, or gets on."""
        living = self.executor.living()
        process = living[pick % len(living)]
        self.shell.post(ev.Reported(process.worker, process.run, {}, "test", {name: 1.0}))
        self.turn(late)

    @precondition(lambda self: self.executor.living())
    @rule(pick=PICK, wrote=st.sampled_from([100, 300]), late=LATE)
    def meter(self, pick: int, wrote: int, late: bool) -> None:
        living = self.executor.living()
        process = living[pick % len(living)]
        self.shell.post(ev.Metered(process.worker, process.run, wrote, wrote))
        self.turn(late)

    @precondition(lambda self: self.shell.looks)
    @rule(pick=PICK, log=st.sampled_from([0, 0, 10, None]), late=LATE)
    def answer_look(self, pick: int, log: int | None, late: bool) -> None:
        """What somebody looked for comes, or never does."""
        effect = self.shell.looks.pop(pick % len(self.shell.looks))
        worker, run = effect.worker.name, effect.worker.run
        assert run is not None
        if isinstance(effect, fx.Picture):
            self.shell.post(ev.Pictured(worker, run.id, {}))
        elif log is not None:
            self.shell.post(ev.Examined(worker, run.id, 0.0, log))
        self.turn(late)

    @rule(late=LATE)
    def begin_day(self, late: bool) -> None:
        self.day += 1
        self.shell.post(ev.DayBegan(self.day))
        self.turn(late)

    def end_of(self, process: Process, ended: Exit) -> None:
        if process.pid is None:
            ended = Exit(ExitKind.COULD_NOT_START, stage="exec", errno=2, reason="could not start: exec")
        if process.doomed:
            ended = KILLED
        self.truth[process.run] = ended
        self.executor.end(process, ended)

    @precondition(lambda self: self.shell.linked and self.executor.notices)
    @rule(pick=PICK, again=st.booleans(), late=LATE)
    def deliver(self, pick: int, again: bool, late: bool) -> None:
        """One notice, in any order; again: and it comes once more later."""
        notices = self.executor.notices
        notice = notices[pick % len(notices)]
        if not again:
            notices.remove(notice)
        self.shell.post(notice)
        self.turn(late)

    def deliver_all(self) -> None:
        if self.shell.linked:
            notices, self.executor.notices = self.executor.notices, []
            for notice in notices:
                self.shell.post(notice)
        self.turn()

    # --- failing ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.shell.linked)
    @rule()
    def disconnect(self) -> None:
        self.shell.disconnect()

    @precondition(lambda self: not self.shell.linked)
    @rule(late=LATE)
    def connect(self, late: bool) -> None:
        self.shell.connect()
        self.turn(late)

    def crash(self, kept: bool, done: int) -> None:
        """Of a batch under way all or nothing was kept, and then the first effects were carried out."""
        if self.shell.batch and kept:
            self.shell.carry_out(self.shell.keep()[:done])
        self.executor.notices.clear()
        self.fired.clear()

    @rule(kept=st.booleans(), done=st.integers(0, 12), back=LATE)
    def daemon_crashes(self, kept: bool, done: int, back: bool) -> None:
        self.crash(kept, done)
        self.start_daemon(rebooted=False)
        if not back:
            self.shell.connect()

    @rule(forgets=st.booleans(), back=LATE)
    def executor_crashes(self, forgets: bool, back: bool) -> None:
        if self.shell.linked:
            self.shell.disconnect()
        self.executor.crash(forgets)
        if not back:
            self.shell.connect()

    @rule(kept=st.booleans(), done=st.integers(0, 12), forgets=st.booleans())
    def reboot(self, kept: bool, done: int, forgets: bool) -> None:
        self.crash(kept, done)
        self.executor.crash(forgets)
        self.now = 10.0
        self.start_daemon(rebooted=True)
        self.shell.connect()

    @rule(kept=st.booleans(), done=st.integers(0, 12))
    def drain_and_restart(self, kept: bool, done: int) -> None:
        """The daemon is stopped with its workers, not always patiently, and started again."""
        self.shell.post(ev.DrainRequested())
        self.turn()
        for process in self.executor.living():
            if len(process.run) % 2 == done % 2:
                self.end_of(process, KILLED)
        self.deliver_all()
        self.daemon_crashes(kept, done, False)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def one_run_each(self) -> None:
        living = [process.worker for process in self.executor.living()]
        assert len(living) == len(set(living)), f"two runs of one worker live: {living}"

    @invariant()
    def workers_make_sense(self) -> None:
        for worker in self.shell.engine.workers.values():
            state, run = worker.state, worker.run
            assert (state in LIVE) == (run is not None and run.exit is None), worker
            assert worker.want is Want.UP or state is State.STOPPING or state in AT_REST, worker
            assert worker.then is Then.REST or state is State.STOPPING, worker
            assert worker.cause is None or state is State.STOPPING, worker
            assert worker.due is None or state in (State.STOPPING, State.BACKOFF, State.FAILED), worker
            assert worker.due is not None or state is not State.BACKOFF, worker
            assert worker.deadline is None or state is State.RUNNING, worker
            assert worker.watchdog_at is None or state is State.RUNNING, worker
            assert worker.budget_due is None or state is State.RUNNING, worker
            assert worker.quiet is None or state in (State.RUNNING, State.PAUSED), worker
            assert worker.stall_due is None or state is State.RUNNING, worker
            assert worker.time_left is None or state is State.PAUSED, worker
            assert worker.paused_at is None or state is State.PAUSED, worker
            assert worker.reason is not None or state in (State.STARTING, State.RUNNING), worker
            assert not worker.ready or state is State.RUNNING, worker
            assert run is None or run.prepared or run.pid is None, worker
            assert worker.chosen is None or state in (State.QUEUED, *LIVE), worker

    @invariant()
    def health_makes_sense(self) -> None:
        for worker in self.shell.engine.workers.values():
            health, state, asked = worker.health, worker.state, worker.spec.health
            assert health is Health.NONE or state in LIVE - {State.STARTING}, worker
            if state in (State.RUNNING, State.PAUSED):
                assert (health is Health.NONE) == (asked is None), worker
                assert worker.failures <= (asked.retries if asked else 0), worker
                ill = asked is not None and worker.failures == asked.retries
                assert (health is Health.UNHEALTHY) >= ill, worker
                assert health is not Health.UNHEALTHY or (asked and asked.on_failure is OnFailure.NONE), worker

    @invariant()
    def ledger_balances(self) -> None:
        engine = self.shell.engine
        holders: dict[str, set[str]] = {}
        for worker in engine.workers.values():
            if worker.state in LIVE:
                holders.setdefault(worker.spec.queue.group, set()).add(worker.name)
        assert dict(engine.queue.slot_holders()) == holders
        assert engine.queue.waiting() == sum(w.state is State.QUEUED for w in engine.workers.values())

    @invariant()
    def who_waits_for_others_stands_aside(self) -> None:
        """And nobody else; and whose stop waits for others waits for somebody."""
        engine = self.shell.engine
        workers = engine.workers.values()
        barred = {worker.name for worker in workers if worker.state is State.QUEUED and engine.barred(worker)}
        assert {worker.name for worker in engine.queue.aside()} == barred
        staying = {worker.name: worker for worker in workers if worker.then is not Then.REMOVE}
        for worker in workers:
            if worker.step == HELD and self.shell.batch is None:
                assert engine.dependents.ending(worker.name), f"{worker} waits for nobody"
        text = dependencies.problem(staying, dependencies.depends_with({}, staying))
        assert text is None, text

    @invariant()
    def shares_balance(self) -> None:
        """The ledger holds what is kept with the runs, and no two runs whose processes live have the same GPU."""
        engine = self.shell.engine
        ledger = engine.queue.ledger
        held = {
            worker.name: worker.run.holds for worker in engine.workers.values() if worker.run and worker.state in LIVE
        }
        assert ledger._shares == {name: holds for name, holds in held.items() if holds != NOTHING}
        leased = {gpu for holds in held.values() if isinstance(holds.gpus, tuple) for gpu in holds.gpus}
        assert set(ledger.free().gpus) == set(ledger.all.gpus) - leased
        runs = [self.disk.runs[process.run] for process in self.executor.living() if process.run in self.disk.runs]
        gpus = [gpu for run in runs if isinstance(run.holds.gpus, tuple) for gpu in run.holds.gpus]
        assert len(gpus) == len(set(gpus)), f"one GPU for two: {runs}"

    @invariant()
    def kept_is_enough(self) -> None:
        if self.shell.batch is None:
            kept, known = self.disk.rebuild(), self.shell.engine.workers
            assert _without_signs(kept) == _without_signs(known)

    @invariant()
    def circuits_make_sense(self) -> None:
        """Who tries runs and needs it; what holds others back is on disk, and something will end it."""
        engine = self.shell.engine
        for name, circuit in engine.providers.circuits.items():
            assert circuit.probe is None or circuit.phase is Phase.HALF_OPEN, circuit
            assert circuit.phase is not Phase.OPEN or circuit.due is not None, circuit
            if circuit.probe is not None:
                worker = engine.workers[circuit.probe]
                assert worker.state in LIVE, f"{worker} tries {name}"
                assert name in worker.spec.providers, f"{worker} tries {name}"
                assert (circuit.due is not None) == (worker.state is State.RUNNING), f"{circuit}: {worker}"
            if self.shell.batch is None:
                assert circuit.phase is Phase.CLOSED or self.disk.circuits[name] == circuit

    @invariant()
    def every_dollar_is_kept_once(self) -> None:
        """Of what runs cost that were ever kept, whatever became of them."""
        if self.shell.batch is None:
            tallies = self.disk.tallies
            if ("owner", "1000") in tallies or self.disk.costs:
                spent = sum(self.disk.costs.values())
                assert abs((tallies["owner", "1000"].spent.cost_usd if tallies else 0.0) - spent) < 1e-6
            of_now = {key: tally for key, tally in self.shell.engine.purse.tallies.items() if key in tallies}
            assert of_now == tallies or self.shell.events, "what was kept is not what is counted"

    @invariant()
    def timers_fit(self) -> None:
        shell = self.shell
        if shell.batch is not None:
            return
        coming = {event for event, _ in shell.events if isinstance(event, ev.Due)}
        armed = {key for key in shell.timers if key[0]}
        for worker in shell.engine.workers.values():
            for timer, field in _FIELD_OF.items():
                at: float | None = getattr(worker, field)
                if at is None:
                    assert (worker.name, timer) not in armed, f"{timer} of {worker} is still armed"
                else:
                    fits = shell.timers.get((worker.name, timer)) == at
                    unheard = timer is ev.Timer.WATCHDOG and not shell.engine._hears(worker)  # begins anew when heard
                    assert fits or unheard or ev.Due(worker.name, timer, at) in coming, (
                        f"{timer} of {worker} is not armed"
                    )
                armed.discard((worker.name, timer))
            for timer, check in CHECK_OF.items():
                plan, at = schedule(worker, check), shell.timers.get((worker.name, timer))
                if plan is None:
                    assert at is None, f"{timer} of {worker} is still armed"
                else:
                    due = any(event.worker == worker.name and event.timer is timer for event in coming)
                    assert at is not None or due, f"{timer} of {worker} is not armed"
                    assert at is None or at <= plan.after(self.now), f"{timer} of {worker} is armed too late"
                armed.discard((worker.name, timer))
        for name, circuit in shell.engine.providers.circuits.items():
            if circuit.due is not None:
                due = ev.Due(name, ev.Timer.PROVIDER, circuit.due)
                assert shell.timers.get((name, ev.Timer.PROVIDER)) == due.at or due in coming, f"{circuit} is not armed"
            armed.discard((name, ev.Timer.PROVIDER))
        assert not {key for key in armed if key[1] is not ev.Timer.PROVIDER}, f"armed for nobody: {armed}"

    @invariant()
    def ends_are_true(self) -> None:
        for run, kept in self.disk.ends.items():
            said = self.truth.get(run)
            if said is None or (run in self.executor.forgotten and kept.kind is ExitKind.LOST):
                assert kept.kind is ExitKind.LOST, f"{run} did not end, but is kept as {kept}"
            else:
                assert (kept.code, kept.signal, kept.stage) == (said.code, said.signal, said.stage)

    @invariant()
    def sums_are_true(self) -> None:
        """Whatever crashed when, each line of a run counts once, and what a worker spent is what its runs did."""
        for run in self.disk.runs.values():
            lines = self.executor.logs.get(run.id, [])
            done = run.reading.log.get("out", 0)
            assert done == len(lines) or run.exit is None or run.exit.kind is ExitKind.LOST, (
                f"{run} was not read to its end"
            )
            assert (run.measures.cost_usd or 0.0) == round(sum(filter(None, lines[:done])), 9)
            assert run.reading.errors == lines[:done].count(None)
        for name, (worker, _) in self.disk.workers.items():
            runs = [run for run in self.disk.runs.values() if run.worker == name and run.exit is not None]
            assert worker.spent.cost_usd == round(sum(run.measures.cost_usd or 0.0 for run in runs), 9)

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "shell"):
            return
        self.settle()
        self.check_alignment()
        for name in list(self.shell.engine.workers):
            self.shell.post(ev.StopRequested(name, 1000))
        for _ in range(200):
            self.settle()
            if not self.step_time():
                break
        else:
            raise AssertionError("no rest after all were stopped")
        self.check_rest()

    def settle(self) -> None:
        """Until nothing is on its way."""
        if not self.shell.linked:
            self.shell.connect()
        self.shell.post(ev.PressureRead({}))
        for _ in range(200):
            self.turn()
            for worker in self.shell.prepared:
                assert worker.run is not None
                self.shell.post(ev.Prepared(worker.name, worker.run.id, () if worker.life is not None else None))
            self.shell.prepared.clear()
            self.turn()
            for process in self.executor.living():
                if process.doomed:
                    self.end_of(process, KILLED)
                elif process.pid is None:
                    self.executor.execute(process)
            if not self.executor.notices and not self.shell.prepared:
                return
            self.deliver_all()
        raise AssertionError("the executor has news for ever")

    def step_time(self) -> bool:
        if not self.shell.timers:
            return False
        self.fire(0, 0.0, False)
        return True

    def check_alignment(self) -> None:
        """The executor does what the daemon believes."""
        living = {process.worker: process for process in self.executor.living()}
        for worker in self.shell.engine.workers.values():
            process = living.pop(worker.name, None)
            assert (process is not None) == (worker.state in LIVE), worker
            if process is not None:
                assert worker.run is not None
                assert (process.run, process.frozen) == (worker.run.id, worker.state is State.PAUSED), worker
                assert worker.state is not State.STARTING, worker
        assert not living, f"without an owner: {living}"

    def check_rest(self) -> None:
        assert not self.executor.living()
        for worker in self.shell.engine.workers.values():
            assert (worker.want, worker.state in AT_REST) == (Want.DOWN, True), worker
        assert self.executor.born <= set(self.disk.ends), "a run that was started has no end"
        assert all(process.acked for process in self.executor.processes.values())
        self.kept_is_enough()
        self.timers_fit()


TestMachine = Machine.TestCase
