"""Values for the tests of the store: plain ones, and any that hypothesis can think of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Snapshot, Verify
from rdagentd.model.dependency import Condition
from rdagentd.model.directories import CacheDirectory, StateDirectory
from rdagentd.model.isolation import Isolation, Preset
from rdagentd.model.measures import Measures, Spent
from rdagentd.model.requests import Requests
from rdagentd.model.run import Exit, ExitKind, Reading, Run, Usage
from rdagentd.model.spec import Breaker, Limits, Log, Policy, Queue, Restart, Rlimit, Spec, Stop
from rdagentd.model.worker import Reason, State, Then, Want, Worker
from rdagentd.store.writes import AddEvent, SaveRun, SaveSpec, SaveWorker, Write

texts = st.text(st.characters(), max_size=20)
"""Surrogates too: file names that are not UTF-8 become such."""

numbers = st.floats(allow_nan=False)
integers = st.integers(-(1 << 63), (1 << 64) - 1)
small = st.integers(0, 1 << 31)
codes = st.lists(st.integers(0, 255), max_size=3).map(tuple)


def optional(strategy: Any) -> Any:
    return st.none() | strategy


rlimits = st.builds(Rlimit, optional(integers), optional(integers))
limits = st.builds(Limits, **{name: optional(rlimits) for name in ("core", "nofile", "cpu_time", "address_space")})
breakers = st.builds(Breaker, small, numbers, numbers)
restarts = st.builds(
    Restart,
    policy=st.sampled_from(Policy),
    delay=numbers,
    window=optional(numbers),
    success_codes=codes,
    stop_codes=codes,
    restart_codes=codes,
    breaker=breakers,
)
requests = st.builds(
    Requests, small, numbers, small, small | st.lists(st.sampled_from(("0", "1", "GPU-a")), min_size=1).map(tuple)
)
specs = st.builds(
    Spec,
    name=st.just("w"),
    command=st.lists(texts, min_size=1, max_size=4).map(tuple),
    directory=optional(texts),
    environment=st.dictionaries(texts, texts, max_size=4),
    environment_file=st.lists(texts, max_size=2).map(tuple),
    user=optional(texts),
    umask=st.integers(0, 0o777),
    nice=st.integers(-20, 19),
    restart=restarts,
    stop=st.builds(Stop, st.lists(texts, max_size=3).map(tuple), numbers, numbers),
    timeout=optional(numbers),
    queue=st.builds(Queue, texts, integers),
    limits=limits,
    requests=requests,
    isolation=st.builds(
        Isolation,
        st.sampled_from(Preset),
        *[st.booleans()] * 5,
        optional(st.lists(small, max_size=2).map(tuple)),
        st.booleans(),
        *[st.lists(texts, max_size=2).map(tuple)] * 2,
    ),
    state=optional(st.builds(StateDirectory, optional(small))),
    cache=optional(st.builds(CacheDirectory, optional(small), optional(numbers))),
    log=st.builds(Log, small, small, st.booleans()),
    labels=st.dictionaries(texts, texts, max_size=4),
    checkpoints=optional(
        st.builds(Checkpoints, texts, codes.map(lambda ns: tuple(map(str, ns))), st.sampled_from(Verify))
    ),
    snapshot=st.builds(Snapshot, st.booleans()),
    depends=st.dictionaries(texts, st.sampled_from(Condition), max_size=2),
    providers=st.lists(texts, max_size=2).map(tuple),
)
checkpoints = st.builds(Checkpoint, texts, integers, small)
exits = st.builds(
    Exit,
    kind=st.sampled_from(ExitKind),
    code=optional(st.integers(0, 255)),
    signal=optional(st.sampled_from(("SIGKILL", "SIGTERM"))),
    core=st.booleans(),
    stage=optional(texts),
    errno=optional(small),
    reason=texts,
)
measures = st.builds(
    Measures,
    progress=optional(st.floats(0, 1)),
    iteration=optional(small),
    step=optional(texts),
    tokens=optional(small),
    cost_usd=optional(numbers),
    errors=optional(small),
    provider_errors=optional(small),
    custom=st.dictionaries(texts, numbers, max_size=3),
    status=optional(texts),
)
runs = st.builds(
    Run,
    id=st.just("r1"),
    worker=st.just("w"),
    revision=small,
    attempt=small,
    pid=optional(small),
    start_ticks=optional(integers),
    started_at=optional(numbers),
    ended_at=optional(numbers),
    exit=optional(exits),
    usage=optional(st.builds(Usage, numbers, numbers, small)),
    log_start=st.dictionaries(st.sampled_from(("out", "err")), small),
    log_end=st.dictionaries(st.sampled_from(("out", "err")), small),
    holds=requests,
    measures=measures,
    reading=st.builds(Reading, st.dictionaries(st.sampled_from(("out", "err")), small), small, texts),
    prepared=st.booleans(),
    checkpoint=optional(checkpoints),
)
workers = st.builds(
    Worker,
    name=st.just("w"),
    spec=specs,
    owner=small,
    revision=st.integers(1, 1 << 31),
    want=st.sampled_from(Want),
    state=st.sampled_from(State),
    reason=optional(st.builds(Reason, texts, texts)),
    run=optional(runs),
    attempt=small,
    restarts=small,
    ends=st.lists(numbers, max_size=4).map(tuple),
    due=optional(numbers),
    deadline=optional(numbers),
    time_left=optional(numbers),
    step=small,
    cause=optional(st.sampled_from(ExitKind)),
    cause_text=texts,
    then=st.sampled_from(Then),
    order=integers,
    half_open=st.booleans(),
    spent=st.builds(Spent, small, numbers, small, small, small, numbers, small),
    paused_at=optional(numbers),
    life=optional(numbers),
    chosen=optional(texts),
    setbacks=st.lists(checkpoints, max_size=3).map(tuple),
)


def a_spec(name: str = "w", **fields: Any) -> Spec:
    return Spec(name, ("/bin/sh", "-c", f"echo {name}"), environment={"KEY": "secret"}, **fields)


def a_run(number: int = 1, worker: str = "w", ended: bool = False) -> Run:
    end = Exit(ExitKind.CODE, 0) if ended else None
    return Run(f"{number:012d}", worker, 1, pid=number, started_at=1.5, ended_at=2.5 if ended else None, exit=end)


def a_worker(name: str = "w", run: Run | None = None, **fields: Any) -> Worker:
    return Worker(name, a_spec(name), 1000, run=run, reason=Reason("started", "it was started"), **fields)


def saves(worker: Worker) -> list[Write]:
    """All that must be written for a worker to be read again."""
    run: list[Write] = [SaveRun(worker.run)] if worker.run else []
    return [SaveSpec(worker.name, worker.revision, worker.spec, 1.5, 1000), *run, SaveWorker(worker)]


def an_event(number: int = 1, worker: str | None = "w", **data: Any) -> AddEvent:
    return AddEvent(1.5, worker, None, "noted", f"event {number}", 1000, data)
