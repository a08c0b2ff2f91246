"""A run as the executor has it: one main process, its pipes, and what is to be told about it."""

from __future__ import annotations

import os
import signal
from typing import Any

from rdagentd.executor.notify import Channel
from rdagentd.executor.pipes import Stream
from rdagentd.executor.proc import tag_of

Notice = dict[str, Any]


class Run:
    """From fork to exit record.

    at: seconds since the epoch. secrets: names and values that are not to be in its log; None: it is kept as it comes.
    deadline: monotonic seconds at which what is left gets SIGKILL. status: as from wait(2), None while the main process
    lives. failure: (errno, stage, detail, reason) of a start that failed. report: the pipe on which the child tells of it,
    -1 once that is known; told: what came on it so far. usage: user seconds, system seconds, bytes. channel: None, if it has
    none.
    """

    __slots__ = (
        "at", "channel", "deadline", "failure", "frozen", "id", "killing", "linger", "pid", "report", "secrets", "status",
        "streams", "tag", "ticks", "told", "usage", "worker",
    )  # fmt: skip

    def __init__(self, id: str, worker: str, linger: float) -> None:  # noqa: A002
        self.id = id
        self.tag = tag_of(id)
        self.worker = worker
        self.linger = linger
        self.streams: list[Stream] = []
        self.channel: Channel | None = None
        self.pid = self.ticks = 0
        self.at = 0.0
        self.report = -1
        self.told = b""
        self.secrets: list[tuple[str, bytes]] | None = None
        self.status: int | None = None
        self.failure: tuple[int, str, str, str] | None = None
        self.deadline: float | None = None
        self.frozen = self.killing = False
        self.usage = (0.0, 0.0, 0)

    def used(self, user: float, system: float, max_rss: int) -> None:
        """Adds what a process of the run used: seconds, seconds, bytes."""
        self.usage = (self.usage[0] + user, self.usage[1] + system, max(self.usage[2], max_rss))

    def starts(self) -> dict[str, int]:
        """Where its output begins in the worker's logs."""
        return {stream.name: stream.start for stream in self.streams}

    def started(self) -> Notice:
        """The notice `started`; pid is None while the exec is under way."""
        pid = None if self.report >= 0 else self.pid
        return started(self.id, [self.worker, pid, self.ticks, self.at, self.starts()])

    def exited(self, at: float, used: dict[str, Any], out_of_memory: dict[str, Any] | None) -> Notice:
        """The notice `exited`, once the main process was reaped and the pipes are drained.

        used: what is known beside wait4(2). out_of_memory: as Tree.out_of_memory.
        """
        notice = exited(self.id, self.worker, at, **self._end())
        if out_of_memory is not None and self.failure is None:
            notice |= {"kind": "out_of_memory", "memory_limit": out_of_memory["limit"]}
        notice["usage"] = dict(zip(("user", "system", "max_rss"), self.usage, strict=True))
        notice["usage"] |= {key: value for key, value in used.items() if value is not None and key in _TOTALS}
        notice["log"] = {stream.name: stream.log.end for stream in self.streams}
        notice["started"] = None if self.failure else self.started()
        notice["dropped"] = sum(stream.dropped for stream in self.streams)
        notice["told"] = self.told_last()
        return notice

    def told_last(self) -> dict[str, str]:
        """What it has told of itself: of each field the last value."""
        return self.channel.told() if self.channel is not None else {}

    def _end(self) -> dict[str, Any]:
        if self.failure is not None:
            return could_not_start(*self.failure)
        assert self.status is not None
        if os.WIFSIGNALED(self.status):
            name = signal_name(os.WTERMSIG(self.status))
            return {"kind": "signal", "signal": name, "core": os.WCOREDUMP(self.status)}
        return {"kind": "code", "code": os.WEXITSTATUS(self.status)}


def could_not_start(number: int, stage: str, detail: str = "", why: str = "") -> dict[str, Any]:
    """The fields of `exited` for a start that failed at `stage` with error `number`, or for a reason in words."""
    about = f" {detail}" if detail else ""
    reason = f"cannot start: {stage}{about}: {why or os.strerror(number).lower()}"
    return {"kind": "could_not_start", "stage": stage, "errno": number, "reason": reason}


def failed(error: OSError, stage: str) -> dict[str, Any]:
    """The same for what was raised. stage: with what it is about behind ": "."""
    stage, _, about = stage.partition(": ")
    number = error.errno or 0
    why = error.strerror if error.strerror != os.strerror(number) else ""
    return could_not_start(number, stage, about, why or "")


def started(run: str, birth: list[Any]) -> Notice:
    """The notice `started` of a run. birth: worker, pid, start ticks, seconds since the epoch, log starts."""
    return {"notice": "started", "run": run, **dict(zip(_BIRTH, birth, strict=True))}


_TOTALS = ("user", "system", "memory_peak", "tasks_peak", "throttled", "forks_refused", "read", "written")
"""What of Usage makes sense of a run that is over."""

_BIRTH = ("worker", "pid", "start_ticks", "at", "log")


def exited(run: str, worker: str, at: float, **end: Any) -> Notice:
    """The notice `exited` of a run without a process; `end` replaces what is not as it is by default."""
    return {
        "notice": "exited", "run": run, "worker": worker, "kind": "lost", "code": None, "signal": None, "core": False,
        "stage": None, "errno": None, "reason": "", "at": at, "usage": {"user": 0.0, "system": 0.0, "max_rss": 0},
        "log": {}, "dropped": 0, "started": None, **end,
    }  # fmt: skip


def signal_name(number: int) -> str:
    """`SIGKILL` for 9, `SIGRTMIN+3` for 37. See signal(7)."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
