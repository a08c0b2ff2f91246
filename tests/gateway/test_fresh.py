"""Asked once for all who want it at the same time."""

from __future__ import annotations

import asyncio

import pytest

from rdagentd.gateway.fresh import Fresh


def test_who_asks_at_once_or_soon_after_gets_the_same_and_later_anew() -> None:
    made = 0

    async def make() -> int:
        nonlocal made
        await asyncio.sleep(0)
        made += 1
        return made

    async def run() -> None:
        fresh = Fresh(make, 3600)
        assert await asyncio.gather(*(fresh.get() for _ in range(5))) == [1] * 5
        assert await fresh.get() == 1
        stale = Fresh(make, 0)
        assert [await stale.get(), await stale.get()] == [2, 3]

    asyncio.run(run())


def test_an_error_is_told_to_all_who_wait_and_not_kept() -> None:
    made = 0

    async def make() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        if made == 1:
            raise ValueError("the first")
        return made

    async def run() -> None:
        fresh = Fresh(make, 3600)
        first, second = await asyncio.gather(fresh.get(), fresh.get(), return_exceptions=True)
        assert str(first) == str(second) == "the first"
        assert await fresh.get() == 2

    asyncio.run(run())


def test_one_who_gives_up_does_not_take_it_from_the_others() -> None:
    async def run() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def make() -> str:
            begun.set()
            await go_on.wait()
            return "made"

        fresh = Fresh(make)
        first, second = (asyncio.ensure_future(fresh.get()) for _ in range(2))
        await begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        assert await second == "made"

    asyncio.run(run())
