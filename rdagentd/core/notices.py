"""What a run tells of its life in the words of sd_notify(3): signs of life, that it is ready, that it needs time to end.

Its watchdog runs exactly while it does, and while somebody hears it: that is kept in one place, `wind`.
"""

from __future__ import annotations

from collections.abc import Callable

from rdagentd.core import events as ev
from rdagentd.core.handlers import climb, goes
from rdagentd.core.stall import gets_on
from rdagentd.core.turn import Turn
from rdagentd.model.run import ExitKind
from rdagentd.model.stall import Signal
from rdagentd.model.worker import Reason, State, Then, Worker

LONGEST = 86400.0
"""Seconds that a run may ask for at a time."""

_WORTH = 1.0
"""Seconds by which a deadline is moved at least: each move is kept on disk."""


@goes(State.STOPPING)
def heed(turn: Turn) -> None:
    """Takes the fields as they were told, in order; what is unknown, or no number where one must be, is passed over."""
    event = turn.event
    assert isinstance(event, ev.Notified)
    for name, value in event.fields.items():
        if name in _FIELDS:
            _FIELDS[name](turn, value)


@goes(State.STOPPING)
def miss(turn: Turn) -> None:
    """The sign of life that was due did not come."""
    _end(turn, f"gave no sign of life for {turn.worker.spec.watchdog:g} s (WATCHDOG=1 to $NOTIFY_SOCKET)")


def wind(turn: Turn, before: Worker) -> None:
    """A run that begins, or goes on after a pause, has the whole time again; one that does not run has none to keep."""
    worker = turn.worker
    if worker.spec.watchdog is None or worker.state is not State.RUNNING:
        if worker.watchdog_at is not None:
            turn.change(watchdog_at=None)
    elif before.state is not State.RUNNING:
        wind_anew(turn)


def wind_anew(turn: Turn) -> None:
    """From now on."""
    assert turn.worker.spec.watchdog is not None
    turn.change(watchdog_at=turn.now + turn.worker.spec.watchdog)


def _end(turn: Turn, text: str) -> None:
    turn.change(cause=ExitKind.UNHEALTHY, cause_text=text, then=Then.REST, reason=Reason("unhealthy", text))
    turn.tell("unhealthy", text)
    climb(turn)


def _alive(turn: Turn, value: str) -> None:
    """A sign of life, or the word that the run itself has found that it is not well."""
    if turn.worker.watchdog_at is None:
        return
    if value == "trigger":
        _end(turn, "said that it is not well (WATCHDOG=trigger)")
    else:
        wind_anew(turn)


def _ready(turn: Turn, value: str) -> None:
    """Once: who says that it ends does not become ready again."""
    if value == "1" and turn.worker.says_ready is None:
        turn.change(says_ready=True)
        turn.tell("told", "says that it is ready")


def _stopping(turn: Turn, value: str) -> None:
    """It ends by itself; who cleans up gives no signs of life."""
    if value == "1" and (turn.worker.says_ready is not False or turn.worker.watchdog_at is not None):
        turn.change(says_ready=False, watchdog_at=None)


def _extend(turn: Turn, value: str) -> None:
    """More time to end, if somebody asked it to; a limit is a limit, so not if it is ended for one."""
    worker = turn.worker
    if worker.state is not State.STOPPING or worker.due is None or worker.cause is not None:
        return
    if not value.isdecimal() or len(value) > len(str(2**64)):
        return
    seconds = min(int(value) / 1e6, LONGEST)
    if turn.now + seconds >= worker.due + _WORTH:
        turn.change(due=turn.now + seconds)
        turn.tell("extended", f"asked for {seconds:g} s more to end", seconds=seconds)


def _checkpoint(turn: Turn, value: str) -> None:
    """It got as far as to write one; which, is found when one is needed."""
    gets_on(turn, Signal.CHECKPOINT)


_FIELDS: dict[str, Callable[[Turn, str], None]] = {
    "WATCHDOG": _alive,
    "READY": _ready,
    "STOPPING": _stopping,
    "EXTEND_TIMEOUT_USEC": _extend,
    "X_RDAGENT_CHECKPOINT": _checkpoint,
}
