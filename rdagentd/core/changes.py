"""A changed spec: what counts at once, and what needs a new run."""

from __future__ import annotations

from attrs import evolve, fields_dict

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.budgets import used_up
from rdagentd.core.handlers import ask_to_end, enqueue, goes
from rdagentd.core.health import unknown
from rdagentd.core.turn import Turn
from rdagentd.model.spec import LIVE_FIELDS, Spec
from rdagentd.model.worker import Reason, State, Then, Want, Worker


def _adopt(turn: Turn) -> Spec:
    """Keeps the new spec as a new revision; returns the old one."""
    event = turn.event
    assert isinstance(event, ev.SpecChanged)
    old, revision = turn.worker.spec, turn.worker.revision + 1
    turn.change(spec=event.spec, revision=revision)
    turn.do(fx.SaveSpec(event.worker, revision, event.spec, event.by))
    turn.tell("changed", f"revision {revision}", revision=revision)
    return old


def needs_restart(old: Spec, new: Spec) -> bool:
    """Whether a run of the old spec cannot go on as one of the new."""
    return any(getattr(old, name) != getattr(new, name) for name in _RUN_FIELDS)


def is_new_beginning(worker: Worker, old: Spec, new: Spec) -> bool:
    """Whether a worker that rests although it is wanted starts anew with the new spec; not if it has nothing left to spend."""
    if worker.want is not Want.UP or used_up(evolve(worker, spec=new)) is not None:
        return False
    return evolve(new, queue=old.queue, labels=old.labels) != old


_RUN_FIELDS = tuple(name for name in fields_dict(Spec) if name not in LIVE_FIELDS)


@goes()
def adopt(turn: Turn) -> None:
    """Counts from the next run on."""
    _adopt(turn)


@goes(State.QUEUED)
def adopt_and_start(turn: Turn) -> None:
    """It rests although it is wanted: the new spec is a new beginning, unless only its place or its labels are new.

    Who was stopped for a budget, and may spend more now, goes on from its checkpoint: that is paid for.
    """
    before = turn.worker
    old = _adopt(turn)
    if is_new_beginning(turn.worker, old, turn.worker.spec):
        enqueue(turn)
        if (
            before.reason is not None
            and before.reason.code == "over_budget"
            and not needs_restart(old, turn.worker.spec)
        ):
            turn.change(life=before.life, setbacks=before.setbacks)


@goes(State.STOPPING)
def adopt_live(turn: Turn) -> None:
    """Some fields count at once; any other change needs a new run."""
    worker = turn.worker
    old = _adopt(turn)
    if needs_restart(old, turn.worker.spec):
        turn.change(then=Then.START, cause=None, reason=Reason("restarting", "its spec was changed"))
        ask_to_end(turn)
        return
    if turn.worker.spec.timeout != old.timeout:
        _move_deadline(turn, old.timeout, worker.deadline)
    if turn.worker.spec.health != old.health and worker.state is not State.STARTING:  # known when it has started
        turn.change(**unknown(turn.worker.spec, turn.now))


def _move_deadline(turn: Turn, old: float | None, deadline: float | None) -> None:
    new = turn.worker.spec.timeout
    if turn.worker.state is State.PAUSED:
        left = turn.worker.time_left
        spent = 0.0 if old is None or left is None else old - left
        turn.change(time_left=None if new is None else max(0.0, new - spent))
    elif turn.worker.state is State.RUNNING:
        began = turn.worker.launched if old is None or deadline is None else deadline - old
        turn.change(deadline=None if new is None else began + new)
