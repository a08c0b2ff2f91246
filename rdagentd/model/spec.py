"""The spec: what was asked for. Frozen; every change makes a new revision."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import Factory, frozen

from rdagentd.model.budgets import UNBOUNDED, Budgets
from rdagentd.model.checkpoints import Checkpoints, Snapshot
from rdagentd.model.container import Container, DriverName, Way
from rdagentd.model.dependency import Condition
from rdagentd.model.directories import CacheDirectory, StateDirectory
from rdagentd.model.health import HealthCheck
from rdagentd.model.isolation import Isolation
from rdagentd.model.preflight import Preflight
from rdagentd.model.reporters import Reporter
from rdagentd.model.requests import NOTHING, Requests
from rdagentd.model.result import Result
from rdagentd.model.stall import Stall


class Policy(StrEnum):
    """When a run that ended is followed by another one."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


@frozen
class Breaker:
    """Opens after `failures` unasked-for ends within `window` seconds; lets one attempt through after `cooldown` seconds.

    `failures` 0 switches it off.
    """

    failures: int = 10
    window: float = 600.0
    cooldown: float = 600.0


@frozen
class Restart:
    """Whether, when and how often a worker is started again.

    delay, max_delay, window: seconds. The n-th restart waits delay * factor**(n-1), at most max_delay, give or take the
    fraction `jitter` (0 to 1). `retries` restarts are allowed within `window` (None: since a person last started it); it
    counts for on-failure only. `stop_codes` end a worker whatever the policy; `restart_codes` restart at once.
    """

    policy: Policy = Policy.NEVER
    delay: float = 10.0
    factor: float = 1.0
    max_delay: float = 300.0
    jitter: float = 0.0
    retries: int = 5
    window: float | None = None
    success_codes: tuple[int, ...] = (0,)
    stop_codes: tuple[int, ...] = ()
    restart_codes: tuple[int, ...] = ()
    breaker: Breaker = Breaker()


@frozen
class Stop:
    """How a run is asked to end: the signals in order, `interval` seconds apart, then `grace` seconds, then SIGKILL for all."""

    signals: tuple[str, ...] = ("SIGTERM",)
    interval: float = 2.0
    grace: float = 10.0


@frozen
class Queue:
    """Where a worker waits for its turn: a group with slots, and a priority (higher goes first)."""

    group: str = "default"
    priority: int = 0


@frozen
class Rlimit:
    """A soft and a hard limit; None is unlimited. See getrlimit(2)."""

    soft: int | None
    hard: int | None


@frozen
class DeviceRate:
    """Most that a run may read and write on the device under `path`: bytes and operations a second. None: no limit."""

    path: str
    read: int | None = None
    write: int | None = None
    read_ops: int | None = None
    write_ops: int | None = None


@frozen
class Limits:
    """What a run may use.

    As a whole, by cgroup or container; None: no limit. Bytes: memory, memory_high, swap. cpu: in CPUs; cpuset: as "0-3,8";
    weights: 1 to 10000, 100 is usual; tasks: processes and threads. require: whether a run is refused where one of these
    cannot be enforced; None: where `memory` cannot.

    Each of its processes, by the names of getrlimit(2), always required; None: as the executor has it. Bytes: address_space,
    core, data, fsize, memlock, msgqueue, rss, stack. Seconds: cpu_time. Microseconds: rttime.
    """

    memory: int | None = None
    memory_high: int | None = None
    swap: int | None = None
    cpu: float | None = None
    cpu_weight: int | None = None
    cpuset: str | None = None
    tasks: int | None = None
    io_weight: int | None = None
    io_max: tuple[DeviceRate, ...] = ()
    require: bool | None = None
    address_space: Rlimit | None = None
    core: Rlimit | None = Rlimit(0, 0)
    cpu_time: Rlimit | None = None
    data: Rlimit | None = None
    fsize: Rlimit | None = None
    memlock: Rlimit | None = None
    msgqueue: Rlimit | None = None
    nice: Rlimit | None = None
    nofile: Rlimit | None = None
    nproc: Rlimit | None = None
    rss: Rlimit | None = None
    rtprio: Rlimit | None = None
    rttime: Rlimit | None = None
    sigpending: Rlimit | None = None
    stack: Rlimit | None = None


@frozen
class Log:
    """How captured output is kept: at most `cap` bytes per stream in segments of `segment` bytes; separate: streams apart.

    redact: whether secrets are taken out.
    """

    cap: int = 50 << 20
    segment: int = 10 << 20
    separate: bool = False
    redact: bool = True


@frozen
class Spec:
    """A worker as it was asked for. timeout and kill_after: seconds; timeout None is no limit; umask: 0 to 0o777.

    command: empty only for a container, which then runs what its image says. container: there exactly if the driver is docker.

    credentials: file name for the run → name of a credential of the executor's unit; secret_environment: variable → the same.
    docker_socket: whether a process may use the Docker engine, through the proxy. watchdog: seconds, as sd_watchdog_enabled(3)
    has it; None: no signs of life are asked for.

    depends: what must have become of which other workers before a run starts. providers: services without which it cannot work,
    such as those of models; who shares one shares its breaker.
    """

    name: str
    command: tuple[str, ...] = ()
    driver: DriverName = DriverName.PROCESS
    container: Container | None = None
    docker_socket: bool = False
    directory: str | None = None
    environment: Mapping[str, str] = Factory(dict)
    environment_file: tuple[str, ...] = ()
    credentials: Mapping[str, str] = Factory(dict)
    secret_environment: Mapping[str, str] = Factory(dict)
    user: str | None = None
    group: str | None = None
    umask: int = 0o022
    nice: int = 0
    restart: Restart = Restart()
    stop: Stop = Stop()
    timeout: float | None = None
    kill_after: float = 10.0
    queue: Queue = Queue()
    limits: Limits = Limits()
    requests: Requests = NOTHING
    isolation: Isolation = Isolation()  # noqa: RUF009
    state: StateDirectory | None = None
    cache: CacheDirectory | None = None
    log: Log = Log()
    reporters: tuple[Reporter, ...] = ()
    watchdog: float | None = None
    labels: Mapping[str, str] = Factory(dict)
    depends: Mapping[str, Condition] = Factory(dict)
    providers: tuple[str, ...] = ()
    health: HealthCheck | None = None
    budgets: Budgets = UNBOUNDED
    stall: Stall | None = None
    preflight: Preflight | None = None
    result: Result | None = None
    checkpoints: Checkpoints | None = None
    snapshot: Snapshot = Snapshot()  # noqa: RUF009

    @property
    def way(self) -> Way:
        """What there must be for a run to begin."""
        return Way.SOCKET if self.docker_socket else Way(self.driver)

    def __repr__(self) -> str:
        """Without the environment: it holds keys, and a repr ends up in logs."""
        return f"Spec({self.name!r}, command={self.command!r})"


LIVE_FIELDS = frozenset(
    {
        "restart", "stop", "timeout", "kill_after", "queue", "labels", "reporters", "health", "checkpoints", "snapshot",
        "preflight", "result", "depends", "providers", "budgets", "stall",
    }
)  # fmt: skip
"""Fields whose change takes effect on a run that is under way; any other change needs a new run."""
