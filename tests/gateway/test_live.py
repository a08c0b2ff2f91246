"""Rows as they change: one follower for all who look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from rdagentd.gateway import live
from rdagentd.gateway.live import Feed
from rdagentd.protocol.errors import NOT_FOUND, UNAVAILABLE, ProtocolError
from tests.gateway.test_streams import parsed

DEADLINE = 60.0


def row(name: str, state: str = "running", due_in: float | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "due_in": due_in, **more}


class Host:
    """A daemon with workers whose story is told by `tell`. asked: the selections of `status`; gone: whether it is away."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = {row["name"]: row for row in rows}
        self.asked: list[dict[str, Any]] = []
        self.followers: set[asyncio.Queue[str | None]] = set()
        self.gone = False

    def put(self, row: dict[str, Any], tell: bool = True) -> None:
        self.rows[row["name"]] = row
        if tell:
            self.tell(row["name"])

    def tell(self, name: str | None) -> None:
        for follower in self.followers:
            follower.put_nowait(name)

    def away(self) -> None:
        self.gone = True
        for follower in self.followers:
            follower.put_nowait("!")

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = None) -> Any:
        assert op == "status"
        if self.gone:
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd")
        names = (args or {}).get("select", {}).get("names")
        self.asked.append((args or {}).get("select", {}))
        if any(name not in self.rows for name in names or ()):
            raise ProtocolError(NOT_FOUND, "cannot find worker")
        return [row for name, row in sorted(self.rows.items()) if names is None or name in names]

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        assert op == "events"
        if self.gone:
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd")
        if not (args or {}).get("follow"):
            yield {"seq": 7, "worker": None}
            return
        assert args == {"since": 7, "follow": True}
        mine: asyncio.Queue[str | None] = asyncio.Queue()
        self.followers.add(mine)
        try:
            while (name := await mine.get()) != "!":
                yield {"seq": 8, "worker": name}
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd: it closed the connection")
        finally:
            self.followers.discard(mine)


class Looker:
    """Reads what one client is told, event by event."""

    def __init__(self, told: AsyncIterator[bytes]) -> None:
        self._told = told
        self._events: list[tuple[str | None, Any]] = []

    async def next(self) -> tuple[str | None, Any]:
        while not self._events:
            chunk = await asyncio.wait_for(anext(self._told), DEADLINE)
            events = [parsed(part + b"\n\n") for part in chunk.split(b"\n\n") if part]
            self._events += [(kind, value) for _, kind, value in events]
        return self._events.pop(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.01)
    monkeypatch.setattr(live, "PAUSE", 0.01)


def test_all_rows_come_first_and_then_each_that_changes() -> None:
    async def run() -> None:
        host = Host(row("a"), row("b"))
        async with aclosing(Feed(host).told()) as told:
            looker = Looker(told)
            assert await looker.next() == ("workers", [row("a"), row("b")])
            host.put(row("a", "stopped"))
            assert await looker.next() == ("worker", row("a", "stopped"))
            host.put(row("c"))
            assert await looker.next() == ("worker", row("c"))
            del host.rows["b"]
            host.tell("b")
            assert await looker.next() == ("gone", {"name": "b"})
            assert host.asked[1:3] == [{"names": ["a"]}, {"names": ["c"]}]

    asyncio.run(run())


def test_a_row_that_is_the_same_is_not_told_again() -> None:
    async def run() -> None:
        host = Host(row("a"), row("b"))
        async with aclosing(Feed(host).told()) as told:
            looker = Looker(told)
            await looker.next()
            host.tell("a")
            host.tell(None)
            host.put(row("b", "failed"))
            assert await looker.next() == ("worker", row("b", "failed"))

    asyncio.run(run())


def test_what_happens_at_once_is_asked_for_together() -> None:
    async def run() -> None:
        host = Host(*(row(f"w{number:03}") for number in range(300)))
        async with aclosing(Feed(host).told()) as told:
            looker = Looker(told)
            await looker.next()
            for name in list(host.rows):
                host.put(row(name, "stopped"))
            for name in host.rows:
                assert await looker.next() == ("worker", row(name, "stopped"))
            assert len(host.asked) < 10

    asyncio.run(run())


def test_what_waits_for_its_turn_or_a_time_is_looked_at_without_a_word_about_it() -> None:
    async def run() -> None:
        host = Host(row("a"), row("q", "queued"), row("z", "backoff", due_in=0.05))
        async with aclosing(Feed(host).told()) as told:
            looker = Looker(told)
            await looker.next()
            host.put(row("z", "starting"), tell=False)  # its time has come: nobody says so
            assert await looker.next() == ("worker", row("z", "starting"))
            host.put(row("q", "starting"), tell=False)
            host.tell("a")
            assert await looker.next() == ("worker", row("q", "starting"))

    asyncio.run(run())


def test_a_slow_client_gets_the_newest_row_alone() -> None:
    async def run() -> None:
        host = Host(row("a"))
        feed = Feed(host)
        async with aclosing(feed.told()) as quick, aclosing(feed.told()) as slow:
            fast, lazy = Looker(quick), Looker(slow)
            await fast.next()
            assert (await lazy.next())[0] == "workers"
            for number in range(50):
                host.put(row("a", attempt=number))
                await fast.next()
            assert await lazy.next() == ("worker", row("a", attempt=49))

    asyncio.run(run())


def test_a_daemon_that_goes_is_told_and_all_rows_when_it_is_back() -> None:
    async def run() -> None:
        host = Host(row("a"))
        async with aclosing(Feed(host).told()) as told:
            looker = Looker(told)
            await looker.next()
            host.away()
            kind, value = await looker.next()
            assert (kind, value["error"]["code"]) == ("away", UNAVAILABLE)
            host.rows = {"b": row("b")}
            host.gone = False
            while (event := await looker.next())[0] == "away":
                pass
            assert event == ("workers", [row("b")])

    asyncio.run(run())


def test_one_who_comes_later_is_told_all_rows_as_they_are_then_and_one_follower_serves_all() -> None:
    async def run() -> None:
        host = Host(row("a"))
        feed = Feed(host)
        async with aclosing(feed.told()) as first:
            looker = Looker(first)
            await looker.next()
            host.put(row("a", "failed"))
            await looker.next()
            async with aclosing(feed.told()) as second:
                assert await Looker(second).next() == ("workers", [row("a", "failed")])
                assert len(host.followers) == 1

    asyncio.run(run())


def test_nobody_looks_nothing_is_asked_for() -> None:
    async def run() -> None:
        host = Host(row("a"))
        feed = Feed(host)
        async with aclosing(feed.told()) as told:
            await Looker(told).next()
            assert host.followers
        while host.followers:
            await asyncio.sleep(0)
        asked = len(host.asked)
        async with aclosing(feed.told()) as told:
            assert await Looker(told).next() == ("workers", [row("a")])
        assert len(host.asked) == asked + 1

    asyncio.run(run())
