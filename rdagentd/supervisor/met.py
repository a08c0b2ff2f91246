"""Which of its limits a run has met, in sentences: what the kernel's signals and counters tell about it. Pure."""

from __future__ import annotations

import signal as signals
from collections.abc import Iterator

from rdagentd.config.units import format_duration
from rdagentd.model.run import Exit, ExitKind, Usage
from rdagentd.model.size import format_size
from rdagentd.model.spec import Limits, Rlimit

_SHELLS = 128
"""A shell's exit code is this much more than the number of the signal that ended its child."""

_PRECISION = 0.75
"""The kernel counts by ticks for this limit, and what it tells afterwards is another count; they differ by a tenth and more."""

_NOTICEABLE = 1.0
"""Seconds of throttling from which on it is told."""


def met_at_end(limits: Limits, ended: Exit, used: Usage | None) -> Iterator[str]:
    """What ended a run that nobody asked to end. See signal(7), getrlimit(2)."""
    if ended.kind not in (ExitKind.CODE, ExitKind.SIGNAL):
        return
    signal = ended.signal or _of_child(ended)
    shells = "" if ended.signal else f"Code {ended.code} is what a shell says of {signal}. "
    if signal == "SIGXFSZ" and limits.fsize is not None:
        about = f"`limits.fsize` is {format_size(limits.fsize.soft)}"
        yield f"{shells}SIGXFSZ is for who writes a file beyond its limit: {about}. To allow larger files, raise it."
    if signal == "SIGXCPU" and limits.cpu_time is not None:
        about = f"`limits.cpu_time` is {format_duration(limits.cpu_time.soft)}"
        yield f"{shells}SIGXCPU is for who has used up its CPU time: {about}. To give it more, raise it."
    if signal == "SIGKILL" and limits.cpu_time is not None and _is_used_up(limits.cpu_time, used):
        about = f"`limits.cpu_time` is {format_duration(limits.cpu_time.hard)}"
        yield f"{shells}SIGKILL comes when CPU time is used up to the hard limit, too: {about}. To give it more, raise it."


def met_on_the_way(limits: Limits, used: Usage | None) -> Iterator[str]:
    """What has slowed a run down, or made something in it fail, whatever became of it."""
    if used is None:
        return
    if used.forks_refused and limits.tasks is not None:
        times = "once" if used.forks_refused == 1 else f"{used.forks_refused} times"
        yield f"A fork failed {times}, because it had all the tasks that it may have: `limits.tasks` is {limits.tasks}."
    if (used.throttled or 0) >= _NOTICEABLE and limits.cpu is not None:
        held_up = format_duration(used.throttled)
        yield f"Its CPUs were held up for {held_up} in all, because `limits.cpu` is {limits.cpu:g}."


def _of_child(ended: Exit) -> str | None:
    number = (ended.code or 0) - _SHELLS
    return signals.Signals(number).name if number in _NUMBERS else None


_NUMBERS = frozenset(int(one) for one in signals.Signals)


def _is_used_up(limit: Rlimit, used: Usage | None) -> bool:
    """By what all of the run has used, which is no less than its main process; of containers nobody knows."""
    if limit.hard is None:
        return False
    return used is None or used.user + used.system >= _PRECISION * limit.hard
