"""What the cells of the lifecycle table do about health: ask, hear the answer, end what is not well."""

from __future__ import annotations

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.handlers import climb, goes
from rdagentd.core.health import schedule
from rdagentd.core.turn import Turn
from rdagentd.model.health import Check, Health, OnFailure, Probe
from rdagentd.model.run import ExitKind
from rdagentd.model.worker import Reason, State, Then

CHECK_OF = {ev.Timer.HEALTH: Check.HEALTH, ev.Timer.READY: Check.READY}


@goes()
def ask(turn: Turn) -> None:
    """It is time to ask. The worker stays as it is, so nothing is written."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.Due)
    check = CHECK_OF[event.timer]
    plan = schedule(worker, check)
    assert plan is not None, "a deadline of a check that is not asked is stale"
    turn.do(fx.Probe(worker, check))
    turn.do(fx.Arm(worker.name, event.timer, plan.after(max(turn.now, event.at))))


@goes(State.STOPPING)
def answered(turn: Turn) -> None:
    """An answer, or none in time. What is as it was changes nothing, and is not written."""
    event, health = turn.event, turn.worker.spec.health
    assert isinstance(event, ev.Checked)
    probe = health.probe(event.probe) if health is not None else None
    if probe is None:  # its spec was changed meanwhile
        return
    if event.ok:
        _well(turn, event.probe, event.text)
    elif not _is_excused(turn, event.probe):
        _ill(turn, event.probe, probe, event.text)


def _is_excused(turn: Turn, check: Check) -> bool:
    plan = schedule(turn.worker, check)
    return plan is not None and turn.now < plan.settles


def _well(turn: Turn, check: Check, text: str) -> None:
    worker = turn.worker
    if check is Check.READY:
        if worker.unready or not worker.found_ready:
            turn.change(found_ready=True, unready=0)
        if not worker.found_ready:
            turn.tell("ready", f"ready: {text}")
        return
    if worker.failures or worker.health is not Health.HEALTHY:
        turn.change(health=Health.HEALTHY, failures=0, ailment="")
    if worker.health is not Health.HEALTHY:
        turn.tell("healthy", f"healthy: {text}")


def _ill(turn: Turn, check: Check, probe: Probe, text: str) -> None:
    worker = turn.worker
    if check is Check.READY:
        unready = min(worker.unready + 1, probe.retries)
        if unready > worker.unready:
            turn.change(unready=unready, found_ready=worker.found_ready and unready < probe.retries)
            if unready == probe.retries:
                turn.tell("unready", f"not ready: {_times(unready, text)}")
        return
    failures = min(worker.failures + 1, probe.retries)
    if failures > worker.failures:
        turn.change(failures=failures, ailment=text)
        if failures == probe.retries:
            _become_unhealthy(turn, _times(failures, text))


def _become_unhealthy(turn: Turn, why: str) -> None:
    health = turn.worker.spec.health
    assert health is not None
    turn.change(health=Health.UNHEALTHY)
    text = f"unhealthy: {why}"
    turn.tell("unhealthy", text, on_failure=health.on_failure.value)
    if health.on_failure is OnFailure.NONE:
        return
    then = Then.FAIL if health.on_failure is OnFailure.STOP else Then.REST
    turn.change(cause=ExitKind.UNHEALTHY, cause_text=text, then=then, reason=Reason("unhealthy", text))
    climb(turn)


def _times(count: int, text: str) -> str:
    return text if count == 1 else f"{text} ({count} failures in a row)"
