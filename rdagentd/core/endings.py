"""The end of a run: keep how it ended, then do what was to follow."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from rdagentd.core import budgets, checkpoints, restarts
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.handlers import end_pause, enqueue_again, forget, goes, queue_up
from rdagentd.core.health import unknown
from rdagentd.core.turn import Turn
from rdagentd.model.run import Exit, ExitKind, log_bytes
from rdagentd.model.spec import Policy
from rdagentd.model.stall import Action
from rdagentd.model.worker import Reason, State, Then, Want, Worker


@goes(State.QUEUED, State.BACKOFF, State.STOPPED, State.COMPLETED, State.FAILED)
def settle(turn: Turn) -> None:
    """A run is over: keep how it ended, then do what was to follow."""
    end_pause(turn)
    ended = _keep_end(turn)
    follow = _AFTER[turn.worker.then]
    blameless = restarts.succeeded(turn.worker.spec.restart, ended) or bool(turn.outage(turn.worker))
    turn.change(setbacks=checkpoints.set_back(turn.worker, ended, blameless), chosen=None)
    turn.change(due=None, deadline=None, time_left=None, step=0, cause=None, cause_text="", then=Then.REST)
    turn.change(**unknown(None))
    follow(turn, ended)


@goes(State.QUEUED, State.BACKOFF, State.STOPPED, State.COMPLETED, State.FAILED)
def never_began(turn: Turn) -> None:
    """It was asked to stop while it was being prepared: the executor is not asked any more."""
    run = turn.run_id
    if turn.worker.run is not None and turn.worker.run.prepared:  # it has been asked
        return
    turn.event = ev.RunExited(turn.worker.name, run, Exit(ExitKind.LOST, reason=NEVER))
    settle(turn)


NEVER = "never started: it was stopped before the executor was asked"


def _keep_end(turn: Turn) -> Exit:
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.RunExited)
    assert worker.run is not None
    ended = event.exit
    if worker.cause is not None and ended.kind in (ExitKind.CODE, ExitKind.SIGNAL):
        ended = evolve(ended, kind=worker.cause, reason=f"{worker.cause_text or _CAUSES[worker.cause]}; {ended.reason}")
    run = evolve(worker.run, exit=ended, ended_at=event.at, usage=event.usage, log_end=dict(event.log))
    output = log_bytes(run, run.log_end or run.reading.log)
    turn.change(run=run, spent=worker.spent.plus(run.measures, worker.run_time(turn.now), output))
    turn.do(fx.SaveRun(run))
    turn.tell("exited", ended.reason, exit=ended.kind.value, code=ended.code, signal=ended.signal)
    return ended


_CAUSES = {ExitKind.TIMED_OUT: "ran into its time limit"}
"""In words, why the daemon ended a run by itself."""


def _rest_or_restart(turn: Turn, ended: Exit) -> None:
    worker = turn.worker
    if worker.want is Want.DOWN:
        turn.change(
            state=State.STOPPED, half_open=False, reason=Reason("stopped", f"stopped by request; {ended.reason}")
        )
        return
    lived = turn.now - worker.launched
    past = restarts.Past(worker.attempt, worker.ends, lived, worker.half_open, turn.run_id, turn.outage(worker))
    decision = restarts.decide(restarts.under(worker.spec.restart, worker.spec.stall, ended), ended, past, turn.now)
    if decision.verdict in (restarts.Verdict.RESTART, restarts.Verdict.OPEN) and (reason := _forbidden(worker, ended)):
        decision = restarts.given_up(decision, reason)
    succeeded = restarts.succeeded(worker.spec.restart, ended)
    attempt = worker.attempt - int(bool(past.outage) and not succeeded)
    turn.change(attempt=attempt, ends=decision.ends, half_open=False, reason=decision.reason)
    if decision.verdict is restarts.Verdict.RESTART and succeeded:
        turn.change(life=None)  # there is nothing left to go on with
    _VERDICTS[decision.verdict](turn, decision)


def _forbidden(worker: Worker, ended: Exit) -> Reason | None:
    """Why there is no restart, whatever the policy."""
    if ended.kind is ExitKind.STALLED and worker.spec.stall and worker.spec.stall.action is Action.STOP:
        return Reason("stalled", f"{ended.reason}; a stalled run is to be stopped (stall.action)")
    spent = budgets.used_up(worker)
    return Reason("over_budget", f"{ended.reason}; nothing is left for another run: {spent[1]}") if spent else None


def _complete(turn: Turn, decision: restarts.Decision) -> None:
    turn.change(state=State.COMPLETED)
    turn.tell("completed", "completed")


def _fail(turn: Turn, decision: restarts.Decision) -> None:
    turn.change(state=State.FAILED)
    turn.tell("failed", decision.reason.text, reason=decision.reason.code)


def _open(turn: Turn, decision: restarts.Decision) -> None:
    turn.change(state=State.FAILED, due=turn.now + decision.delay)
    turn.tell("breaker_open", decision.reason.text)


def _back_off(turn: Turn, decision: restarts.Decision) -> None:
    if decision.delay > 0:
        turn.change(state=State.BACKOFF, due=turn.now + decision.delay)
        turn.tell("backoff", decision.reason.text, delay=decision.delay)
    else:
        enqueue_again(turn)


_VERDICTS: dict[restarts.Verdict, Callable[[Turn, restarts.Decision], None]] = {
    restarts.Verdict.COMPLETE: _complete,
    restarts.Verdict.FAIL: _fail,
    restarts.Verdict.OPEN: _open,
    restarts.Verdict.RESTART: _back_off,
}


def _start_again(turn: Turn, ended: Exit) -> None:
    turn.change(attempt=0, ends=(), half_open=False)
    queue_up(turn, "restart", "restart was requested")


def _remove_after(turn: Turn, ended: Exit) -> None:
    forget(turn)


def _fail_after(turn: Turn, ended: Exit) -> None:
    if turn.worker.want is Want.DOWN:
        _rest_or_restart(turn, ended)
        return
    reason = Reason(ended.kind.value, f"{ended.reason}; its spec says that it is not started again then")
    turn.change(state=State.FAILED, half_open=False, reason=reason)
    turn.tell("failed", reason.text, reason=reason.code)


def _wait_for_budget(turn: Turn, ended: Exit) -> None:
    """It was stopped for what others have spent, too: if it is to be started again at all it waits for more."""
    worker = turn.worker
    if worker.want is Want.DOWN or worker.spec.restart.policy is Policy.NEVER:
        _rest_or_restart(turn, ended)
    else:
        turn.change(attempt=max(0, worker.attempt - 1))  # it did not fail: that is not to count against its retries
        queue_up(turn, "budget", ended.reason)


def _drained(turn: Turn, ended: Exit) -> None:
    if turn.worker.want is Want.DOWN:
        _rest_or_restart(turn, ended)
    elif turn.worker.spec.restart.policy is Policy.NEVER:
        text = f"interrupted when the daemon was stopped ({ended.reason}); its policy is never to restart"
        turn.change(state=State.STOPPED, reason=Reason("interrupted", text))
        turn.tell("interrupted", text)
    else:
        turn.change(attempt=0)  # it did not fail: the attempt is not to count against its retries
        queue_up(turn, "drained", "stopped with the daemon; starts again with it")


_AFTER: dict[Then, Callable[[Turn, Exit], None]] = {
    Then.REST: _rest_or_restart,
    Then.START: _start_again,
    Then.REMOVE: _remove_after,
    Then.QUEUE: _wait_for_budget,
    Then.DRAINED: _drained,
    Then.FAIL: _fail_after,
}
