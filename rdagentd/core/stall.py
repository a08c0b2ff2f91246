"""Whether a run that lives still gets on. Reports move the deadline; output and CPU time are read only when it comes.

What CPU time was used lately only two looks can tell. So where it counts a silent run is looked at four times within `after`,
and a stall is found at most a quarter of that late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.handlers import climb, goes
from rdagentd.core.turn import Turn
from rdagentd.model.run import ExitKind
from rdagentd.model.stall import Action, Quiet, Signal, Stall, Step
from rdagentd.model.worker import Reason, State, Then, Worker

BUSY = 0.01
"""Of a CPU: who uses less only waits. An idle loop that wakes up each second stays below."""

LOOKS = 4
"""Times that a silent run is looked at within `after`, for its CPU time."""

PATIENCE = 30.0
"""Seconds after which a stall is told without a picture; at most so many, a look is made again that nobody has answered."""

_SLACK = 1e-6


# --- pure -------------------------------------------------------------------------------------------------------------


def follow(before: Worker, after: Worker, now: float) -> Quiet | None:
    """How quiet the run is, after a change of its worker."""
    stall, quiet = after.spec.stall, after.quiet
    if stall is None or after.state not in (State.RUNNING, State.PAUSED):
        return None
    if quiet is None or before.spec.stall != stall:
        return _planned(stall, Quiet(now, None, now), after)
    if after.state is State.PAUSED:
        return quiet if quiet.due is None else evolve(quiet, due=None, step=Step.QUIET)
    if before.state is State.PAUSED:
        paused = now - (before.paused_at or now)
        return _planned(stall, evolve(quiet, since=quiet.since + paused, looked=quiet.looked + paused), after)
    if Signal.REPORT in stall.signals and before.run and after.run and before.run.measures != after.run.measures:
        return _planned(stall, evolve(quiet, since=now, stalled=False), after)
    return quiet


def _planned(stall: Stall, quiet: Quiet, worker: Worker) -> Quiet:
    """With the time of the next look."""
    latest = quiet.looked if quiet.stalled else quiet.since  # one that is stalled already is looked at on and on
    due = latest + stall.after
    if Signal.CPU in stall.signals:
        due = min(due, max(quiet.looked, latest) + stall.after / LOOKS)
    return evolve(quiet, due=due if worker.state is State.RUNNING else None, step=Step.QUIET)


def seen(stall: Stall, quiet: Quiet, event: ev.Examined, now: float) -> Quiet:
    """What a look tells: the time of the last sign of life, as well as that is known."""
    since, between = quiet.since, now - quiet.looked
    if Signal.OUTPUT in stall.signals and event.log is not None and event.log > quiet.log:
        idle = (
            event.idle if event.idle is not None and 0 <= event.idle <= between else 0.0
        )  # the host's clock may be set
        since = max(since, now - idle)
    if Signal.CHECKPOINT in stall.signals and event.checkpoint is not None and 0 <= event.checkpoint < now - since:
        since = now - event.checkpoint
    if Signal.CPU in stall.signals and event.cpu is not None and event.cpu - quiet.cpu >= BUSY * between:
        since = now
    cpu, log = quiet.cpu if event.cpu is None else event.cpu, quiet.log if event.log is None else event.log
    return evolve(quiet, since=since, looked=now, cpu=cpu, log=log, stalled=quiet.stalled and since <= quiet.since)


# --- what the table's cells do ----------------------------------------------------------------------------------------


@goes(State.STOPPING)
def look(turn: Turn) -> None:
    """It was silent for so long that it is looked at; or its picture does not come."""
    quiet, stall = turn.worker.quiet, turn.worker.spec.stall
    assert quiet is not None
    assert stall is not None
    if quiet.step is Step.PICTURED:
        _tell(turn, {"trouble": f"cannot look at it: no answer within {PATIENCE:g} s"})
        return
    turn.change(quiet=evolve(quiet, step=Step.LOOKED, due=turn.now + min(PATIENCE, stall.after)))
    turn.do(fx.Examine(turn.worker))


@goes()
def examined(turn: Turn) -> None:
    """What it has done lately: it goes on, or is stalled."""
    event, worker = turn.event, turn.worker
    quiet, stall = worker.quiet, worker.spec.stall
    assert isinstance(event, ev.Examined)
    if quiet is None or stall is None or quiet.step is not Step.LOOKED:
        return
    quiet = seen(stall, quiet, event, turn.now)
    if quiet.stalled or turn.now - quiet.since < stall.after - _SLACK:
        turn.change(quiet=_planned(stall, quiet, worker))
        return
    turn.change(quiet=evolve(quiet, stalled=True, step=Step.PICTURED, due=turn.now + PATIENCE))
    turn.do(fx.Picture(turn.worker))


@goes(State.STOPPING)
def pictured(turn: Turn) -> None:
    """It is stalled, and this is how it looks."""
    event, quiet = turn.event, turn.worker.quiet
    assert isinstance(event, ev.Pictured)
    if quiet is not None and quiet.step is Step.PICTURED:
        _tell(turn, event.picture)


def _tell(turn: Turn, picture: Mapping[str, Any]) -> None:
    """The warning first, then what was asked for."""
    worker = turn.worker
    quiet, stall = worker.quiet, worker.spec.stall
    assert quiet is not None
    assert stall is not None
    text = f"stalled: no {_or([_CALLED[signal] for signal in stall.signals])} for {stall.after:g} s"
    turn.tell("stalled", text, **picture)
    if stall.action is Action.NONE:
        turn.change(quiet=_planned(stall, quiet, worker))
        return
    turn.change(cause=ExitKind.STALLED, cause_text=text, then=Then.REST, reason=Reason("stalled", text))
    climb(turn)


_CALLED = {Signal.OUTPUT: "output", Signal.REPORT: "report", Signal.CHECKPOINT: "checkpoint", Signal.CPU: "CPU time"}


def gets_on(turn: Turn, signal: Signal) -> None:
    """The run itself tells of a sign of life."""
    stall, quiet = turn.worker.spec.stall, turn.worker.quiet
    if stall is not None and quiet is not None and signal in stall.signals:
        turn.change(quiet=_planned(stall, evolve(quiet, since=turn.now, stalled=False), turn.worker))


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
