"""What the cells of the lifecycle table do. A handler changes one worker and adds effects; `goes` names where it may lead.

The end of a run is in `endings`, a changed spec in `changes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import evolve

from rdagentd.core import checkpoints
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.health import unknown
from rdagentd.core.turn import Turn
from rdagentd.core.words import listed
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.size import format_size
from rdagentd.model.worker import HELD, LIVE, Reason, State, Then, Want

Handler = Callable[[Turn], None]
_H = TypeVar("_H", bound=Handler)

TARGETS: dict[Handler, tuple[State, ...]] = {}
"""Where each handler may lead, if not to stay. The diagram is drawn from it and the engine is held to it."""


def goes(*states: State) -> Callable[[_H], _H]:
    """Names the states that a handler may lead to."""

    def note(handler: _H) -> _H:
        TARGETS[handler] = states
        return handler

    return note


class IllegalInputError(Exception):
    """An input that cannot happen in this state: a defect of ours. Carries the worker's name, state and event."""


# --- nothing to do ----------------------------------------------------------------------------------------------------


@goes()
def ignore(turn: Turn) -> None:
    """Legal and meaningless here."""


@goes()
def reject(turn: Turn) -> None:
    """Cannot happen: a defect."""
    worker = turn.worker
    raise IllegalInputError(
        f"{worker.name}: {type(turn.event).__name__} while {worker.state} (reason: {worker.reason})"
    )


@goes()
def refuse(turn: Turn) -> None:
    """A request that makes no sense in this state."""
    verb = type(turn.event).__name__.removesuffix("Requested").lower()
    turn.refuse("conflict", f"cannot {verb} {turn.worker.name}: it is {turn.worker.state}")


# --- waiting ----------------------------------------------------------------------------------------------------------


def queue_up(turn: Turn, code: str, text: str) -> None:
    """Takes the last place among its equals."""
    turn.change(state=State.QUEUED, due=None, order=turn.order(), reason=Reason(code, text))


@goes(State.QUEUED)
def enqueue(turn: Turn) -> None:
    """Somebody wants it to run: a new beginning, with no past attempts."""
    begins = turn.worker.state is not State.BACKOFF  # there it is only not to wait any longer
    turn.change(want=Want.UP, attempt=0, ends=(), half_open=False, then=Then.REST, cause=None)
    if begins:
        turn.change(life=None, chosen=None, setbacks=())
    queue_up(turn, "requested", "start was requested")
    turn.tell("queued", "start requested")


@goes(State.QUEUED)
def enqueue_again(turn: Turn) -> None:
    """The delay of the backoff is over."""
    turn.change(restarts=turn.worker.restarts + 1)
    queue_up(turn, "restart", "restart is due")


@goes(State.QUEUED)
def probe(turn: Turn) -> None:
    """The breaker's cool-down is over: one attempt."""
    turn.change(restarts=turn.worker.restarts + 1, half_open=True)
    queue_up(turn, "half_open", "breaker half-open: one attempt after the cool-down")
    turn.tell("half_open", "breaker half-open: one attempt after the cool-down")


@goes()
def excuse(turn: Turn) -> None:
    """Failures while its provider was out do not count against its retries and its breaker."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.Excused)
    ends = tuple(end for end in worker.ends if end < event.since)
    count = len(worker.ends) - len(ends)
    if count:
        turn.change(ends=ends, attempt=max(int(worker.state in LIVE), worker.attempt - count))
        turn.tell("excused", f"{count} of its failures do not count: provider {event.provider} was out", count=count)


@goes(State.QUEUED)
def excuse_and_start(turn: Turn) -> None:
    """If it has failed by them alone, it goes on."""
    before = turn.worker
    excuse(turn)
    if turn.worker.ends != before.ends and before.reason is not None and before.reason.code in _BY_COUNT:
        enqueue_again(turn)


_BY_COUNT = frozenset({"retries_exhausted", "breaker_open"})
"""Reasons of a rest that follow from how many failures there were."""


@goes(State.STARTING)
def launch(turn: Turn) -> None:
    """Its turn has come: the intent is kept, then the executor is asked."""
    assert isinstance(turn.event, ev.Admitted)
    worker = turn.worker
    attempt = worker.attempt + 1
    prepared = not checkpoints.needs_preparing(worker)
    run = Run(turn.event.run, worker.name, worker.revision, attempt=attempt, holds=turn.event.holds, prepared=prepared)
    turn.change(
        state=State.STARTING, run=run, attempt=attempt, launched=turn.now, reason=None, due=None, step=0, cause=None,
        then=Then.REST, deadline=None, time_left=None, says_ready=None, wrote=0, disk=None, before_today=0.0,
    )  # fmt: skip
    turn.do(fx.SaveRun(run))
    turn.do(checkpoints.launching(turn.worker))


@goes()
def prepared(turn: Turn) -> None:
    """What it goes on from is kept, then the executor is asked."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.Prepared)
    if worker.run is None or worker.run.prepared:
        return
    run = evolve(worker.run, prepared=True)
    turn.change(launched=turn.now)  # what came before is none of its time
    if event.found is not None:
        choice = checkpoints.choose(event.found, worker.setbacks)
        run = evolve(run, checkpoint=choice.checkpoint)
        life = worker.life if choice.checkpoint else None
        turn.change(setbacks=choice.setbacks, chosen=None, life=life)
        turn.tell("resumes", choice.text, checkpoint=choice.checkpoint.path if choice.checkpoint else None)
    turn.change(run=run)
    turn.do(fx.SaveRun(run))
    turn.do(fx.Spawn(turn.worker))


