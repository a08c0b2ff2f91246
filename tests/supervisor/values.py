"""Strategies for workers of every kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rdagentd.model.run import Exit, ExitKind, Run, Usage
from rdagentd.model.spec import Policy, Queue, Restart, Spec, Stop
from rdagentd.model.worker import Reason, State, Then, Want, Worker

SECRET = "hunter2-do-not-show"

WHEN = st.none() | st.floats(0, 1e10)
TEXT = st.text(max_size=12)
NAMES = st.sampled_from(["a", "b", "c"])

EXITS = st.builds(
    Exit,
    kind=st.sampled_from(ExitKind),
    code=st.none() | st.integers(0, 255),
    signal=st.sampled_from([None, "SIGKILL"]),
    core=st.booleans(),
    stage=st.sampled_from([None, "exec"]),
    errno=st.sampled_from([None, 2]),
    reason=TEXT,
)
LOG_ENDS = st.dictionaries(st.sampled_from(["out", "err"]), st.integers(0, 2**40))
RUNS = st.builds(
    Run,
    id=st.sampled_from(["r1", "r2"]),
    worker=NAMES,
    revision=st.integers(1, 9),
    attempt=st.integers(1, 9),
    pid=st.none() | st.integers(1, 2**22),
    start_ticks=st.none() | st.integers(0, 2**40),
    started_at=WHEN,
    ended_at=WHEN,
    exit=st.none() | EXITS,
    usage=st.none() | st.just(Usage(1.5, 0.5, 1024)),
    log_start=LOG_ENDS,
    log_end=LOG_ENDS,
)


@st.composite
def workers(draw: st.DrawFn, **fixed: Any) -> Worker:
    """Any worker at all, also such as the engine would not make."""
    name = fixed.pop("name", None) or draw(NAMES)
    spec = Spec(
        name,
        ("/bin/agent", draw(TEXT)),
        environment={"KEY": SECRET},
        timeout=draw(st.none() | st.floats(0, 1e9)),
        restart=Restart(draw(st.sampled_from(Policy))),
        stop=Stop(draw(st.sampled_from([(), ("SIGTERM",), ("SIGINT", "SIGTERM")]))),
        queue=Queue(draw(st.sampled_from(["default", "gpu"])), draw(st.integers(-5, 5))),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
    )
    reason = draw(st.none() | st.builds(Reason, st.just("code"), TEXT))
    fields: dict[str, Any] = {
        "state": draw(st.sampled_from(State)), "want": draw(st.sampled_from(Want)), "reason": reason,
        "run": draw(st.none() | RUNS), "attempt": draw(st.integers(0, 9)), "restarts": draw(st.integers(0, 9)),
        "due": draw(WHEN), "deadline": draw(WHEN), "time_left": draw(WHEN), "step": draw(st.integers(0, 3)),
        "cause": draw(st.sampled_from([None, ExitKind.TIMED_OUT])), "then": draw(st.sampled_from(Then)),
        "order": draw(st.integers(0, 99)), "half_open": draw(st.booleans()),
    }  # fmt: skip
    return Worker(name, spec, draw(st.integers(0, 2000)), **{**fields, **fixed})
