"""Restart arithmetic: what follows the end of a run that nobody asked for. Pure numbers, no state.

In order: an exit code or quota that forbids a restart; the policy; the retries; the breaker (too many failures within a
window: rest, and one attempt after the cool-down); then the delay. A success that came within QUICK seconds counts as a failure
for the breaker, or a program that does nothing would be started in a storm.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

from attrs import evolve, frozen

from rdagentd.model.result import Outcome
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Policy, Restart
from rdagentd.model.stall import Action, Stall
from rdagentd.model.worker import Reason

QUICK = 1.0
"""Seconds below which a successful run is counted like a failure."""


class Verdict(StrEnum):
    """What follows."""

    COMPLETE = "complete"
    FAIL = "fail"
    RESTART = "restart"
    OPEN = "open"


@frozen
class Past:
    """What the arithmetic needs to know of a worker's past.

    attempt: runs since a person last started it, this one included. ends: monotonic times of counted ends before this one.
    lived: seconds that the run lived. half_open: this run was the breaker's probe. salt: makes the jitter of this run.
    outage: a provider that it needs and that is out, "" for none: then a failure is not its own, and does not count.
    """

    attempt: int
    ends: tuple[float, ...]
    lived: float
    half_open: bool
    salt: str
    outage: str = ""


@frozen
class Decision:
    """verdict, seconds to wait before it (RESTART, OPEN), the ends that count from now on, and the reason in words."""

    verdict: Verdict
    delay: float
    ends: tuple[float, ...]
    reason: Reason


def succeeded(restart: Restart, ended: Exit) -> bool:
    """Whether this exit counts as success."""
    if ended.kind is not ExitKind.CODE:
        return False
    return ended.outcome is Outcome.COMPLETED if ended.outcome else ended.code in restart.success_codes


def decide(restart: Restart, ended: Exit, past: Past, now: float) -> Decision:
    """What follows the end `ended` at monotonic time `now`."""
    success = succeeded(restart, ended)
    excused = bool(past.outage) and not success
    if excused:
        ended = evolve(ended, reason=f"{ended.reason}; that does not count, as its provider {past.outage} is out")
    counts = not excused and (not success or past.lived < QUICK)
    ends = _counted(restart, past, now) if counts else () if past.half_open else past.ends
    resting = _resting_reason(restart, ended, success)
    if resting:
        return Decision(Verdict.COMPLETE if success else Verdict.FAIL, 0.0, ends, resting)
    if restart.policy is Policy.ON_FAILURE and not excused and _used(restart, past, now) >= restart.retries:
        text = f"{ended.reason}; gave up after {_times(restart.retries, 'restart')}"
        return Decision(Verdict.FAIL, 0.0, ends, Reason("retries_exhausted", text))
    tripped = _breaker_reason(restart, ended, past, ends, now) if counts else None
    if tripped:
        return Decision(Verdict.OPEN, restart.breaker.cooldown, ends, tripped)
    if ended.kind is ExitKind.CODE and ended.code in restart.restart_codes:
        return Decision(
            Verdict.RESTART, 0.0, ends, Reason("restart_code", f"{ended.reason}, which asks for a restart at once")
        )
    delay = backoff(restart, _streak(restart, ends, now), past.salt)
    return Decision(Verdict.RESTART, delay, ends, Reason("backoff", f"{ended.reason}; restarts after {delay:g} s"))


def under(restart: Restart, stall: Stall | None, ended: Exit) -> Restart:
    """The policy for an end: who asks for a restart after a stall gets one, as after a failure."""
    wanted = ended.kind is ExitKind.STALLED and stall is not None and stall.action is Action.RESTART
    return evolve(restart, policy=Policy.ON_FAILURE) if wanted and restart.policy is Policy.NEVER else restart


def given_up(decision: Decision, reason: Reason) -> Decision:
    """No restart after all."""
    return evolve(decision, verdict=Verdict.FAIL, delay=0.0, reason=reason)


def backoff(restart: Restart, streak: int, salt: str) -> float:
    """Seconds before the restart that follows `streak` counted ends in a row; the jitter depends on `salt` alone."""
    exponent = max(0, min(streak - 1, 64))
    try:
        delay = min(restart.max_delay, restart.delay * restart.factor**exponent)
    except OverflowError:
        delay = restart.max_delay if restart.delay else 0.0
    if restart.jitter:
        fraction = zlib.crc32(salt.encode()) / 0xFFFFFFFF
        delay *= 1 + restart.jitter * (2 * fraction - 1)
    return max(0.0, delay)


def _counted(restart: Restart, past: Past, now: float) -> tuple[float, ...]:
    keep = max(restart.breaker.failures, restart.retries, 8) + 1
    return (*past.ends, now)[-keep:]


def _resting_reason(restart: Restart, ended: Exit, success: bool) -> Reason | None:
    if ended.kind is ExitKind.CODE and ended.code in restart.stop_codes:
        return Reason("stop_code", f"{ended.reason}, which forbids a restart")
    if ended.kind is ExitKind.CODE and ended.code in restart.restart_codes:
        return None
    if ended.kind in _FINAL:
        return Reason(ended.kind.value, f"{ended.reason}; {_FINAL[ended.kind]}")
    if success and restart.policy in (Policy.NEVER, Policy.ON_FAILURE):
        return Reason("completed", ended.reason)
    if restart.policy is Policy.NEVER:
        return Reason("never_restarted", f"{ended.reason}; its policy is never to restart")
    return None


_FINAL = {
    ExitKind.OVER_QUOTA: "a restart would make no room",
    ExitKind.OVER_BUDGET: "it is not started again by itself",
}
"""Ends that no policy restarts after, and why."""


def _breaker_reason(restart: Restart, ended: Exit, past: Past, ends: tuple[float, ...], now: float) -> Reason | None:
    breaker = restart.breaker
    if not breaker.failures:
        return None
    recent = sum(1 for end in ends if now - end < breaker.window)
    if past.half_open:
        text = f"{ended.reason}, in the attempt after the breaker opened; the next attempt is in {breaker.cooldown:g} s"
    elif recent >= breaker.failures:
        text = (
            f"{ended.reason}; breaker open: {_times(recent, 'failure')} within {breaker.window:g} s; "
            f"one attempt is made in {breaker.cooldown:g} s"
        )
    else:
        return None
    return Reason("breaker_open", text)


def _used(restart: Restart, past: Past, now: float) -> int:
    """Restarts already spent."""
    window = restart.window
    if window is None:
        return past.attempt - 1
    return sum(1 for end in past.ends if now - end < window)


def _streak(restart: Restart, ends: tuple[float, ...], now: float) -> int:
    window = restart.breaker.window or 600.0
    return sum(1 for end in ends if now - end < window)


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