# --- running ----------------------------------------------------------------------------------------------------------


_COARSE = 0.05
"""Seconds by which files may seem to be older than they are: their times are those of the last tick of the kernel."""


def _note_process(turn: Turn) -> None:
    event = turn.event
    assert isinstance(event, ev.RunStarted)
    assert turn.worker.run is not None
    run = evolve(
        turn.worker.run, pid=event.pid, start_ticks=event.start_ticks, started_at=event.at, log_start=dict(event.log),
        container=event.container,
    )  # fmt: skip
    turn.change(run=run, life=event.at - _COARSE if turn.worker.life is None else turn.worker.life)
    turn.do(fx.SaveRun(run))
    what = f"process {event.pid}" if event.container is None else f"container {event.container[:12]}"
    turn.tell("started", f"started as {what}", pid=event.pid, attempt=run.attempt)


@goes(State.RUNNING)
def started(turn: Turn) -> None:
    """The program runs; its run-time limit counts from the launch, that of a container from now: its image is here at last."""
    _note_process(turn)
    worker = turn.worker
    assert worker.run is not None
    began = worker.launched if worker.run.container is None else turn.now
    timeout = worker.spec.timeout
    deadline = None if timeout is None else began + timeout
    turn.change(
        state=State.RUNNING, reason=None, launched=began, deadline=deadline, **unknown(worker.spec, turn.now)
    )  # fmt: skip


@goes()
def started_late(turn: Turn) -> None:
    """The program runs, but it has been asked to stop in the meantime."""
    assert turn.worker.run is not None
    if turn.worker.run.pid is None:
        _note_process(turn)


@goes(State.PAUSED)
def pause(turn: Turn) -> None:
    """Stops the clock of the run-time limit with the tree."""
    deadline = turn.worker.deadline
    left = None if deadline is None else max(0.0, deadline - turn.now)
    turn.change(
        state=State.PAUSED, deadline=None, time_left=left, paused_at=turn.now, reason=Reason("paused", "paused by request")
    )  # fmt: skip
    turn.do(fx.Freeze(turn.run_id))
    turn.tell("paused", "paused")


def end_pause(turn: Turn) -> None:
    """Paused time has not been lived."""
    worker = turn.worker
    if worker.paused_at is not None:
        turn.change(launched=worker.launched + turn.now - worker.paused_at, paused_at=None)


@goes()
def resume_running(turn: Turn) -> None:
    """It runs; where from cannot be changed any more."""
    if isinstance(turn.event, ev.ResumeRequested) and turn.event.checkpoint is not None:
        turn.refuse(
            "conflict", f"cannot resume {turn.worker.name} from a checkpoint: it is {turn.worker.state}; stop it first"
        )


