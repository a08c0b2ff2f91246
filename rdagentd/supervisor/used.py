"""What runs use, as it was found when somebody last looked. Nobody is asked while nobody looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import Factory, define, frozen

log = logging.getLogger(__name__)

KEPT = 60.0
"""Seconds after which what was found is no longer told."""

PATIENCE = 5.0
"""Seconds that somebody waits for what runs use; what is not known by then is left out."""


@frozen
class Found:
    """By run id what it uses, as drivers tell it; executor: its own CPU seconds and bytes of memory, if it told them."""

    runs: Mapping[str, Mapping[str, Any]] = Factory(dict)
    executor: tuple[float, int] | None = None


Ask = Callable[[Sequence[str]], Awaitable[Found]]


@define(eq=False)
class _Question:
    task: asyncio.Task[Found]
    since: float


class LastFound:
    """Tells what was found last and has it found anew, so that who looks regularly waits once."""

    def __init__(self, ask: Ask, now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._found = Found()
        self._found_at: float | None = None
        self._question: _Question | None = None

    async def look(self, runs: Sequence[str]) -> Found:
        """What was found last if that was within KEPT seconds; else what is found now, if that takes no more than PATIENCE."""
        if self._question is None:
            task = asyncio.ensure_future(self._ask(runs))
            self._question = _Question(task, self._now())
            task.add_done_callback(self._answered)
        if not self._is_fresh():
            left = self._question.since + PATIENCE - self._now()
            if left > 0:  # whoever does not answer is waited for once
                await asyncio.wait([self._question.task], timeout=left)
        return self._found if self._is_fresh() else Found()

    def _is_fresh(self) -> bool:
        return self._found_at is not None and self._now() - self._found_at <= KEPT

    def _answered(self, task: asyncio.Task[Found]) -> None:
        self._question = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.error("defect: cannot ask what runs use", exc_info=error)
        else:
            self._found, self._found_at = task.result(), self._now()
