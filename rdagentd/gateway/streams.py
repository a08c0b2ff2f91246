"""Streams of the daemon as server-sent events: what there is, then what comes, over a restart of the daemon too."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar, cast

from rdagentd.gateway.errors import body_of
from rdagentd.gateway.link import Link
from rdagentd.gateway.sse import event
from rdagentd.protocol.errors import INVALID, OVER_CAPACITY, UNAVAILABLE, ProtocolError

PAUSE = 1.0
"""Seconds after which a daemon that is away is looked for again."""

_PASSING = (UNAVAILABLE, OVER_CAPACITY)
"""What is over at some time."""

T = TypeVar("T")
_Items = AsyncGenerator[Any, None]


class Way:
    """How a stream is told: items as they are. One whose items have no mark cannot be gone on with."""

    has_marks = False

    def begin(self) -> None:
        """The stream is asked for, perhaps anew: the next item comes from the last mark on."""

    def told(self, item: Any) -> tuple[int | None, Any]:
        """The mark after this item, and the item as JSON has it; None if it is told with the next one."""
        return None, item

    def rest(self) -> Any:
        """What is still to be told when nothing more comes, or None."""

    def after(self, args: Mapping[str, Any], mark: int) -> dict[str, Any]:
        """The arguments with which it goes on after a mark."""
        return dict(args)


class Story(Way):
    """Events; their marks are their numbers."""

    has_marks = True

    def told(self, item: Any) -> tuple[int | None, Any]:
        """See Way."""
        return item["seq"], item

    def after(self, args: Mapping[str, Any], mark: int) -> dict[str, Any]:
        """See Way."""
        return {**_without(args, "tail"), "since": mark}


class Log(Way):
    """Output; its marks are offsets. A character that pieces cut in two is told whole, with the second."""

    has_marks = True

    def __init__(self) -> None:
        self._at = 0
        self.begin()

    def begin(self) -> None:
        """See Way."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cut = b""

    def told(self, item: Any) -> tuple[int | None, Any]:
        """See Way."""
        if "data" not in item:  # bytes are gone here, and with them the end of what was begun
            self.begin()
            self._at = item["offset"]
            return self._at, item
        start = item["offset"] - len(self._cut)
        text = self._decoder.decode(item["data"])
        self._cut = self._decoder.getstate()[0]
        self._at = item["offset"] + len(item["data"]) - len(self._cut)
        return self._at, {**item, "offset": start, "data": text} if text else None

    def rest(self) -> Any:
        """See Way."""
        return {"offset": self._at, "time": None, "data": self._cut} if self._cut else None

    def after(self, args: Mapping[str, Any], mark: int) -> dict[str, Any]:
        """See Way."""
        return {**_without(args, "tail", "since"), "offset": mark}


def _without(args: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name not in names}


WAYS: Mapping[str, type[Way]] = {"events": Story, "logs": Log}
"""By operation; `Way` itself for one that is not here."""


def resumed(way: Way, args: Mapping[str, Any], last: str | None) -> Mapping[str, Any]:
    """The arguments for a client that has had all up to `last` (its Last-Event-ID). Raises ProtocolError(invalid)."""
    if not last:
        return args
    if not (last.isascii() and last.isdigit() and len(last) < 19):
        raise ProtocolError(INVALID, f"cannot go on after Last-Event-ID {last[:64]!r}: it must be the id of an event")
    return way.after(args, int(last))


async def followed(link: Link, op: str, args: Mapping[str, Any], way: Way) -> AsyncGenerator[bytes, None]:
    """The stream as server-sent events; b"" once it is known that it can be told at all.

    Who follows is first told what there is: so what is wrong is known before the first word. Raises ProtocolError.
    """
    known = False
    phases = (False, True) if args.get("follow") is True else (None,)
    for follow in phases:
        over = False
        while not over:
            way.begin()
            try:
                said = args if follow is None else {**args, "follow": follow}
                async with aclosing(cast(_Items, link.stream(op, dict(said)))) as items:
                    async for item in items:
                        mark, value = way.told(item)
                        known = True
                        args = args if mark is None else way.after(args, mark)
                        if value is not None:
                            yield event(value, None, mark)
                over = True
            except ProtocolError as error:
                if error.code not in _PASSING or not known or not way.has_marks:
                    raise
                yield event(body_of(error), "away")
                await asyncio.sleep(PAUSE)
        known = True
        yield b""
    if (value := way.rest()) is not None:
        yield event(value)
    yield event({}, "end")


async def with_beats(items: AsyncIterator[T], every: float) -> AsyncGenerator[T | None, None]:
    """The items, and None after so many seconds without one."""
    coming = asyncio.ensure_future(_next(items))
    try:
        while True:
            await asyncio.wait({coming}, timeout=every)
            if not coming.done():
                yield None
                continue
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            yield item
            coming = asyncio.ensure_future(_next(items))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
