"""A provider of models, and its breaker: what is known of an outage, over all workers that need it."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


@frozen
class Provider:
    """When its breaker opens: after `errors` within `window` seconds, for `cooldown` seconds. Then one worker tries it."""

    errors: int = 20
    window: float = 60.0
    cooldown: float = 120.0


class Phase(StrEnum):
    """closed: starts go on. open: they wait. half_open: one worker is let through, and the others wait for what comes of it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@frozen
class Circuit:
    """A breaker as it is.

    errors: how many were told at which monotonic times, oldest first, while it is closed. due: monotonic time at which the
    cool-down is over, or at which the try has been without an error for long enough. probe: the worker that tries it. why: what
    opened it, in words.
    """

    phase: Phase = Phase.CLOSED
    errors: tuple[tuple[float, float], ...] = ()
    due: float | None = None
    probe: str | None = None
    why: str = ""