@goes(State.QUEUED)
def resume_from(turn: Turn) -> None:
    """Somebody wants it to go on from a checkpoint: of its present life, or of any if it has none."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.ResumeRequested)
    if worker.spec.checkpoints is None or not worker.spec.checkpoints.resume:
        text = f"cannot resume {worker.name}: it is {worker.state}, and has no checkpoints.resume to go on by; start it"
        turn.refuse("conflict", text)
        return
    life = worker.life or 0.0
    if worker.state is not State.QUEUED:
        enqueue(turn)
    turn.change(life=life, chosen=event.checkpoint, setbacks=())


@goes(State.RUNNING)
def resume(turn: Turn) -> None:
    """Goes on, with what was left of the run-time limit; it is given time as at its start to be well, if it was not yet."""
    if isinstance(turn.event, ev.ResumeRequested) and turn.event.checkpoint is not None:
        resume_running(turn)
        return
    end_pause(turn)
    left = turn.worker.time_left
    turn.change(state=State.RUNNING, deadline=None if left is None else turn.now + left, time_left=None, reason=None)
    turn.change(probed_from=turn.now, failures=0, unready=0)
    turn.do(fx.Thaw(turn.run_id))
    turn.tell("resumed", "resumed")


@goes()
def forward(turn: Turn) -> None:
    """Passes a signal on."""
    event = turn.event
    assert isinstance(event, ev.SignalRequested)
    turn.do(fx.Signal(turn.run_id, event.signal, event.scope))
    turn.tell("signalled", f"{event.signal} sent to its {event.scope}", signal=event.signal, scope=event.scope)


# --- stopping ---------------------------------------------------------------------------------------------------------


def climb(turn: Turn) -> None:
    """First step of the stop ladder."""
    paused = turn.worker.state is State.PAUSED
    end_pause(turn)
    turn.change(state=State.STOPPING, step=0, deadline=None, time_left=None)
    signal_step(turn)
    if paused:
        turn.do(fx.Thaw(turn.run_id))  # after the signal, so that it is the first thing that the program sees


def ask_to_end(turn: Turn) -> None:
    """Begins a stop that somebody wishes: at once, or when those that depend on it have ended who are being stopped too."""
    ending = turn.ending(turn.worker.name)
    if not ending:
        climb(turn)
        return
    if turn.worker.state is State.PAUSED:
        turn.do(fx.Thaw(turn.run_id))  # they may need it to end
    end_pause(turn)
    turn.change(state=State.STOPPING, step=HELD, due=None, deadline=None, time_left=None)
    turn.tell("held_back", f"is asked to end once these have, which depend on it: {listed(ending)}")


@goes()
def release(turn: Turn) -> None:
    """One of those for which its stop waits has ended; after the last, it begins."""
    if turn.worker.step == HELD and not turn.ending(turn.worker.name):
        climb(turn)


def signal_step(turn: Turn) -> None:
    """Sends the signal of the current step and arms the next."""
    worker = turn.worker
    stop = worker.spec.stop
    last = worker.step >= len(stop.signals) - 1
    grace = worker.spec.kill_after if worker.cause is ExitKind.TIMED_OUT else stop.grace
    if stop.signals:
        turn.do(fx.Signal(turn.run_id, stop.signals[worker.step], "main"))
    turn.change(due=turn.now + (grace if last else stop.interval))


@goes(State.STOPPING)
def stop(turn: Turn) -> None:
    """Asks the run to end, in the steps of its stop ladder."""
    turn.change(want=Want.DOWN, then=Then.REST, cause=None, reason=Reason("stopping", "stop was requested"))
    turn.tell("stopping", "stop requested")
    ask_to_end(turn)


@goes()
def stop_stays(turn: Turn) -> None:
    """It is already being stopped: now for good."""
    if turn.worker.want is Want.UP:
        turn.change(want=Want.DOWN, then=Then.REST, reason=Reason("stopping", "stop was requested"))
        turn.tell("stopping", "stop requested: it is not started again")


@goes(State.STOPPING)
def restart(turn: Turn) -> None:
    """Stops the run; the next one follows its end, from the beginning."""
    turn.change(
        want=Want.UP, then=Then.START, cause=None, reason=Reason("restarting", "restart was requested"), life=None
    )
    turn.tell("restarting", "restart requested")
    ask_to_end(turn)


@goes()
def start_after(turn: Turn) -> None:
    """It is being stopped: a new run follows the end of this one."""
    if turn.worker.then is Then.REMOVE:
        turn.refuse("conflict", f"cannot start {turn.worker.name}: it is being removed")
        return
    turn.change(want=Want.UP, then=Then.START, reason=Reason("restarting", "stops, then starts again"), life=None)
    turn.tell("restarting", "will be started again once it has stopped")


@goes(State.STOPPING)
def time_out(turn: Turn) -> None:
    """The run-time limit came: the ladder, with kill_after in place of the grace."""
    limit = turn.worker.spec.timeout
    text = f"ran into its time limit of {limit:g} s" if limit is not None else "ran into its time limit"
    turn.change(cause=ExitKind.TIMED_OUT, cause_text=text, then=Then.REST, reason=Reason("timed_out", text))
    turn.tell("timed_out", text, limit=limit)
    climb(turn)


@goes(State.STOPPING)
def exceed(turn: Turn) -> None:
    """Its directory holds more than its quota: it is asked to end, as if somebody had."""
    event = turn.event
    assert isinstance(event, ev.QuotaExceeded)
    text = f"its state directory holds {format_size(event.used)}, its quota is {format_size(event.quota)}"
    turn.change(cause=ExitKind.OVER_QUOTA, cause_text=text, then=Then.REST, reason=Reason("over_quota", text))
    turn.tell("over_quota", text, used=event.used, quota=event.quota)
    climb(turn)


@goes(State.STOPPING)
def overspend(turn: Turn) -> None:
    """It has spent too much, or does not tell what; if others spend of the same, it may start again when there is more."""
    event = turn.event
    assert isinstance(event, ev.OverBudget)
    then = Then.QUEUE if event.shared else Then.REST
    turn.change(
        cause=ExitKind.OVER_BUDGET, cause_text=event.text, then=then, reason=Reason("over_budget", event.text)
    )  # fmt: skip
    turn.tell("over_budget", event.text)
    climb(turn)


@goes()
def meter(turn: Turn) -> None:
    """What was found out about the live run."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.Metered)
    wrote = worker.wrote if event.wrote is None else max(worker.wrote, event.wrote)
    disk = worker.disk if event.disk is None else event.disk
    if (wrote, disk) != (worker.wrote, worker.disk):
        turn.change(wrote=wrote, disk=disk)


