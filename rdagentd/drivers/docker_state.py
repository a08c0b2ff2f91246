"""What the engine says about a container, in our words: whether it began, whether it is over, and how it ended. Pure."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.size import format_size

_NEVER = "0001-01-01T00:00:00Z"
_SIGNALLED = 128
"""A container that a signal ended has an exit code of this much more than the signal's number."""


@frozen
class State:
    """A container as `inspect` tells it. began, ended: seconds since the epoch, None if it did not; pid 0: none any more.

    error: why the engine could not start it, or "". environment: as NAME=VALUE.
    """

    container: str
    status: str
    pid: int
    began: float | None
    ended: float | None
    code: int
    oom: bool
    error: str
    memory: int
    labels: Mapping[str, str]
    environment: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more, or ever will."""
        return self.status in ("exited", "dead", "removing") or (self.status == "created" and bool(self.error))

    @property
    def is_doubtful(self) -> bool:
        """Whether the engine may have made up the exit code: of a container that it finds ended, and without a record of how,
        when it is started, it says 0 or 255 (met with 20.10)."""
        return self.code in (0, 255) and not self.oom

    @property
    def is_unexplained(self) -> bool:
        """Whether it was killed within a memory limit, and not (yet) for exceeding it."""
        return self.code == _SIGNALLED + signals.SIGKILL and self.memory > 0 and not self.oom

    @property
    def is_waiting(self) -> bool:
        """Whether it was made and not started."""
        return self.status == "created" and not self.error


def state_of(told: Mapping[str, Any]) -> State:
    """The state in the answer of GET /containers/ID/json."""
    state = told["State"]
    return State(
        container=told["Id"],
        status=state["Status"],
        pid=state.get("Pid", 0),
        began=_seconds(state.get("StartedAt", _NEVER)),
        ended=_seconds(state.get("FinishedAt", _NEVER)),
        code=state.get("ExitCode", 0),
        oom=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        memory=told.get("HostConfig", {}).get("Memory") or 0,
        labels=told.get("Config", {}).get("Labels") or {},
        environment=tuple(told.get("Config", {}).get("Env") or ()),
    )


def _seconds(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time in UTC; the year 1 stands for never."""
    if text.startswith("0001-"):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def exit_of(state: State, seen: bool = True) -> Exit:
    """How a container ended. The engine tells a signal as 128 more than its number, and so does a shell: both are one here.

    seen: the engine was there when it ended.
    """
    if state.began is None:
        return could_not_start("container", state.error or "the engine did not start it")
    number = state.code - _SIGNALLED
    signal = signals.Signals(number).name if state.code > _SIGNALLED and number in _NUMBERS else None
    if state.oom:  # of whatever process in it
        main = f"killed by {signal}" if signal else f"exited with code {state.code}"
        code = None if signal else state.code
        return Exit(ExitKind.OUT_OF_MEMORY, code=code, signal=signal, reason=f"out of memory: {_limit(state)}; {main}")
    if signal is not None:
        return Exit(ExitKind.SIGNAL, signal=signal, reason=f"killed by {signal}")
    if state.is_doubtful and not seen:
        text = f"lost: Docker was restarted, and may not have seen how it ended; it says exit code {state.code}"
        return Exit(ExitKind.LOST, code=state.code, reason=text)
    said = f" ({state.error})" if state.error else ""
    return Exit(ExitKind.CODE, code=state.code, reason=f"exited with code {state.code}{said}")


_NUMBERS = frozenset(int(one) for one in signals.Signals)


def _limit(state: State) -> str:
    return f"its limit is {format_size(state.memory)}" if state.memory else "the host had none left"


def used_of(stats: Mapping[str, Any]) -> dict[str, Any]:
    """What a container uses, of the answer of GET /containers/ID/stats; None where the engine does not count."""
    cpu = stats.get("cpu_stats", {}).get("cpu_usage", {})
    memory, tasks = stats.get("memory_stats", {}), stats.get("pids_stats", {})
    moved = stats.get("blkio_stats", {}).get("io_service_bytes_recursive") or []
    return {
        "user": cpu.get("usage_in_usermode", 0) / 1e9,
        "system": cpu.get("usage_in_kernelmode", 0) / 1e9,
        "memory": memory.get("usage"),
        "memory_peak": memory.get("max_usage"),  # cgroup v1 alone
        "tasks": tasks.get("current"),
        "tasks_peak": None,
        "read": sum(one["value"] for one in moved if one["op"].lower() == "read"),
        "written": sum(one["value"] for one in moved if one["op"].lower() == "write"),
    }


def could_not_start(stage: str, reason: str) -> Exit:
    """A run of which nothing was executed."""
    return Exit(ExitKind.COULD_NOT_START, stage=stage, reason=f"could not start: {reason}")


def never_began(signal: str) -> Exit:
    """A run that was ended while its image was fetched, or before its container was started."""
    return Exit(ExitKind.SIGNAL, signal=signal, reason=f"ended by {signal} before its container began")


def begun_perhaps() -> Exit:
    """A container that was made by an engine before the one that says that it was not started: that one may have done so, and
    died before it noted it (met with 20.10: the program ran)."""
    return Exit(ExitKind.LOST, reason="lost: Docker was restarted before it had started it, or had noted that it did")


def gone(code: int | None) -> Exit:
    """A container that somebody else removed. code: what the engine's last word about it was, None if nobody heard it."""
    said = "nobody saw how it ended" if code is None else f"the last that was heard is exit code {code}"
    return Exit(ExitKind.LOST, code=code, reason=f"lost: its container was removed by somebody else; {said}")
