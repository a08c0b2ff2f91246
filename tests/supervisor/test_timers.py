"""Deadlines, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rdagentd.core.events import Due, Timer
from rdagentd.supervisor.timers import Timers


def at_will(test: Callable[[Timers, list[Due], Callable[[float], Awaitable[None]]], Awaitable[None]]) -> None:
    """Runs a test with timers, what fired, and `move(to)`."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        now = 100.0
        loop.time = lambda: now  # type: ignore[method-assign]
        fired: list[Due] = []

        async def move(to: float) -> None:
            nonlocal now
            now = to
            for _ in range(3):
                await asyncio.sleep(0)

        await test(Timers(fired.append), fired, move)

    asyncio.run(run())


def test_a_deadline_comes_once() -> None:
    async def test(timers: Timers, fired: list[Due], move: Callable[[float], Awaitable[None]]) -> None:
        timers.arm("w", Timer.STATE, 105.0)
        await move(104.0)
        assert fired == []
        await move(105.0)
        await move(200.0)
        assert fired == [Due("w", Timer.STATE, 105.0)]

    at_will(test)


def test_a_deadline_that_is_moved_comes_only_where_it_was_moved_to() -> None:
    async def test(timers: Timers, fired: list[Due], move: Callable[[float], Awaitable[None]]) -> None:
        timers.arm("w", Timer.STATE, 105.0)
        timers.arm("w", Timer.STATE, 110.0)
        await move(106.0)
        assert fired == []
        await move(110.0)
        assert fired == [Due("w", Timer.STATE, 110.0)]

    at_will(test)


def test_timers_of_one_worker_are_apart() -> None:
    async def test(timers: Timers, fired: list[Due], move: Callable[[float], Awaitable[None]]) -> None:
        timers.arm("w", Timer.STATE, 105.0)
        timers.arm("w", Timer.LIMIT, 106.0)
        timers.arm("v", Timer.LIMIT, 107.0)
        timers.disarm("w", Timer.LIMIT)
        timers.disarm("w", Timer.LIMIT)
        timers.disarm("nobody", Timer.STATE)
        await move(108.0)
        assert fired == [Due("w", Timer.STATE, 105.0), Due("v", Timer.LIMIT, 107.0)]

    at_will(test)


def test_a_deadline_in_the_past_comes_at_once() -> None:
    async def test(timers: Timers, fired: list[Due], move: Callable[[float], Awaitable[None]]) -> None:
        timers.arm("w", Timer.STATE, 1.0)
        await move(100.0)
        assert fired == [Due("w", Timer.STATE, 1.0)]

    at_will(test)
