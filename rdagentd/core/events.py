"""What happened, in the core's vocabulary. `by` is the uid of the person who asked, None for the daemon itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import Factory, frozen

from rdagentd.model.budgets import Flow
from rdagentd.model.checkpoints import Found
from rdagentd.model.container import DriverName
from rdagentd.model.health import Check
from rdagentd.model.provider import Provider
from rdagentd.model.requests import NOTHING, Capacity, Requests, Thresholds
from rdagentd.model.run import Exit, Usage
from rdagentd.model.spec import Spec


class Timer(StrEnum):
    """The deadlines that a worker may have: that of its state, its run-time limit, its next sign of life, its next probes, its
    budgets, the watch for stalls.

    provider: that of a provider's breaker, whose name stands in the place of the worker's. Of the worker "": that of the shared
    budgets (BUDGET).
    """

    STATE = "state"
    LIMIT = "limit"
    WATCHDOG = "watchdog"
    HEALTH = "health"
    READY = "ready"
    PROVIDER = "provider"
    BUDGET = "budget"
    STALL = "stall"


@frozen
class SubmitRequested:
    """A new worker. `start` False leaves it stopped; source: the file of workers.d that declares it, if one does."""

    spec: Spec
    by: int
    start: bool = True
    source: str | None = None


@frozen
class SpecChanged:
    """The spec of a known worker was changed; takes effect with a restart where it has to."""

    worker: str
    spec: Spec
    by: int | None


@frozen
class Declared:
    """A known worker stands in this file of workers.d; None: the file that declared it is gone."""

    worker: str
    file: str | None
    by: int | None


@frozen
class StartRequested:
    worker: str
    by: int | None


@frozen
class StopRequested:
    worker: str
    by: int | None


@frozen
class RestartRequested:
    worker: str
    by: int | None


@frozen
class PauseRequested:
    worker: str
    by: int | None


@frozen
class ResumeRequested:
    """One that is paused goes on; one at rest starts from its newest checkpoint, or from this one (a path)."""

    worker: str
    by: int | None
    checkpoint: str | None = None


@frozen
class KillRequested:
    worker: str
    by: int | None


@frozen
class SignalRequested:
    """signal: a name such as "SIGHUP"; scope: main, group or tree."""

    worker: str
    by: int | None
    signal: str
    scope: str = "main"


@frozen
class RemoveRequested:
    """Forget the worker, its history and its log; `force` stops it first if it lives."""

    worker: str
    by: int | None
    force: bool = False


@frozen
class Admitted:
    """A queued worker may start now; run is the id of the run that begins, holds what it gets of the host. Made by the
    engine's queue.
    """

    worker: str
    run: str
    holds: Requests = NOTHING


@frozen
class Prepared:
    """What had to come before a run is done. found: its checkpoints, the newest first; None if nobody looked for any."""

    worker: str
    run: str
    found: tuple[Found, ...] | None = None


@frozen
class RunStarted:
    """The driver has the program running. at: seconds since the epoch; log: first offset of its output by stream.

    container: id of the container that it runs in, None for a process. pid is 0 for a container that is over already.
    """

    worker: str
    run: str
    pid: int
    start_ticks: int
    at: float
    log: Mapping[str, int] = Factory(dict)
    container: str | None = None


@frozen
class RunExited:
    """A run is over: nothing of it is left. at: seconds since the epoch, None if nobody knows."""

    worker: str
    run: str
    exit: Exit
    at: float | None = None
    usage: Usage | None = None
    log: Mapping[str, int] = Factory(dict)


@frozen
class Excused:
    """Failures of the worker since monotonic time `since` are not its own: the provider was out. Made by the engine."""

    worker: str
    since: float
    provider: str


@frozen
class Released:
    """Of those that depend on the worker one has ended, or depends on it no longer. Made by the engine."""

    worker: str


@frozen
class QuotaExceeded:
    """The worker's state directory holds more than it may: bytes on disk."""

    worker: str
    run: str
    used: int
    quota: int


@frozen
class Checked:
    """A run was asked whether it is well, or ready: what came of it, in words. Who could not even ask says nothing."""

    worker: str
    run: str
    probe: Check
    ok: bool
    text: str


@frozen
class Reported:
    """What a run tells of itself. values: totals of this run; added: on top of what it told before. source: who says so.

    log: how far its log has been read for it, by stream; errors: how much could not be read; trouble: the last of it.
    """

    worker: str
    run: str
    values: Mapping[str, float | str]
    source: str
    added: Mapping[str, float] = Factory(dict)
    log: Mapping[str, int] = Factory(dict)
    errors: int = 0
    trouble: str = ""


