"""The lifecycle: one total table, input by state, each cell naming what happens.

`ignore` is legal and meaningless; `refuse` answers a person that it cannot be done now; `reject` cannot happen and is a defect.
"""

from __future__ import annotations

from enum import StrEnum

from rdagentd.core import changes as c
from rdagentd.core import checks as k
from rdagentd.core import endings as e
from rdagentd.core import events as ev
from rdagentd.core import handlers as h
from rdagentd.core import notices as n
from rdagentd.core import reports as r
from rdagentd.core import stall as s
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
    PROBE = "probe"
    CHECKED = "checked"
    REPORT = "report"
    NOTICE = "notice"
    SILENCE = "silence"
    PREPARED = "prepared"
    RELEASE = "release"
    EXCUSE = "excuse"
    METER = "meter"
    BUDGET = "budget"
    AUDIT = "audit"
    STALL = "stall"
    EXAMINED = "examined"
    PICTURED = "pictured"


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
    ev.Reported: Input.REPORT,
    ev.Notified: Input.NOTICE,
    ev.Released: Input.RELEASE,
    ev.Excused: Input.EXCUSE,
    ev.Checked: Input.CHECKED,
    ev.Prepared: Input.PREPARED,
    ev.Metered: Input.METER,
    ev.OverBudget: Input.BUDGET,
    ev.Examined: Input.EXAMINED,
    ev.Pictured: Input.PICTURED,
}
INPUT_OF_TIMER: dict[ev.Timer, Input] = {
    ev.Timer.STATE: Input.DUE,
    ev.Timer.LIMIT: Input.LIMIT,
    ev.Timer.WATCHDOG: Input.SILENCE,
    ev.Timer.HEALTH: Input.PROBE,
    ev.Timer.READY: Input.PROBE,
    ev.Timer.BUDGET: Input.AUDIT,
    ev.Timer.STALL: Input.STALL,
}


def input_of(event: ev.WorkerEvent) -> Input:
    """The table's row for an event."""
    if isinstance(event, ev.Due):
        return INPUT_OF_TIMER[event.timer]
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
    Input.RESUME:  (h.resume_from, h.refuse,    h.resume_running, h.resume,  h.refuse,
                    h.resume_from, h.resume_from, h.resume_from, h.resume_from),
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
    Input.REPORT:  (h.ignore,   r.report,       r.report,     r.report,      r.report,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.NOTICE:  (h.ignore,   n.heed,         n.heed,       n.heed,        n.heed,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.SILENCE: (h.ignore,   h.ignore,       n.miss,       h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.RELEASE: (h.ignore,   h.ignore,       h.ignore,     h.ignore,      h.release,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.EXCUSE:  (h.excuse,   h.excuse,       h.excuse,     h.excuse,      h.excuse,
                    h.excuse,   h.ignore,       h.ignore,     h.excuse_and_start),
    Input.PROBE:   (h.ignore,   h.ignore,       k.ask,        h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.CHECKED: (h.ignore,   h.ignore,       k.answered,   h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.PREPARED: (h.ignore,  h.prepared,     h.ignore,     h.ignore,      e.never_began,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.METER:   (h.ignore,   h.meter,        h.meter,      h.meter,       h.meter,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.BUDGET:  (h.ignore,   h.overspend,    h.overspend,  h.overspend,   h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    # time has passed, and no more: the engine looks at the budgets after every input
    Input.AUDIT:   (h.ignore,   h.ignore,       h.ignore,     h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.STALL:   (h.ignore,   h.ignore,       s.look,       h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.EXAMINED: (h.ignore,  h.ignore,       s.examined,   h.ignore,      h.ignore,
                    h.ignore,   h.ignore,       h.ignore,     h.ignore),
    Input.PICTURED: (h.ignore,  h.ignore,       s.pictured,   h.ignore,      h.ignore,
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
