"""Specs as hypothesis makes them: every field, every value that the parser can give."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import strategies as st

from rdagentd.config.units import MAX_DURATION, MAX_SIZE
from rdagentd.model.dependency import Condition
from rdagentd.model.directories import CacheDirectory, StateDirectory
from rdagentd.model.health import HealthCheck, OnFailure, Probe
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from rdagentd.model.reporters import Reporter, Source
from rdagentd.model.requests import ALL, Requests
from rdagentd.model.spec import Breaker, DeviceRate, Limits, Log, Policy, Queue, Restart, Rlimit, Spec, Stop

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORDS = TEXTS.filter(bool)
PATHS = TEXTS.map(lambda text: f"/{text}")
DURATIONS = st.floats(0, MAX_DURATION).map(lambda seconds: seconds + 0.0)
POSITIVE = st.floats(0.001, MAX_DURATION)
SIZES = st.integers(0, MAX_SIZE)


def pairs(values: st.SearchStrategy[int]) -> st.SearchStrategy[Rlimit | None]:
    def limit(one: int | None, other: int | None) -> Rlimit:
        soft, hard = sorted((one, other), key=lambda value: MAX_SIZE + 1 if value is None else value)
        return Rlimit(soft, hard)

    return st.none() | st.builds(limit, st.none() | values, st.none() | values)


SMALL_LIMITS = {"nice": st.integers(0, 40), "rtprio": st.integers(0, 99), "cpu_time": st.integers(0, int(MAX_DURATION))}
COUNTS = st.integers(1, 1 << 22)
RATES = st.builds(DeviceRate, PATHS, COUNTS, *[st.none() | COUNTS] * 3)
MEMORY = st.none() | st.integers(1 << 20, MAX_SIZE)
WHOLE = {
    "memory": MEMORY, "memory_high": st.none(), "swap": st.none() | SIZES, "cpu": st.none() | st.floats(0.01, 8192),
    "cpu_weight": st.none() | st.integers(1, 10_000), "cpuset": st.sampled_from([None, "0", "0-3,8", "1,3,5-7"]),
    "tasks": st.none() | COUNTS, "io_weight": st.none() | st.integers(1, 10_000),
    "io_max": st.lists(RATES, max_size=3).map(tuple), "require": st.none() | st.booleans(),
}  # fmt: skip
EACH = [name for name in Limits.__annotations__ if name not in WHOLE]
LIMITS = st.builds(Limits, **WHOLE, **{name: pairs(SMALL_LIMITS.get(name, SIZES)) for name in EACH})


GPUS = st.sampled_from([0, 1, 64, ("0",), ("1", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"), ALL])
REQUESTS = st.builds(  # no more than the least that limits may be
    Requests,
    memory=st.integers(0, 1 << 20),
    cpu=st.sampled_from([0.0, 0.01]),
    disk=SIZES,
    gpus=GPUS,
)


@st.composite
def restarts(draw: st.DrawFn) -> Restart:
    delay, max_delay = sorted((draw(DURATIONS), draw(DURATIONS)))
    codes = draw(st.lists(st.integers(0, 255), unique=True, max_size=9))
    return Restart(
        policy=draw(st.sampled_from(Policy)),
        delay=delay,
        max_delay=max_delay,
        factor=draw(st.floats(1, 100)),
        jitter=draw(st.floats(0, 1).map(lambda value: value + 0.0)),
        retries=draw(st.integers(0, 1000)),
        window=draw(st.none() | POSITIVE),
        success_codes=tuple(codes[0::3]),
        stop_codes=tuple(codes[1::3]),
        restart_codes=tuple(codes[2::3]),
        breaker=draw(st.builds(Breaker, st.integers(0, 1000), POSITIVE, POSITIVE)),
    )


@st.composite
def logs(draw: st.DrawFn) -> Log:
    segment, cap = sorted((draw(st.integers(4096, MAX_SIZE)), draw(st.integers(4096, MAX_SIZE))))
    return Log(cap, segment, draw(st.booleans()), draw(st.booleans()))


@st.composite
def isolations(draw: st.DrawFn) -> Isolation:
    flags = {key: draw(st.booleans()) for key in PRESETS[Preset.STRICT]}
    paths = st.lists(PATHS, max_size=3).map(tuple)
    readable, writable = draw(paths), draw(paths)
    readable = tuple(path for path in readable if path not in writable)
    ports = st.sets(st.integers(1, 65535), min_size=1, max_size=16).map(lambda chosen: tuple(sorted(chosen)))
    egress = draw(st.none() | ports) if flags["network"] and flags["hidden_run"] else None
    preset = draw(st.sampled_from(Preset))
    isolation = Isolation(preset, **flags, egress=egress, read_only=readable, read_write=writable)
    return evolve(isolation, no_new_privileges=isolation.confines)


INNER = {
    "interval": st.floats(0.1, 86400), "timeout": st.floats(0.1, 300), "retries": st.integers(1, 100),
    "start_period": DURATIONS,
}  # fmt: skip
ASKED: st.SearchStrategy[dict[str, Any]] = (
    st.one_of(  # one of them; of tcp and http what an isolated worker lacks is left out
        st.fixed_dictionaries(
            {"exec": st.builds(lambda program, rest: (program, *rest), WORDS, st.lists(TEXTS, max_size=3))}
        ),
        st.fixed_dictionaries({"notify": st.just(True)}),
        st.fixed_dictionaries({"progress": POSITIVE}),
    )
)


@st.composite
def checks(draw: st.DrawFn) -> HealthCheck:
    def one(kind: Any, **more: Any) -> Any:
        return kind(**draw(ASKED), **{name: draw(values) for name, values in INNER.items()}, **more)

    ready = one(Probe) if draw(st.booleans()) else None
    return one(HealthCheck, on_failure=draw(st.sampled_from(OnFailure)), ready=ready)  # type: ignore[no-any-return]


SIGNALS = st.lists(st.sampled_from(["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "SIGUSR1"]), max_size=16).map(tuple)
VARIABLES = TEXTS.filter(lambda name: name and "=" not in name)
ENVIRONMENTS = st.dictionaries(VARIABLES, TEXTS, max_size=4)

REPORTERS = st.sampled_from(
    [
        Reporter(Source.LOG, "cost_usd", "cost: {number}"),
        Reporter(Source.LOG, "tokens", "tokens", add=True),
        Reporter(Source.JSON, "accuracy", file="*/x.json", path="a.0", every=5.0),
        Reporter(Source.PROMETHEUS, "tokens", url="http://127.0.0.1:8000/m", metric="t"),
        Reporter(Source.RECEIVE, "iteration", add=True),
    ]
)

SPECS = st.builds(
    Spec,
    name=NAMES,
    command=st.builds(lambda program, rest: (program, *rest), WORDS, st.lists(TEXTS, max_size=3)),
    docker_socket=st.booleans(),
    directory=st.none() | PATHS,
    environment=ENVIRONMENTS,
    environment_file=st.lists(PATHS, max_size=3).map(tuple),
    credentials=st.dictionaries(NAMES, NAMES, max_size=2),
    secret_environment=st.dictionaries(VARIABLES.map("S_{}".format), NAMES, max_size=2),
    user=st.none() | WORDS,
    group=st.none() | WORDS,
    umask=st.integers(0, 0o777),
    nice=st.integers(-20, 19),
    restart=restarts(),
    stop=st.builds(Stop, SIGNALS, DURATIONS, DURATIONS),
    timeout=st.none() | POSITIVE,
    kill_after=DURATIONS,
    queue=st.builds(Queue, NAMES, st.integers(-1_000_000, 1_000_000)),
    limits=LIMITS,
    requests=REQUESTS,
    isolation=isolations(),
    state=st.none() | st.builds(StateDirectory, st.none() | st.integers(1 << 20, MAX_SIZE)),
    cache=st.none() | st.builds(CacheDirectory, st.none() | st.integers(1 << 20, MAX_SIZE), st.none() | POSITIVE),
    log=logs(),
    reporters=st.lists(REPORTERS, max_size=3).map(tuple),
    labels=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", fullmatch=True),
        TEXTS.filter(str.isprintable),
        max_size=3,
    ),
    watchdog=st.none() | POSITIVE,
    health=st.none() | checks(),
    depends=st.sampled_from([{}, {"d-b": Condition.HEALTHY, "s.eed": Condition.COMPLETED}]),
    providers=st.sampled_from([(), ("openai",), ("openai", "local.1")]),
)

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.binary(max_size=9), st.dates()
)
ANYTHING = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=9), values, max_size=4),
    max_leaves=8,
)
