"""What costs the daemon something is asked once for all who want it at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH = 1.0
"""Seconds. However many ask over HTTP, the daemon is asked once in so long."""


class Fresh(Generic[T]):
    """What `make()` gives. Who asks while it is being made, or within `seconds` after, gets the same; errors are not kept."""

    def __init__(self, make: Callable[[], Awaitable[T]], seconds: float = FRESH) -> None:
        self._make = make
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._since = 0.0

    async def get(self) -> T:
        """The value; one who gives up does not take it from the others."""
        if self._task is None or (self._task.done() and not self._is_good(self._task)):
            self._task = asyncio.ensure_future(self._made())
        return await asyncio.shield(self._task)

    async def _made(self) -> T:
        made = await self._make()
        self._since = time.monotonic()
        return made

    def _is_good(self, task: asyncio.Task[T]) -> bool:
        failed = task.cancelled() or task.exception() is not None
        return not failed and time.monotonic() - self._since < self._seconds
