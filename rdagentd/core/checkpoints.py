"""Which checkpoint a run goes on from. Pure: what there is was looked for by somebody else.

A life of a worker begins when a person starts it from the beginning; a checkpoint counts only if it was written in the present
one. Two runs from the same checkpoint that fail without a newer one are enough: the next goes back one more.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rdagentd.core import effects as fx
from rdagentd.model.checkpoints import Checkpoint, Found
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.worker import Then, Want, Worker

TRIES = 2
"""Runs that may fail from one checkpoint."""

MOST = 64
"""Failures that are remembered."""

_BLAMELESS = (ExitKind.COULD_NOT_START, ExitKind.LOST, ExitKind.OVER_BUDGET)
"""Ends that tell nothing about the checkpoint."""


@frozen
class Choice:
    """checkpoint: None for the beginning. setbacks: those that are remembered from now on. text: what is done, and why."""

    checkpoint: Checkpoint | None
    setbacks: tuple[Checkpoint, ...]
    text: str


def goes_on(worker: Worker) -> bool:
    """Whether the next run is to go on from a checkpoint, if there is one."""
    checkpoints = worker.spec.checkpoints
    return checkpoints is not None and bool(checkpoints.resume) and worker.life is not None


def needs_preparing(worker: Worker) -> bool:
    """Whether something must be looked for, or kept, before the next run."""
    return worker.spec.snapshot.git or goes_on(worker)


def launching(worker: Worker) -> fx.Spawn | fx.Prepare:
    """What is to be done for a run that is intended."""
    assert worker.run is not None
    return fx.Spawn(worker) if worker.run.prepared else fx.Prepare(worker)


def choose(found: Sequence[Found], setbacks: tuple[Checkpoint, ...]) -> Choice:
    """found: those of the present life, the newest first."""
    whole = [one.checkpoint for one in found if one.problem == ""]
    if whole and whole[0] not in setbacks:
        setbacks = ()  # it got on meanwhile
    passed = [one for one in found if _why_not(one, setbacks)]
    chosen = next((one for one in whole if setbacks.count(one) < TRIES), None)
    if chosen is None:
        told = [f"{one.checkpoint.path} {_why_not(one, setbacks)}" for one in passed[:3]]
        return Choice(None, (), f"starts from the beginning: {'; '.join(told) or 'there is no checkpoint'}")
    newer = [one for one in passed if found.index(one) < [one.checkpoint for one in found].index(chosen)]
    told = [f"{one.checkpoint.path} {_why_not(one, setbacks)}" for one in newer[:3]]
    return Choice(chosen, setbacks, f"goes on from {chosen.path}{' (' * bool(told)}{'; '.join(told)}{')' * bool(told)}")


def _why_not(one: Found, setbacks: tuple[Checkpoint, ...]) -> str:
    failures = setbacks.count(one.checkpoint)
    return one.problem or (f"has failed {failures} times" if failures >= TRIES else "")


def wanted(setbacks: tuple[Checkpoint, ...]) -> int:
    """How many must be known to be whole so that one can be chosen."""
    return 1 + sum(setbacks.count(one) >= TRIES for one in set(setbacks))


def set_back(worker: Worker, ended: Exit, blameless: bool) -> tuple[Checkpoint, ...]:
    """What is remembered after this end of its run. blameless: it went well, or its provider was out."""
    chosen = worker.run.checkpoint if worker.run else None
    wished = worker.want is Want.DOWN or (worker.then is not Then.REST and worker.cause is None)
    if chosen is None or blameless or wished or ended.kind in _BLAMELESS:
        return worker.setbacks
    return (*worker.setbacks, chosen)[-MOST:]
