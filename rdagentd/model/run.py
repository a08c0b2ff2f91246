"""A run: one attempt at a worker, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import Factory, frozen

from rdagentd.model.checkpoints import Checkpoint
from rdagentd.model.measures import UNTOLD, Measures
from rdagentd.model.requests import NOTHING, Requests
from rdagentd.model.result import Outcome


class ExitKind(StrEnum):
    """The way in which a run ended."""

    CODE = "code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    OVER_BUDGET = "over_budget"
    OVER_QUOTA = "over_quota"
    STALLED = "stalled"
    UNHEALTHY = "unhealthy"
    COULD_NOT_START = "could_not_start"
    LOST = "lost"


@frozen
class Exit:
    """How a run ended. `code` or `signal` (a name, "SIGKILL") tell what the kernel said, whatever the kind is.

    stage, errno: where the start failed and with which error number, for could_not_start only. outcome: what it came to, where
    the spec says how that is known; it counts instead of the code.
    """

    kind: ExitKind
    code: int | None = None
    signal: str | None = None
    core: bool = False
    stage: str | None = None
    errno: int | None = None
    reason: str = ""
    outcome: Outcome | None = None


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
class Reading:
    """How far a run was read by its reporters. log: offset by stream, behind the last whole line; errors: what could not be
    read or taken; trouble: the last of them, in words.
    """

    log: Mapping[str, int] = Factory(dict)
    errors: int = 0
    trouble: str = ""


@frozen
class Run:
    """One attempt. `id` is time-ordered. started_at, ended_at: seconds since the epoch, for people only.

    pid and start_ticks (field 22 of /proc/PID/stat) are None until the process exists; log_start and log_end are offsets in
    the worker's log by stream. container: its id, None for a process; such a run's pid is 0 if it was over before it was seen.
    holds: what it has of the host until nothing of it is left. measures: what it told of itself; reading: how that was learnt.
    prepared: what must come before it is done; checkpoint: what it goes on from, None for the beginning.
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
    measures: Measures = UNTOLD
    reading: Reading = Reading()
    prepared: bool = True
    checkpoint: Checkpoint | None = None


def log_bytes(run: Run, ends: Mapping[str, int]) -> int:
    """Bytes of output of a run whose streams end there."""
    count = 0
    for stream, end in ends.items():  # a generator would take twice the time, of thousands
        count += end - run.log_start.get(stream, end)
    return count
