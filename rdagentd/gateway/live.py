"""GET /api/v1/live: the rows of all workers, then each row whenever it changes, as server-sent events.

One follower serves all who look: it hears the story (`events`) and asks for the rows (`status`) of those whom it is about,
many at once where much happens. Nobody looks: it asks for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from rdagentd.gateway.errors import body_of
from rdagentd.gateway.link import Link
from rdagentd.gateway.sse import event
from rdagentd.gateway.streams import PAUSE
from rdagentd.protocol.errors import NOT_FOUND, ProtocolError

INTERVAL = 0.2
"""Least seconds from one asking for rows to the next: what happens meanwhile is told together."""

_MANY = 1000
"""Workers from which on all rows are asked for."""

Row = dict[str, Any]


class Looker:
    """A client: what it has not been told yet, of each worker the newest alone. So it is bounded, however slow it reads."""

    def __init__(self) -> None:
        self._events: dict[str | None, bytes] = {}
        self._awake = asyncio.Event()

    def put(self, name: str | None, told: bytes) -> None:
        """About a worker; None: about all of them, so what was told before is of no interest."""
        if name is None:
            self._events.clear()
        self._events[name] = told
        self._awake.set()

    async def take(self) -> bytes:
        """All that there is, once there is something."""
        await self._awake.wait()
        self._awake.clear()
        events, self._events = self._events, {}
        return b"".join(events.values())


class Feed:
    """Keeps the rows up to date as long as somebody looks, and tells them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rows: dict[str, Row] = {}
        self._whole: bytes | None = None
        self._lookers: set[Looker] = set()
        self._following: asyncio.Task[None] | None = None
        self._changed: set[str] = set()
        self._heard = asyncio.Event()

    async def told(self) -> AsyncGenerator[bytes, None]:
        """What one more who looks is told."""
        with self._looking() as looker:
            while True:
                yield await looker.take()

    @contextlib.contextmanager
    def _looking(self) -> Iterator[Looker]:
        looker = Looker()
        self._lookers.add(looker)
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        elif self._rows:
            looker.put(None, self._snapshot())
        try:
            yield looker
        finally:
            self._lookers.discard(looker)
            if not self._lookers and self._following is not None:
                self._following.cancel()
                self._following = None
                self._rows, self._whole = {}, None

    def _snapshot(self) -> bytes:
        if self._whole is None:
            self._whole = event(list(self._rows.values()), "workers")
        return self._whole

    def _tell(self, name: str | None, told: bytes) -> None:
        for looker in self._lookers:
            looker.put(name, told)

    # --- following ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Until nobody looks. A daemon that is away is looked for again."""
        while True:
            try:
                await self._hear()
            except ProtocolError as error:
                self._tell("", event(body_of(error), "away"))
            await asyncio.sleep(PAUSE)

    async def _hear(self) -> None:
        """Hears the story from now on, beginning with all rows: what happens in between is heard, and asked for again."""
        async with self._stream(tail=1) as last:
            since = max([item["seq"] async for item in last], default=0)
        async with self._stream(since=since, follow=True) as story:
            telling = asyncio.create_task(self._keep_up())
            hearing = asyncio.create_task(self._note(story))
            try:
                await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
                for task in (telling, hearing):
                    if task.done():
                        task.result()
            finally:
                telling.cancel()
                hearing.cancel()
                await asyncio.gather(telling, hearing, return_exceptions=True)

    def _stream(self, **args: Any) -> aclosing[AsyncGenerator[Any, None]]:
        return aclosing(cast(AsyncGenerator[Any, None], self._link.stream("events", args)))

    async def _note(self, story: AsyncIterator[Any]) -> None:
        async for item in story:
            if item["worker"] is not None:
                self._changed.add(item["worker"])
            self._heard.set()

    async def _keep_up(self) -> None:
        await self._renew()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_until_due(self._rows)):
                    await self._heard.wait()
            self._heard.clear()
            changed, self._changed = self._changed, set()
            await self._refresh(changed | {name for name, row in self._rows.items() if _drifts(row)})
            await asyncio.sleep(INTERVAL)

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """All rows, whatever was told before."""
        self._rows = {row["name"]: row for row in await self._link.call("status")}
        self._whole = None
        self._tell(None, self._snapshot())

    async def _refresh(self, names: Collection[str]) -> None:
        """Tells what became of these workers."""
        if not names:
            return
        found, asked = await self._ask(names)
        for name in asked - found.keys():
            if self._rows.pop(name, None) is not None:
                self._whole = None
                self._tell(name, event({"name": name}, "gone"))
        for name, row in found.items():
            if _shown(row) != _shown(self._rows.get(name, {})):
                self._whole = None
                self._tell(name, event(row, "worker"))
            self._rows[name] = row

    async def _ask(self, names: Collection[str]) -> tuple[dict[str, Row], Collection[str]]:
        """Rows by name, and of whom they tell all: where one is gone, or of many, of everybody."""
        if len(names) <= _MANY:
            with contextlib.suppress(_GoneError):
                return await self._status({"names": sorted(names)}), set(names)
        return await self._status({}), {*names, *self._rows}

    async def _status(self, select: Mapping[str, Any]) -> dict[str, Row]:
        try:
            rows = await self._link.call("status", {"select": dict(select)})
        except ProtocolError as error:
            if error.code == NOT_FOUND:
                raise _GoneError from None
            raise
        return {row["name"]: row for row in rows}


class _GoneError(Exception):
    """Some of these workers are not there any more."""


def _drifts(row: Row) -> bool:
    """Whether it changes without a word in the story: what waits for its turn, or for a time."""
    return row["due_in"] is not None or row["state"] in ("queued", "starting")


def _until_due(rows: Mapping[str, Row]) -> float | None:
    """Seconds until the first of those that wait for a time goes on, from when they were asked for; None: none does."""
    return min((row["due_in"] for row in rows.values() if row["due_in"] is not None), default=None)


def _shown(row: Row) -> Row:
    """What is told again if it differs. How long until it is due is told with the rest: it passes by itself."""
    return {**row, "due_in": None}
