"""Restart arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core.restarts import QUICK, Decision, Past, Verdict, backoff, decide, succeeded
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Breaker, Policy, Restart

from .world import KILLED, code

NEVER, ON_FAILURE, ALWAYS, UNLESS = Policy.NEVER, Policy.ON_FAILURE, Policy.ALWAYS, Policy.UNLESS_STOPPED
COMPLETE, FAIL, AGAIN, OPEN = Verdict.COMPLETE, Verdict.FAIL, Verdict.RESTART, Verdict.OPEN
COULD_NOT = Exit(ExitKind.COULD_NOT_START, stage="exec", errno=2, reason="could not start: exec: no such file")
LOST = Exit(ExitKind.LOST, reason="lost")
OVER_QUOTA = Exit(ExitKind.OVER_QUOTA, code=0, reason="its state directory holds too much; exited with code 0")
TIMED_OUT = Exit(ExitKind.TIMED_OUT, code=0, reason="ran into its time limit; exited with code 0")
NOW = 10_000.0


def past(attempt: int = 1, ends: tuple[float, ...] = (), lived: float = 60.0, half_open: bool = False) -> Past:
    return Past(attempt, ends, lived, half_open, "salt")


@pytest.mark.parametrize(
    ("policy", "ended", "verdict", "why"),
    [
        (NEVER, code(0), COMPLETE, "completed"),
        (NEVER, code(1), FAIL, "never_restarted"),
        (NEVER, KILLED, FAIL, "never_restarted"),
        (NEVER, TIMED_OUT, FAIL, "never_restarted"),
        (ON_FAILURE, code(0), COMPLETE, "completed"),
        (ON_FAILURE, code(1), AGAIN, "backoff"),
        (ON_FAILURE, KILLED, AGAIN, "backoff"),
        (ON_FAILURE, COULD_NOT, AGAIN, "backoff"),
        (ON_FAILURE, LOST, AGAIN, "backoff"),
        (ON_FAILURE, TIMED_OUT, AGAIN, "backoff"),
        (ALWAYS, code(0), AGAIN, "backoff"),
        (ALWAYS, OVER_QUOTA, FAIL, "over_quota"),
        (ALWAYS, code(1), AGAIN, "backoff"),
        (UNLESS, code(0), AGAIN, "backoff"),
        (UNLESS, LOST, AGAIN, "backoff"),
    ],
)
def test_policy(policy: Policy, ended: Exit, verdict: Verdict, why: str) -> None:
    decision = decide(Restart(policy, delay=7.0), ended, past(), NOW)
    assert (decision.verdict, decision.reason.code) == (verdict, why)
    assert decision.delay == (7.0 if verdict is AGAIN else 0.0)
    assert decision.reason.text.startswith(ended.reason)


@pytest.mark.parametrize(
    ("policy", "number", "verdict", "why"),
    [
        (ALWAYS, 4, FAIL, "stop_code"),  # in both: the stop wins
        (ALWAYS, 3, FAIL, "stop_code"),
        (NEVER, 3, FAIL, "stop_code"),
        (ALWAYS, 75, COMPLETE, "stop_code"),  # a success that forbids a restart
        (ALWAYS, 2, AGAIN, "restart_code"),
        (NEVER, 2, AGAIN, "restart_code"),
        (ON_FAILURE, 2, AGAIN, "restart_code"),
    ],
)
def test_codes(policy: Policy, number: int, verdict: Verdict, why: str) -> None:
    restart = Restart(policy, success_codes=(0, 75), stop_codes=(3, 4, 75), restart_codes=(2, 4))
    decision = decide(restart, code(number), past(), NOW)
    assert (decision.verdict, decision.reason.code, decision.delay) == (verdict, why, 0.0)


def test_a_code_counts_only_if_the_program_chose_it() -> None:
    restart = Restart(ALWAYS, success_codes=(0,), stop_codes=(0,))
    assert not succeeded(restart, TIMED_OUT)
    assert decide(restart, TIMED_OUT, past(), NOW).verdict is AGAIN


def failures(restart: Restart, gap: float, lived: float = 0.1, number: int = 1) -> Iterator[Decision]:
    """What follows one end after the other, `gap` seconds after the delay that was asked for."""
    now, ends, half_open = NOW, (), False
    for attempt in range(1, 1000):
        decision = decide(restart, code(number), Past(attempt, ends, lived, half_open, str(attempt)), now)
        yield decision
        if decision.verdict in (FAIL, COMPLETE):
            return
        ends, half_open = decision.ends, decision.verdict is OPEN
        now += decision.delay + gap


@given(retries=st.integers(0, 12), threshold=st.integers(0, 12), window=st.sampled_from([None, 1e9]))
def test_n_retries_are_n_plus_one_attempts_whatever_the_breaker_says(
    retries: int, threshold: int, window: float | None
) -> None:
    restart = Restart(ON_FAILURE, delay=1.0, retries=retries, window=window, breaker=Breaker(threshold, 600.0, 60.0))
    verdicts = [decision.verdict for decision in failures(restart, gap=0.5)]
    assert len(verdicts) == retries + 1
    assert verdicts[-1] is FAIL


def test_retries_within_a_window_forget() -> None:
    restart = Restart(ON_FAILURE, delay=1.0, retries=2, window=100.0, breaker=Breaker(0))
    assert decide(restart, code(1), past(90, (NOW - 101, NOW - 50)), NOW).verdict is AGAIN
    assert decide(restart, code(1), past(90, (NOW - 99, NOW - 50)), NOW).reason.code == "retries_exhausted"


def test_retries_are_for_on_failure_only() -> None:
    restart = Restart(ALWAYS, retries=0, breaker=Breaker(0))
    assert decide(restart, code(1), past(50), NOW).verdict is AGAIN


@given(threshold=st.integers(1, 30), gap=st.floats(0, 10))
def test_the_breaker_opens_at_exactly_n_failures(threshold: int, gap: float) -> None:
    restart = Restart(ALWAYS, delay=1.0, breaker=Breaker(threshold, window=600.0, cooldown=77.0))
    for count, decision in enumerate(failures(restart, gap), start=1):
        if count == threshold:
            assert (decision.verdict, decision.delay, decision.reason.code) == (OPEN, 77.0, "breaker_open")
            break
        assert decision.verdict is AGAIN


def test_the_breaker_forgets_what_is_outside_its_window() -> None:
    restart = Restart(ALWAYS, delay=1.0, breaker=Breaker(3, window=100.0))
    assert decide(restart, code(1), past(9, (NOW - 100.0, NOW - 99.0)), NOW).verdict is AGAIN
    assert decide(restart, code(1), past(9, (NOW - 99.5, NOW - 99.0)), NOW).verdict is OPEN


def test_failures_at_the_same_instant_open_it_too() -> None:
    restart = Restart(ALWAYS, delay=0.0, breaker=Breaker(3))
    full = (NOW,) * 11
    assert decide(restart, code(1), past(9, full, half_open=True), NOW).verdict is OPEN


@pytest.mark.parametrize(
    ("number", "lived", "verdict", "ends"),
    [
        (1, 500.0, OPEN, 4),  # the attempt failed, however long it took
        (0, QUICK / 2, OPEN, 4),  # a success that came too soon is none
        (0, QUICK, AGAIN, 0),  # a success closes it: the past is forgotten
    ],
)
def test_half_open(number: int, lived: float, verdict: Verdict, ends: int) -> None:
    restart = Restart(ALWAYS, breaker=Breaker(3, window=600.0))
    decision = decide(restart, code(number), past(4, (1.0, 2.0, 3.0), lived, half_open=True), NOW)
    assert (decision.verdict, len(decision.ends)) == (verdict, ends)


def test_a_closing_success_ends_what_runs_on_failure_only() -> None:
    assert decide(Restart(ON_FAILURE), code(0), past(4, (1.0,), half_open=True), NOW).verdict is COMPLETE


def test_quick_successes_count_for_the_breaker_and_slow_ones_do_not() -> None:
    restart = Restart(ALWAYS, delay=0.0, breaker=Breaker(4))
    quick = [decision.verdict for decision, _ in zip(failures(restart, 0.1, QUICK / 2, 0), range(4), strict=False)]
    assert quick == [AGAIN, AGAIN, AGAIN, OPEN]
    slow = [decision for decision, _ in zip(failures(restart, 0.1, QUICK, 0), range(50), strict=False)]
    assert {decision.verdict for decision in slow} == {AGAIN}
    assert {decision.ends for decision in slow} == {()}


def test_restart_codes_cannot_make_a_storm() -> None:
    restart = Restart(NEVER, restart_codes=(2,), breaker=Breaker(5))
    verdicts = [decision.verdict for decision, _ in zip(failures(restart, 0.0, number=2), range(5), strict=False)]
    assert verdicts == [AGAIN] * 4 + [OPEN]


NUMBERS: dict[str, Any] = {
    "delay": st.floats(0, 1e6),
    "factor": st.floats(1, 1e9),
    "max_delay": st.floats(0, 1e6),
    "jitter": st.floats(0, 1),
}
RESTARTS = st.builds(Restart, policy=st.just(ALWAYS), **NUMBERS)


@given(restart=RESTARTS, streak=st.integers(0, 10_000), salt=st.text(max_size=20))
def test_delay_stays_within_its_bounds(restart: Restart, streak: int, salt: str) -> None:
    assert 0 <= backoff(restart, streak, salt) <= restart.max_delay * (1 + restart.jitter)
    assert backoff(restart, streak, salt) == backoff(restart, streak, salt)


@given(restart=RESTARTS, streak=st.integers(0, 200), salt=st.text(max_size=20))
def test_delay_never_falls_as_the_streak_grows(restart: Restart, streak: int, salt: str) -> None:
    assert backoff(restart, streak, salt) <= backoff(restart, streak + 1, salt)


@pytest.mark.parametrize(("streak", "seconds"), [(0, 2.0), (1, 2.0), (2, 6.0), (3, 18.0), (4, 20.0), (5000, 20.0)])
def test_delay_grows_by_the_factor_up_to_the_cap(streak: int, seconds: float) -> None:
    assert backoff(Restart(ALWAYS, delay=2.0, factor=3.0, max_delay=20.0), streak, "") == seconds


def test_jitter_spreads_the_runs() -> None:
    restart = Restart(ALWAYS, delay=100.0, jitter=0.5)
    delays = {backoff(restart, 1, f"r{number}") for number in range(100)}
    assert len(delays) > 90
    assert min(delays) < 70 < 130 < max(delays)


def test_what_is_kept_of_the_past_is_bounded() -> None:
    restart = Restart(ALWAYS, delay=1000.0, max_delay=1000.0, breaker=Breaker(20, window=10.0))
    kept = [len(decision.ends) for decision, _ in zip(failures(restart, 0.0), range(100), strict=False)]
    assert max(kept) == 21


def test_the_streak_is_what_failed_within_the_window() -> None:
    restart = Restart(ALWAYS, delay=1.0, factor=2.0, breaker=Breaker(50, window=100.0))
    assert decide(restart, code(1), past(9, (NOW - 500, NOW - 5, NOW - 1)), NOW).delay == 4.0
    lasting = evolve(restart, breaker=Breaker(0, window=0.0))  # no breaker: ten minutes
    assert decide(lasting, code(1), past(9, (NOW - 601, NOW - 500, NOW - 5, NOW - 1)), NOW).delay == 8.0