@frozen
class Notified:
    """What a run tells of its life, the oldest first: fields of sd_notify(3), those that are measures aside."""

    worker: str
    run: str
    fields: Mapping[str, str]


@frozen
class Metered:
    """What was found out about a run. wrote: bytes of output; disk: bytes that its directories hold; None: not looked for."""

    worker: str
    run: str
    wrote: int | None = None
    disk: int | None = None


@frozen
class OverBudget:
    """A budget is exceeded, or what it needs is not told: `text`. Made by the engine. shared: others have spent of it, too."""

    worker: str
    run: str
    text: str
    shared: bool = False


@frozen
class Examined:
    """What a run has done until now: CPU seconds, bytes of output; how many seconds ago it wrote output, and a checkpoint.

    None: unknown.
    """

    worker: str
    run: str
    cpu: float | None = None
    log: int | None = None
    idle: float | None = None
    checkpoint: float | None = None


@frozen
class Pictured:
    """What a run that is stalled looks like, by what it is: tree, stacks, connections, last lines."""

    worker: str
    run: str
    picture: Mapping[str, Any]


@frozen
class Due:
    """A deadline came. at: the monotonic time that was armed; a deadline that is no longer the worker's is dropped."""

    worker: str
    timer: Timer
    at: float


@frozen
class Held:
    """What a driver says about a run that it holds. pid is None while its start is under way."""

    worker: str
    run: str
    pid: int | None
    start_ticks: int
    at: float
    frozen: bool = False
    log: Mapping[str, int] = Factory(dict)
    container: str | None = None


@frozen
class ExecutorConnected:
    """A driver answered: the executor, or the Docker engine.

    same_epoch: its memory is the one that our intents were told to; exited: ends that follow.
    """

    same_epoch: bool
    runs: tuple[Held, ...] = ()
    exited: frozenset[str] = frozenset()
    driver: DriverName = DriverName.PROCESS


@frozen
class ExecutorLost:
    """A driver cannot be reached: nothing is started by it until it is back. trouble: what is wrong, as a verb phrase."""

    driver: DriverName = DriverName.PROCESS
    trouble: str = "cannot be reached"


@frozen
class ProxyChanged:
    """The Docker proxy can be asked (None), or cannot, and runs that need it wait. trouble: what is wrong, as a verb phrase."""

    trouble: str | None


@frozen
class DrainRequested:
    """The daemon leaves and takes the workers along: stop all, start none."""


@frozen
class GroupsChanged:
    """slots: how many workers of each group may live at once; a group that is not named, or None, has no bound."""

    slots: Mapping[str, int | None]


@frozen
class ProvidersChanged:
    """When the breakers of providers open; those that are not named have the defaults."""

    settings: Mapping[str, Provider]


@frozen
class BudgetsChanged:
    """What workers may spend together: by scope and name (of a group, number of a user, "" of the day)."""

    budgets: Mapping[tuple[str, str], Flow]


@frozen
class DayBegan:
    """day: counted from 1970-01-01, in UTC."""

    day: int


@frozen
class HostChanged:
    """What the host has to give away, and what pressure on it holds the queue."""

    capacity: Capacity
    thresholds: Thresholds


@frozen
class PressureRead:
    """How busy the host is: averages by the names of Thresholds. triggered: the kernel has called."""

    averages: Mapping[str, float]
    triggered: bool = False


@frozen
class PressureUnseen:
    """Why pressure on the host cannot be seen, or not in time; "": it can."""

    problem: str


@frozen
class Noted:
    """Something to be told in the story that changes nothing: who asked for what, and what was refused."""

    worker: str | None
    kind: str
    text: str
    by: int | None
    data: Mapping[str, Any] = Factory(dict)


Request = (
    StartRequested
    | StopRequested
    | RestartRequested
    | PauseRequested
    | ResumeRequested
    | KillRequested
    | SignalRequested
    | RemoveRequested
    | SpecChanged
)
WorkerEvent = (
    Request
    | Admitted
    | Prepared
    | RunStarted
    | RunExited
    | QuotaExceeded
    | Reported
    | Notified
    | Checked
    | Released
    | Excused
    | Metered
    | OverBudget
    | Examined
    | Pictured
    | Due
)
Event = (
    WorkerEvent
    | SubmitRequested
    | Declared
    | ExecutorConnected
    | ExecutorLost
    | ProxyChanged
    | DrainRequested
    | GroupsChanged
    | ProvidersChanged
    | BudgetsChanged
    | DayBegan
    | HostChanged
    | PressureRead
    | PressureUnseen
    | Noted
)
