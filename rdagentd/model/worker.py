"""A worker: a named thing that is supervised. A value: each decision makes a new one, and the store keeps the newest."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Spec


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
    DRAINED = "drained"
    """The daemon itself is leaving: the worker comes back with it."""


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
    file of workers.d that declares it, None if somebody submitted it; orphaned: that file is gone.
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