@goes()
def next_step(turn: Turn) -> None:
    """The next signal of the ladder, or the end of patience."""
    step = turn.worker.step + 1
    if step < len(turn.worker.spec.stop.signals):
        turn.change(step=step)
        signal_step(turn)
    else:
        _kill(turn, "did not end in time; its whole tree is killed")


@goes(State.STOPPING)
def kill(turn: Turn) -> None:
    """Ends the whole tree at once."""
    end_pause(turn)
    turn.change(state=State.STOPPING, want=Want.DOWN, then=Then.REST, cause=None, deadline=None, time_left=None)
    _kill(turn, "kill was requested")


@goes()
def kill_now(turn: Turn) -> None:
    """It is being stopped: now for good, and with no more patience."""
    stop_stays(turn)
    _kill(turn, "kill was requested")


def _kill(turn: Turn, text: str) -> None:
    turn.change(due=None, step=len(turn.worker.spec.stop.signals), reason=Reason("killing", text))
    turn.do(fx.Kill(turn.run_id))
    turn.tell("killing", text)


# --- resting ----------------------------------------------------------------------------------------------------------


@goes(State.STOPPED)
def rest(turn: Turn) -> None:
    """Not to be started (again)."""
    turn.change(
        state=State.STOPPED, want=Want.DOWN, due=None, half_open=False, reason=Reason("stopped", "stopped by request")
    )
    turn.tell("stopped", "stopped by request")


@goes()
def wish_down(turn: Turn) -> None:
    """It rests already; only the wish changes, and a breaker's next attempt is off."""
    if turn.worker.want is Want.UP or turn.worker.due is not None:
        if turn.worker.due is not None:
            turn.because("breaker_stopped", "the breaker had opened; no more attempts: stop was requested")
        turn.change(want=Want.DOWN, due=None)
        turn.tell("stopped", "not wanted any more")


@goes()
def forget(turn: Turn) -> None:
    """Gone, with history and log."""
    turn.tell("removed", "removed with its history and log")
    turn.do(fx.Forget(turn.worker.name))
    turn.gone = True


@goes(State.STOPPING)
def remove_live(turn: Turn) -> None:
    """Removing what runs needs force; it is stopped first."""
    event, worker = turn.event, turn.worker
    assert isinstance(event, ev.RemoveRequested)
    if not event.force:
        turn.refuse("conflict", f"cannot remove {worker.name}: it is {worker.state}; stop it first, or use --force")
        return
    turn.change(want=Want.DOWN, then=Then.REMOVE, cause=None, reason=Reason("removing", "removal was requested"))
    turn.tell("stopping", "removal requested")
    if worker.state is not State.STOPPING:
        ask_to_end(turn)
