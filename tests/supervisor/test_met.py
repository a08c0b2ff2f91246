"""Which limit a run has met."""

from __future__ import annotations

import pytest

from rdagentd.model.run import Exit, ExitKind, Usage
from rdagentd.model.spec import Limits, Rlimit
from rdagentd.supervisor.met import met_at_end, met_on_the_way

LIMITS = Limits(cpu=0.5, tasks=16, fsize=Rlimit(1 << 20, None), cpu_time=Rlimit(2, 4))
FILE = "SIGXFSZ is for who writes a file beyond its limit: `limits.fsize` is 1 MiB. To allow larger files, raise it."
TIME = "SIGXCPU is for who has used up its CPU time: `limits.cpu_time` is 2 s. To give it more, raise it."
HARD = "SIGKILL comes when CPU time is used up to the hard limit, too: `limits.cpu_time` is 4 s. To give it more, raise it."


def by(signal: str) -> Exit:
    return Exit(ExitKind.SIGNAL, signal=signal)


def code(number: int) -> Exit:
    return Exit(ExitKind.CODE, code=number)


@pytest.mark.parametrize(
    ("ended", "used", "told"),
    [
        (by("SIGXFSZ"), None, FILE),
        (code(153), None, f"Code 153 is what a shell says of SIGXFSZ. {FILE}"),
        (by("SIGXCPU"), None, TIME),
        (code(152), None, f"Code 152 is what a shell says of SIGXCPU. {TIME}"),
        (by("SIGKILL"), None, HARD),
        (by("SIGKILL"), Usage(user=3.5, system=0.3), HARD),
        (code(137), Usage(user=3.5, system=0.3), f"Code 137 is what a shell says of SIGKILL. {HARD}"),
    ],
)
def test_a_signal_names_the_limit_that_it_comes_with(ended: Exit, used: Usage | None, told: str) -> None:
    assert list(met_at_end(LIMITS, ended, used)) == [told]


@pytest.mark.parametrize(
    ("ended", "used"),
    [
        (by("SIGKILL"), Usage(user=0.1)),
        (by("SIGTERM"), None),
        (code(0), None),
        (code(1), None),
        (code(255), None),
        (Exit(ExitKind.TIMED_OUT, signal="SIGKILL"), None),
        (Exit(ExitKind.OUT_OF_MEMORY, signal="SIGKILL"), None),
        (Exit(ExitKind.LOST), None),
    ],
)
def test_nothing_is_said_of_an_end_with_another_reason(ended: Exit, used: Usage | None) -> None:
    assert list(met_at_end(LIMITS, ended, used)) == []


def test_nothing_is_said_of_limits_that_were_not_asked_for() -> None:
    for ended in map(by, ("SIGXFSZ", "SIGXCPU", "SIGKILL")):
        assert (
            list(met_at_end(Limits(cpu_time=Rlimit(2, None) if ended.signal == "SIGKILL" else None), ended, None)) == []
        )
    assert list(met_on_the_way(Limits(), Usage(throttled=100.0, forks_refused=7))) == []


def test_what_was_refused_and_held_up_is_told_and_little_is_not() -> None:
    first, second = met_on_the_way(LIMITS, Usage(throttled=90.0, forks_refused=7))
    assert first == "A fork failed 7 times, because it had all the tasks that it may have: `limits.tasks` is 16."
    assert second == "Its CPUs were held up for 1 min 30 s in all, because `limits.cpu` is 0.5."
    assert list(met_on_the_way(LIMITS, Usage(throttled=0.4, forks_refused=0))) == []
    assert list(met_on_the_way(LIMITS, Usage())) == list(met_on_the_way(LIMITS, None)) == []
