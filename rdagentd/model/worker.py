"""A worker: a named thing that is supervised. A value: each decision makes a new one, and the store keeps the newest."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from rdagentd.model.checkpoints import Checkpoint
from rdagentd.model.health import Health
from rdagentd.model.measures import NOTHING_SPENT, Spent
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Spec
from rdagentd.model.stall import Quiet


class State(StrEnum):
    """Where a worker is in its life. The wish (`Want`) and health are apart from it."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"


LIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING})
"""States in which a run exists or may exist: these hold a slot."""

HELD = -1
"""Step of a stop that has not begun: those that depend on the worker are still ending."""

AT_REST = frozenset({State.STOPPED, State.COMPLETED, State.FAILED})
"""States that a worker leaves only when somebody asks, or a breaker half-opens."""


class Want(StrEnum):
    """What somebody wishes for a worker."""

    UP = "up"
    DOWN = "down"


class Then(StrEnum):
    """What follows once a run that is being stopped has ended."""

    REST = "rest"
    START = "start"
    REMOVE = "remove"
    QUEUE = "queue"
    """It waits for a budget that it shares with others."""
    DRAINED = "drained"
    """The daemon itself is leaving: the worker comes back with it."""
    FAIL = "fail"
    """Its spec says that it is to rest after an end such as this, whatever its restart policy."""


@frozen
class Reason:
    """Why a worker is where it is: a code for programs, a sentence for people."""

    code: str
    text: str


@frozen
class Worker:
    """A worker as the daemon knows it.

    owner: uid of the person who submitted it. run: the latest run, live or over. attempt: runs since a person last started
    it. restarts: automatic restarts ever. launched: monotonic time at which the latest run was asked for. ends: monotonic
    times of the ends that count against retries and the breaker. due: monotonic time of the state's own deadline (end of
    the backoff, next step of the stop ladder, half-open of the breaker). deadline: monotonic time of the run-time limit;
    time_left: what is left of it while paused. step: position on the stop ladder. cause: the exit kind that a stop under
    way will be given, if it was not a wish; cause_text: why, in words. order: place in the queue among equals. source: the
    file of workers.d that declares it, None if somebody submitted it; orphaned: that file is gone. spent: what its ended runs
    come to. watchdog_at: monotonic time by which its run must give a sign of life. says_ready: whether it has told that it is
    ready; False: that it ends; None: neither.
    paused_at: monotonic time since which it is paused; at its end `launched` moves on by as much.

    health: what is known of its run; found_ready: what the check of readiness last came to. failures, unready: failures in a
    row of the two checks, at most as many as count. ailment: the words of the last that counted. probed_from: monotonic time
    from which the times of probes and the start period are counted.

    life: when its first run began since it was started from the beginning, in seconds since the epoch, None until then: what
    was written before is no checkpoint of it. chosen: the path that a person wants to go on from; setbacks: checkpoints whose
    runs failed.

    Of the live run: wrote: bytes of output, disk: bytes that its directories hold, None if nobody knows, as found last;
    before_today: seconds that it had run when this day began; warned: budgets of which it was told that little is left;
    budget_due: monotonic time at which time alone may exceed one; quiet: while it is watched for stalls.
    """

    name: str
    spec: Spec
    owner: int
    revision: int = 1
    want: Want = Want.UP
    state: State = State.STOPPED
    reason: Reason | None = None
    run: Run | None = None
    attempt: int = 0
    restarts: int = 0
    launched: float = 0.0
    ends: tuple[float, ...] = ()
    due: float | None = None
    deadline: float | None = None
    time_left: float | None = None
    step: int = 0
    cause: ExitKind | None = None
    cause_text: str = ""
    then: Then = Then.REST
    order: int = 0
    half_open: bool = False
    source: str | None = None
    orphaned: bool = False
    spent: Spent = NOTHING_SPENT
    paused_at: float | None = None
    watchdog_at: float | None = None
    says_ready: bool | None = None
    health: Health = Health.NONE
    found_ready: bool = False
    failures: int = 0
    unready: int = 0
    ailment: str = ""
    probed_from: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether its run can be used: found so; if that is not asked, it is healthy; if that is not either, it runs."""
        check = self.spec.health
        if self.state is not State.RUNNING or check is None:
            return self.state is State.RUNNING
        return self.found_ready if check.ready is not None else self.health is Health.HEALTHY

    @property
    def total(self) -> Spent:
        """What its runs come to, the one that lives included: without the time and the output of that."""
        live = self.run is not None and self.run.exit is None
        return self.spent.plus(self.run.measures) if live and self.run else self.spent

    wrote: int = 0
    disk: int | None = None
    before_today: float = 0.0
    warned: tuple[str, ...] = ()
    budget_due: float | None = None
    quiet: Quiet | None = None

    @property
    def stall_due(self) -> float | None:
        """Monotonic time of the next step of the watch for stalls."""
        return self.quiet.due if self.quiet else None

    def run_time(self, now: float) -> float:
        """Seconds that the live run has run by monotonic time `now`, pauses aside; 0 if there is none."""
        if self.state not in LIVE or (self.run is not None and not self.run.prepared):
            return 0.0
        return max(0.0, (now if self.paused_at is None else self.paused_at) - self.launched)

    life: float | None = None
    chosen: str | None = None
    setbacks: tuple[Checkpoint, ...] = ()
