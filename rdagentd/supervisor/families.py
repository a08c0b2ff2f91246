"""Every metric that the daemon tells, in one literal table: name, kind, labels, help, and where the value comes from. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from attrs import Factory, frozen

from rdagentd.config.metrics import WorkerFamily as Of
from rdagentd.model.health import Health
from rdagentd.model.measures import UNTOLD, Measures
from rdagentd.model.run import log_bytes
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.happenings import Happenings
from rdagentd.supervisor.iterations import is_ralph
from rdagentd.supervisor.load import Load
from rdagentd.supervisor.traffic import Durations, Traffic


class Kind(StrEnum):
    """As Prometheus has them; an info is a gauge that is always 1."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


@frozen
class Line:
    """A group of the queue: how many wait, how many slots there are (None: no bound), how many are held."""

    length: int
    slots: int | None
    used: int


@frozen
class Snapshot:
    """The daemon at one moment. started_at: seconds since the epoch. programs: CPU seconds and bytes of memory by program.

    drivers: whether they answer, by name, those that somebody needs. workers: how many, by state; untold: those of them
    without series of their own. held: resources whose pressure holds the queue. providers: whether their breakers are open.
    budgets: used parts of those that are shared.
    """

    version: str
    started_at: float
    programs: Mapping[str, tuple[float, int]]
    drivers: Mapping[str, bool]
    store: bool
    load: Load
    traffic: Traffic
    workers: Mapping[State, int]
    workers_max: int
    untold: int
    lines: Mapping[str, Line]
    held: Mapping[str, bool]
    happened: Happenings
    providers: Mapping[str, bool]
    budgets: Mapping[str, float] = Factory(dict)


class One(NamedTuple):
    """One worker at that moment. counted: what its run uses if it lives, as its driver told last; disk: bytes by directory;
    iterations: how long they took, where that is known; now: monotonic seconds; budgets: used parts of its own.
    """

    worker: Worker
    exits: Mapping[str, int]
    counted: Mapping[str, Any]
    disk: Mapping[str, int]
    iterations: Durations | None = None
    now: float = 0.0
    budgets: Mapping[str, float] = MappingProxyType({})


Subject = TypeVar("Subject")

Sample = tuple[Sequence[str], Any]
"""Values of the labels, and the number; of a histogram `{buckets: [[bound as text, how many up to there]...], sum}`."""


