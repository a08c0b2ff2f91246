"""When a run that lives, and does nothing any more, is said to be stalled; and how quiet a run is."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Signal(StrEnum):
    """What shows that a run gets on."""

    OUTPUT = "output"
    REPORT = "report"
    CHECKPOINT = "checkpoint"
    CPU = "cpu"


class Action(StrEnum):
    """What follows when a run is stalled, beside that it is told."""

    NONE = "none"
    RESTART = "restart"
    STOP = "stop"


@frozen
class Stall:
    """None of these signals for `after` seconds, pauses aside."""

    after: float
    signals: tuple[Signal, ...] = tuple(Signal)
    action: Action = Action.NONE


class Step(StrEnum):
    """What is awaited next of a run that is watched for stalls."""

    QUIET = "quiet"
    """The time to look at it."""
    LOOKED = "looked"
    """What its driver knows of it."""
    PICTURED = "pictured"
    """What it looks like, now that it is stalled."""


@frozen
class Quiet:
    """How quiet a run is; times are monotonic seconds.

    since: the last sign of life. due: when the next step is made, None while paused. looked: when it was looked at last, or
    began; by then it had used `cpu` seconds and written `log` bytes. stalled: it was found to be, and has shown nothing since.
    """

    since: float
    due: float | None
    looked: float
    cpu: float = 0.0
    log: int = 0
    step: Step = Step.QUIET
    stalled: bool = False
