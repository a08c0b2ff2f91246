"""A run: one attempt at a worker, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import Factory, frozen

from rdagentd.model.requests import NOTHING, Requests


class ExitKind(StrEnum):
    """The way in which a run ended."""

    CODE = "code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    OVER_BUDGET = "over_budget"
    OVER_QUOTA = "over_quota"
    STALLED = "stalled"
    COULD_NOT_START = "could_not_start"
    LOST = "lost"


@frozen
class Exit:
    """How a run ended. `code` or `signal` (a name, "SIGKILL") tell what the kernel said, whatever the kind is.

    stage, errno: where the start failed and with which error number, for could_not_start only.
    """

    kind: ExitKind
    code: int | None = None
    signal: str | None = None
    core: bool = False
    stage: str | None = None
    errno: int | None = None
    reason: str = ""


@frozen
class Usage:
    """What a run used: user and system CPU in seconds, largest resident set of one process in bytes.

    Of the run as a whole, None where nobody counted: most memory in bytes and most tasks at a time, bytes read from and
    written to devices, seconds for which its CPUs were held up by its limit, forks refused by its limit.
    """

    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    memory_peak: int | None = None
    tasks_peak: int | None = None
    read: int | None = None
    written: int | None = None
    throttled: float | None = None
    forks_refused: int | None = None


@frozen
class Run:
    """One attempt. `id` is time-ordered. started_at, ended_at: seconds since the epoch, for people only.

    pid and start_ticks (field 22 of /proc/PID/stat) are None until the process exists; log_start and log_end are offsets in
    the worker's log by stream. container: its id, None for a process; such a run's pid is 0 if it was over before it was seen.
    holds: what it has of the host until nothing of it is left.
    """

    id: str
    worker: str
    revision: int
    attempt: int = 1
    pid: int | None = None
    start_ticks: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit: Exit | None = None
    usage: Usage | None = None
    log_start: Mapping[str, int] = Factory(dict)
    log_end: Mapping[str, int] = Factory(dict)
    container: str | None = None
    holds: Requests = NOTHING
