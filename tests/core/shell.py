"""What surrounds the engine, in miniature: a disk, an executor, and the shell between them. All of it may fail.

The executor keeps what docs/architecture.md promises of the real one, and checks what it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from attrs import Factory, define, evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.model.budgets import Tally
from rdagentd.model.provider import Circuit
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker

LOST = Exit(ExitKind.LOST, reason="lost: the executor died")
NO_SPEC = Spec("", ())


class Disk:
    """Keeps workers without their spec and run, which have rows of their own, as the store does."""

    def __init__(self) -> None:
        self.workers: dict[str, tuple[Worker, str | None]] = {}
        self.specs: dict[tuple[str, int], Spec] = {}
        self.runs: dict[str, Run] = {}
        self.epoch = 0
        self.circuits: Mapping[str, Circuit] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.costs: dict[str, float] = {}
        """What every run that ever was has cost: also of workers that are forgotten."""
        self.ends: dict[str, Exit] = {}
        """Every end that was ever kept, also of workers that are forgotten."""

    def keep(self, effects: Iterable[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Save(worker):
                    self.workers[worker.name] = (
                        evolve(worker, spec=NO_SPEC, run=None),
                        worker.run.id if worker.run else None,
                    )
                case fx.SaveSpec(name, revision, spec):
                    self.specs[name, revision] = spec
                case fx.SaveRun(run):
                    self._keep_run(run)
                case fx.SaveCircuits(circuits):
                    self.circuits = circuits
                case fx.SaveTally(tally):
                    self.tallies[tally.scope, tally.name] = tally
                case fx.Forget(name):
                    self.workers.pop(name)
                    self.specs = {key: spec for key, spec in self.specs.items() if key[0] != name}
                    self.runs = {run.id: run for run in self.runs.values() if run.worker != name}

    def _keep_run(self, run: Run) -> None:
        if run.id in self.ends:
            assert run.exit == self.ends[run.id], f"run {run.id} ended twice"
        elif run.exit is not None:
            self.ends[run.id] = run.exit
        self.runs[run.id] = run
        if run.measures.cost_usd:
            self.costs[run.id] = run.measures.cost_usd

    def rebuild(self) -> dict[str, Worker]:
        """The workers, from what was kept alone."""
        return {
            name: evolve(worker, spec=self.specs[name, worker.revision], run=self.runs[run] if run else None)
            for name, (worker, run) in self.workers.items()
        }


@define
class Process:
    """A run as the executor has it. pid None: its exec is under way."""

    worker: str
    run: str
    pid: int | None = None
    frozen: bool = False
    doomed: bool = False
    exit: Exit | None = None
    acked: bool = False

    @property
    def lives(self) -> bool:
        return self.exit is None


class Executor:
    """Starts a run id once; repeats an end until it is acknowledged; what it tells lies in `notices`."""

    def __init__(self, disk: Disk) -> None:
        self.epoch = 1
        self.processes: dict[str, Process] = {}
        self.notices: list[ev.RunStarted | ev.RunExited] = []
        self.born: set[str] = set()
        self.forgotten: set[str] = set()
        """Runs whose end, told or not, went with an old journal."""
        self.logs: dict[str, list[float | None]] = {}
        """By run the lines that it wrote: what it has cost since the line before, None for what nobody can read."""
        self._disk = disk

    def living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.lives]

    # --- asked --------------------------------------------------------------------------------------------------------

    def spawn(self, worker: Worker) -> None:
        assert worker.run is not None
        run = worker.run.id
        known = self.processes.get(run)
        if known is not None:
            self._tell_again(known)
            return
        assert run not in self.born, f"run {run} is started a second time"
        assert run in self._disk.runs, f"run {run} is started before its intent was kept"
        assert not [p for p in self.living() if p.worker == worker.name], f"a second run of {worker.name} is started"
        self.born.add(run)
        self.processes[run] = Process(worker.name, run)

    def _tell_again(self, process: Process) -> None:
        if process.exit is not None:
            self.notices.append(ev.RunExited(process.worker, process.run, process.exit, 2.0))
        elif process.pid is not None:
            self.notices.append(ev.RunStarted(process.worker, process.run, process.pid, 7, 1.0))

    def kill(self, run: str) -> None:
        self._with(run, "doomed", True)

    def freeze(self, run: str) -> None:
        self._with(run, "frozen", True)

    def thaw(self, run: str) -> None:
        self._with(run, "frozen", False)

    def _with(self, run: str, field: str, value: bool) -> None:
        process = self.processes.get(run)
        if process is not None and process.lives:
            setattr(process, field, value)

    def ack(self, run: str) -> None:
        process = self.processes.get(run)
        if process is not None and process.exit is not None:
            assert run in self._disk.ends or run not in self._disk.runs, f"the end of {run} is acknowledged, not kept"
            process.acked = True

    # --- happening ----------------------------------------------------------------------------------------------------

    def execute(self, process: Process) -> None:
        process.pid = len(self.born) + 100
        self._tell_again(process)

    def end(self, process: Process, ended: Exit) -> None:
        process.exit = ended
        self._tell_again(process)

    def crash(self, forgets: bool) -> None:
        """Its successor has ended what was alive, and reports it as lost unless the journal is gone too."""
        for process in self.living():
            process.exit = LOST
        self.notices.clear()
        if forgets:
            self.epoch += 1
            self.forgotten |= {process.run for process in self.processes.values() if not process.acked}
            self.processes.clear()

    def hello(self, same_epoch: bool) -> list[ev.Event]:
        held = tuple(
            ev.Held(process.worker, process.run, process.pid, 7, 1.0, process.frozen) for process in self.living()
        )
        over = [p for p in self.processes.values() if p.exit is not None and not p.acked]
        ends = [ev.RunExited(p.worker, p.run, p.exit, 2.0) for p in over if p.exit is not None]
        return [ev.ExecutorConnected(same_epoch, held, frozenset(p.run for p in over)), *ends]


@define
class Batch:
    """Decided, not yet kept."""

    events: list[tuple[ev.Event, int | None]]
    effects: list[fx.Effect]


ASKED = (ev.SubmitRequested, *ev.Request.__args__)


@define
class Shell:
    """The daemon round the engine. `events` and `timers` die with it; the disk and the executor do not.

    Each event goes with the executor's epoch that is to be kept with it, if any. unsettled: connections that the engine has
    not heard of yet; while there are any, nothing is spawned. offsets: how far each log has been read for what it tells.
    """

    engine: Engine
    disk: Disk
    executor: Executor
    events: deque[tuple[ev.Event, int | None]] = Factory(deque)
    timers: dict[tuple[str, ev.Timer], float] = Factory(dict)
    batch: Batch | None = None
    linked: bool = False
    unsettled: int = 0
    epoch: int = 0
    looks: list[fx.Examine | fx.Picture] = Factory(list)
    offsets: dict[str, int] = Factory(dict)
    prepared: list[Worker] = Factory(list)
    """Whose checkpoints are being looked for."""

    def begin(self, now: float, rebooted: bool) -> None:
        self.epoch = self.disk.epoch
        effects = self.engine.restore(self.disk.rebuild().values(), now, rebooted, self.disk.tallies.values())
        effects += self.engine.restore_circuits(self.disk.circuits, now, rebooted)
        self.disk.keep(effects)
        self.carry_out(effects)

    def post(self, event: ev.Event, epoch: int | None = None) -> None:
        if isinstance(event, ev.RunExited):
            self.read(event.worker, event.run)
        self.events.append((event, epoch))

    def read(self, name: str, run: str) -> None:
        """Tells what the log holds beyond what was read: after a crash, beyond what was kept."""
        worker = self.engine.workers.get(name)
        if worker is None or worker.run is None or worker.run.id != run:
            return
        lines = self.executor.logs.get(run, [])
        start = self.offsets.get(run, worker.run.reading.log.get("out", 0))
        fresh, self.offsets[run] = lines[start:], len(lines)
        if fresh:
            cost, errors = sum(filter(None, fresh)), fresh.count(None)
            told = ev.Reported(name, run, {}, "log", {"cost_usd": cost}, {"out": len(lines)}, errors, "cannot read it")
            self.post(told)

    def connect(self) -> None:
        self.linked = True
        self.unsettled += 1
        connected, *ends = self.executor.hello(self.executor.epoch == self.epoch)
        self.epoch = self.executor.epoch
        self.post(connected, self.epoch)
        for end in ends:
            self.post(end)

    def disconnect(self) -> None:
        self.linked = False
        self.prepared.clear()
        self.executor.notices.clear()  # not read yet
        self.post(ev.ExecutorLost())

    # --- decide, keep, do ---------------------------------------------------------------------------------------------

    def decide(self, most: int, now: float, watch: Callable[[ev.Event, list[fx.Effect]], None]) -> None:
        assert self.batch is None
        events = [self.events.popleft() for _ in range(min(most, len(self.events)))]
        self.engine.mark()
        effects: list[fx.Effect] = []
        for event, _ in events:
            decided = self.engine.handle(event, now)
            watch(event, decided)
            effects += decided
        self.batch = Batch(events, effects)

    def keep(self) -> list[fx.Effect]:
        """Commits the batch; returns what is to be done now."""
        batch, self.batch = self.batch, None
        assert batch is not None
        self.disk.keep(batch.effects)
        for _, epoch in batch.events:
            self.disk.epoch = epoch or self.disk.epoch
        return batch.effects

    def fail(self) -> None:
        """The batch cannot be kept: whoever asked is told so, and what happened comes again."""
        batch, self.batch = self.batch, None
        assert batch is not None
        self.engine.rollback()
        self.events.extendleft(item for item in reversed(batch.events) if not isinstance(item[0], ASKED))

    def carry_out(self, effects: Iterable[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Arm(worker, timer, at):
                    self.timers[worker, timer] = at
                case fx.Disarm(worker, timer):
                    self.timers.pop((worker, timer), None)
                case fx.Ready():
                    self.unsettled -= 1
                case fx.Examine() | fx.Picture():
                    self.looks.append(effect)
                case _ if self.linked:
                    self._ask(effect)

    def _ask(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Spawn(worker) if not self.unsettled:
                self.executor.spawn(worker)
            case fx.Prepare(worker) if not self.unsettled:
                assert worker.run is not None and worker.run.id not in self.executor.born, (
                    "prepared after it was asked for"
                )
                self.prepared.append(worker)
            case fx.Kill(run):
                self.executor.kill(run)
            case fx.Freeze(run):
                self.executor.freeze(run)
            case fx.Thaw(run):
                self.executor.thaw(run)
            case fx.Ack(run):
                self.executor.ack(run)