@frozen
class Family(Generic[Subject]):
    """read: the value of a subject, None if there is none; with labels, the values by label (a tuple of several)."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    read: Callable[[Subject], Any]

    def samples(self, subjects: Iterable[tuple[tuple[str, ...], Subject]]) -> list[Sample]:
        """The samples of these subjects, each behind the values of the labels that it has by itself."""
        read, own = self.read, len(self.labels)
        if not own:
            return [(labels, value) for labels, subject in subjects if (value := read(subject)) is not None]
        return [
            ((*labels, key) if own == 1 else (*labels, *key), value)
            for labels, subject in subjects
            for key, value in read(subject).items()
            if value is not None
        ]


def histogram(durations: Durations) -> dict[str, Any]:
    """As it is told: counts up to each bound, the last of them that of all."""
    bounds = (*map(str, durations.bounds), "+Inf")
    return {"buckets": list(map(list, zip(bounds, accumulate(durations.counts), strict=True))), "sum": durations.total}


def _run_start(one: One) -> float | None:
    run = one.worker.run
    return run.started_at if run is not None and run.exit is None else None


def _cpu(one: One) -> float | None:
    run = one.worker.run
    if run is None or run.exit is None:
        user, system = one.counted.get("user"), one.counted.get("system")
    elif run.usage is None:
        return None
    else:
        user, system = run.usage.user, run.usage.system
    return None if user is None or system is None else user + system


def _log(one: One) -> int | None:
    run = one.worker.run
    if run is None:
        return None
    ends = one.counted.get("log") if run.exit is None else run.log_end
    return None if ends is None else log_bytes(run, ends)


def _activity(one: One) -> float | None:
    run, active = one.worker.run, one.counted.get("active")
    return None if run is None or active is None else max(active, run.started_at or 0.0)


def _told(one: One) -> Measures:
    return UNTOLD if one.worker.run is None else one.worker.run.measures


def _iterations(one: One) -> int | None:
    return one.worker.total.iterations or _told(one).iteration


def _errors(one: One) -> int | None:
    return one.worker.total.errors or _told(one).errors


def _of_ralph(read: Callable[[One], Any]) -> Callable[[One], Any]:
    return lambda one: read(one) if is_ralph(one.worker) else None


def _health(one: One) -> dict[str, int]:
    return {} if one.worker.health is Health.NONE else {one.worker.health.value: 1}


def _ready(one: One) -> int | None:
    return None if one.worker.spec.health is None else int(one.worker.ready)


def _stalled(one: One) -> int | None:
    quiet = one.worker.quiet
    return None if quiet is None else int(quiet.stalled)


def _latest(key: str) -> Callable[[One], Any]:
    """Of the latest run, also when it is over."""

    def read(one: One) -> Any:
        run = one.worker.run
        return one.counted.get(key) if run is None or run.exit is None else getattr(run.usage, key, None)

    return read


def _now(key: str) -> Callable[[One], Any]:
    """Of a run that lives."""
    return lambda one: one.counted.get(key)


def _lines(read: Callable[[Line], int | None]) -> Callable[[Snapshot], Mapping[str, int | None]]:
    return lambda now: {group: read(line) for group, line in now.lines.items()}


_G, _C = Kind.GAUGE, Kind.COUNTER

FAMILIES: tuple[Family[Snapshot], ...] = (
    Family("rdagentd_build_info", Kind.INFO, ("version",), "Version of the daemon.", lambda now: {now.version: 1}),
    Family("rdagentd_start_time_seconds", _G, (), "When the daemon began, in Unix time.", lambda now: now.started_at),
    Family("rdagentd_process_cpu_seconds_total", _C, ("program",), "CPU time of the daemon and of the executor.",
           lambda now: {program: cpu for program, (cpu, _) in now.programs.items()}),
    Family("rdagentd_process_resident_memory_bytes", _G, ("program",), "Memory of the daemon and of the executor.",
           lambda now: {program: memory for program, (_, memory) in now.programs.items()}),
    Family("rdagentd_driver_up", _G, ("driver",),
           "Whether the executor (process) answers; the engine (docker) and its proxy (socket), where needed.",
           lambda now: {name: int(up) for name, up in now.drivers.items()}),
    Family("rdagentd_store_up", _G, (), "Whether the state can be written.", lambda now: int(now.store)),
    Family("cpu_usage_percent", _G, (), "CPUs of the host, since the scrape before.", lambda now: now.load.cpu),
    Family("memory_usage_percent", _G, (), "Memory of the host that is not available.", lambda now: now.load.memory),
    Family("disk_usage_percent", _G, (), "File system of the state directory.", lambda now: now.load.disk),
    Family("rdagentd_connections", _G, (), "Clients of the control socket.", lambda now: now.traffic.connections),
    Family("rdagentd_connections_max", _G, (), "Most clients of the control socket.", lambda now: now.traffic.most),
    Family("rdagentd_requests_total", _C, ("op", "outcome"), "Requests by how they ended: ok, cancelled, or an error.",
           lambda now: now.traffic.requests),
    Family("rdagentd_request_duration_seconds", Kind.HISTOGRAM, ("op",),
           "How long requests took, those aside that last as long as they are meant to.",
           lambda now: {op: histogram(durations) for op, durations in now.traffic.durations.items()}),
    Family("rdagentd_workers", _G, ("state",), "Workers by state.",
           lambda now: {state.value: now.workers.get(state, 0) for state in State}),
    Family("rdagentd_workers_max", _G, (), "Most workers that may be.", lambda now: now.workers_max),
    Family("rdagentd_workers_untold", _G, (), "Workers without series of their own; see [metrics].", lambda now: now.untold),
    Family("rdagentd_queue_length", _G, ("group",), "Workers that wait for their start.", _lines(lambda line: line.length)),
    Family("rdagentd_slots", _G, ("group",), "Slots of groups that have a bound.", _lines(lambda line: line.slots)),
    Family("rdagentd_slots_used", _G, ("group",), "Slots that are held.", _lines(lambda line: line.used)),
    Family("rdagentd_queue_held", _G, ("resource",), "Whether pressure on the host holds all starts back.",
           lambda now: {resource: int(held) for resource, held in now.held.items()}),
    Family("rdagentd_provider_open", _G, ("provider",), "Whether the breaker of a provider holds starts back.",
           lambda now: {name: int(out) for name, out in now.providers.items()}),
    Family("rdagentd_events_total", _C, ("kind",), "Lines of the event log.", lambda now: now.happened.stories),
    Family("rdagentd_exits_total", _C, ("kind",), "Ends of runs by kind.", lambda now: now.happened.exits),
    Family("rdagentd_restarts_total", _C, (), "Restarts by policy.", lambda now: now.happened.restarts),
    Family("rdagentd_budget_used_ratio", _G, ("budget",), "What is used of each shared budget, 1 being all of it.",
           lambda now: now.budgets),
)  # fmt: skip

OF_WORKERS: tuple[Family[One], ...] = (
    Family(Of.STATE, _G, ("state",), "1 for the state that the worker is in.", lambda one: {one.worker.state: 1}),
    Family(Of.RESTARTS, _C, (), "Restarts by policy, ever.", lambda one: one.worker.restarts),
    Family(Of.EXITS, _C, ("kind",), "Ends of its runs by kind, since the daemon began.", lambda one: one.exits),
    Family(Of.RUN_START, _G, (), "When its run began, in Unix time; while it lives.", _run_start),
    Family(Of.CPU, _C, (), "CPU time of its latest run.", _cpu),
    Family(Of.MEMORY, _G, (), "Memory of its run.", _now("memory")),
    Family(Of.MEMORY_PEAK, _G, (), "Most memory that its latest run had at a time.", _latest("memory_peak")),
    Family(Of.TASKS, _G, (), "Processes and threads of its run.", _now("tasks")),
    Family(Of.READ, _C, (), "Bytes that its latest run read from devices.", _latest("read")),
    Family(Of.WRITTEN, _C, (), "Bytes that its latest run wrote to devices.", _latest("written")),
    Family(Of.LOG, _C, (), "Bytes of output of its latest run.", _log),
    Family(Of.DISK, _G, ("directory",), "What its directories hold, as last measured.", lambda one: one.disk),
    Family(Of.ACTIVITY, _G, (), "When its run last wrote output, or began, in Unix time.", _activity),
    Family(Of.PROGRESS, _G, (), "How far its latest run says to be, 0 to 1.", lambda one: _told(one).progress),
    Family(Of.ITERATIONS, _C, (), "Iterations of all its runs, as they told.", _iterations),
    Family(
        Of.TOKENS,
        _C,
        (),
        "Tokens of all its runs, as they told.",
        lambda one: one.worker.total.tokens or _told(one).tokens,
    ),
    Family(
        Of.COST,
        _C,
        (),
        "What all its runs have cost, in US dollars, as they told.",
        lambda one: one.worker.total.cost_usd or _told(one).cost_usd,
    ),
    Family(Of.ERRORS, _C, (), "Errors of all its runs, as they told.", _errors),
    Family(
        Of.MEASURE,
        _G,
        ("measure",),
        "What its latest run tells besides, by the user's names.",
        lambda one: _told(one).custom,
    ),
    Family(
        Of.RALPH_ITERATIONS, _C, (), "Of workers of a profile ralph: iterations of all runs.", _of_ralph(_iterations)
    ),
    Family(Of.RALPH_ERRORS, _C, (), "Of workers of a profile ralph: errors of all runs.", _of_ralph(_errors)),
    Family(
        Of.RALPH_RUNTIME,
        _G,
        (),
        "Of workers of a profile ralph: how long all runs ran, pauses aside.",
        _of_ralph(lambda one: one.worker.spent.run_time + one.worker.run_time(one.now)),
    ),
    Family(
        Of.RALPH_ITERATION,
        Kind.HISTOGRAM,
        (),
        "Of workers of a profile ralph: how long iterations took, since the daemon began.",
        _of_ralph(lambda one: one.iterations and histogram(one.iterations)),
    ),
    Family(
        Of.HEALTH, _G, ("health",), "1 for what its health check has found: starting, healthy or unhealthy.", _health
    ),
    Family(Of.READY, _G, (), "Whether it can be used, by its checks; of workers that have any.", _ready),
    Family(Of.STALLED, _G, (), "Whether its run, watched for stalls, is found to be stalled.", _stalled),
    Family(
        Of.BUDGET, _G, ("budget",), "What is used of each of its budgets, 1 being all of it.", lambda one: one.budgets
    ),
)
EACH = ("worker", "group")
"""Labels of each of those, before its own."""


def head(family: Family[Any], before: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is told of a family beside its samples. before: labels that its subject has."""
    return {
        "name": family.name,
        "kind": family.kind.value,
        "help": family.help,
        "labels": (*before, *family.labels),
    }
