"""What a run tells of itself: taken into its measures, and kept with how far it was read, in one transaction."""

from __future__ import annotations

from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.handlers import goes
from rdagentd.core.turn import Turn
from rdagentd.model.measures import told
from rdagentd.model.run import Reading


@goes()
def report(turn: Turn) -> None:
    """Takes what is told; what cannot be taken counts an error and stops nothing."""
    event, run = turn.event, turn.worker.run
    assert isinstance(event, ev.Reported)
    assert run is not None
    measures, wrong = told(run.measures, event.values, event.added)
    before = run.reading
    errors = before.errors + event.errors + len(wrong)
    trouble = wrong[-1] if wrong else event.trouble or before.trouble
    after = evolve(run, measures=measures, reading=Reading({**before.log, **event.log}, errors, trouble))
    if after == run:
        return
    turn.change(run=after)
    turn.do(fx.SaveRun(after))
    if len(str(errors)) > len(str(before.errors)) or (
        errors and not before.errors
    ):  # 1, 10, 100: no story of it each time
        turn.tell("misread", f"{trouble} ({event.source})", source=event.source, errors=errors)
