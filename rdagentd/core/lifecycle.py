"""The lifecycle: one total table, input by state, each cell naming what happens.

`ignore` is legal and meaningless; `refuse` answers a person that it cannot be done now; `reject` cannot happen and is a defect.
"""

from __future__ import annotations

from enum import StrEnum

from rdagentd.core import changes as c
from rdagentd.core import endings as e
from rdagentd.core import events as ev
from rdagentd.core import handlers as h
from rdagentd.core.handlers import Handler
from rdagentd.model.worker import State


class Input(StrEnum):
    """What can happen to a worker."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    SIGNAL = "signal"
    KILL = "kill"
    REMOVE = "remove"
    CHANGE = "change"
    ADMIT = "admit"
    STARTED = "started"
    EXITED = "exited"
    DUE = "due"
    LIMIT = "limit"
    QUOTA = "quota"


INPUT_OF: dict[type[object], Input] = {
    ev.StartRequested: Input.START,
    ev.StopRequested: Input.STOP,
    ev.RestartRequested: Input.RESTART,
    ev.PauseRequested: Input.PAUSE,
    ev.ResumeRequested: Input.RESUME,
    ev.SignalRequested: Input.SIGNAL,
    ev.KillRequested: Input.KILL,
    ev.RemoveRequested: Input.REMOVE,
    ev.SpecChanged: Input.CHANGE,
    ev.Admitted: Input.ADMIT,
    ev.RunStarted: Input.STARTED,
    ev.RunExited: Input.EXITED,
    ev.QuotaExceeded: Input.QUOTA,
}


def input_of(event: ev.WorkerEvent) -> Input:
    """The table's row for an event."""
    if isinstance(event, ev.Due):
        return Input.DUE if event.timer is ev.Timer.STATE else Input.LIMIT
    return INPUT_OF[type(event)]


# fmt: off
_STATES = (
    State.QUEUED,      State.STARTING,     State.RUNNING,    State.PAUSED,     State.STOPPING,
    State.BACKOFF,     State.STOPPED,      State.COMPLETED,  State.FAILED,
)
_ROWS: dict[Input, tuple[Handler, ...]] = {
    Input.START:   (h.ignore,   h.ignore,       h.ignore,     h.resume,      h.start_after,
                    h.enqueue,  h.enqueue,      h.enqueue,    h.enqueue),
    Input.STOP:    (h.rest,     h.stop,         h.stop,       h.stop,        h.stop_stays,
                    h.rest,     h.wish_down,    h.wish_down,  h.wish_down),
    Input.RESTART: (h.ignore,   h.restart,      h.restart,    h.restart,     h.start_after,
                    h.enqueue,  h.enqueue,      h.enqueue,    h.enqueue),
    Input.PAUSE:   (h.refuse,   h.refuse,       h.pause,      h.ignore,      h.refuse,
                    h.refuse,   h.refuse,       h.refuse,     h.refuse),
    Input.RESUME:  (h.refuse,   h.refuse,       h.ignore,     h.resume,      h.refuse,
                    h.refuse,   h.refuse,       h.refuse,     h.refuse),
    Input.SIGNAL:  (h.refuse,   h.forward,      h.forward,    h.forward,     h.forward,
                    h.refuse,   h.refuse,       h.refuse,     h.refuse),
    Input.KILL:    (h.rest,     h.kill,         h.kill,       h.kill,        h.kill_now,
                    h.rest,     h.wish_down,    h.wish_down,  h.wish_down),
    Input.REMOVE:  (h.forget,   h.remove_live,  h.remove_live, h.remove_live, h.remove_live,
                    h.forget,   h.forget,       h.forget,     h.forget),
    Input.CHANGE:  (c.adopt,    c.adopt_live,   c.adopt_live, c.adopt_live,  c.adopt,
                    c.adopt,    c.adopt,        c.adopt_and_start, c.adopt_and_start),
    Input.ADMIT:   (h.launch,   h.reject,       h.reject,     h.reject,      h.reject,
                    h.reject,   h.reject,       h.reject,     h.reject),
    Input.STARTED: (h.reject,   h.started,      h.ignore,     h.ignore,      h.started_late,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.EXITED:  (h.ignore,   e.settle,       e.settle,     e.settle,      e.settle,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.DUE:     (h.ignore,   h.ignore,       h.ignore,     h.ignore,      h.next_step,
                    h.enqueue_again, h.ignore,  h.ignore,     h.probe),
    Input.LIMIT:   (h.ignore,   h.ignore,       h.time_out,   h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.QUOTA:   (h.ignore,   h.ignore,       h.exceed,     h.exceed,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
}
# fmt: on

TABLE: dict[State, dict[Input, Handler]] = {
    state: {row: cells[column] for row, cells in _ROWS.items()} for column, state in enumerate(_STATES)
}


def diagram() -> str:
    """The table as a Mermaid state diagram: every change of state, named by its inputs."""
    edges: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for what, handler in row.items():
            for target in h.TARGETS[handler]:
                if target is not state:
                    edges.setdefault((state.value, target.value), []).append(what.value)
    lines = [f"    {source} --> {target}: {', '.join(inputs)}" for (source, target), inputs in edges.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued: submit", *lines, ""])
