"""Operations that go on telling: logs and events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from rdagentd.api.context import Context, checked, is_pattern, matches
from rdagentd.model.run import Run
from rdagentd.model.worker import AT_REST, Worker
from rdagentd.protocol.errors import NOT_FOUND, OVER_CAPACITY, ProtocolError
from rdagentd.supervisor.logs import LogReader, Piece
from rdagentd.supervisor.spans import Spans

_PAGE = 500
"""Events read at a time: what a slow reader holds in memory."""

_MOST_GONE = 64
"""Names of workers that are gone which are looked up for one request."""

MOST_EVENTS_BACK = 10_000
"""Largest `tail` of events; more of them are asked for by number."""

MOST_RUNS_BACK = 1000
"""Runs that can be named by counting back; older ones have an id."""


# --- events -----------------------------------------------------------------------------------------------------------


async def events(context: Context, args: dict[str, Any]) -> AsyncIterator[Any]:
    """The story, from a sequence number or a time on, then live; of workers that are gone too, and of those that come."""
    supervisor = context.daemon.supervisor
    names = await _chosen(context, args["select"])
    kinds, after = args["kinds"], args["after"]
    subscription = supervisor.hub.subscribe() if args["follow"] else None
    seq = args["since"]
    try:
        async for item in _stored_events(context, names, args):
            seq = item["seq"]
            yield item
        while subscription is not None:
            item = dict(await subscription.items.get())
            told = item["seq"] > seq and (not kinds or item["kind"] in kinds) and (after is None or item["at"] >= after)
            if told and (names is None or _is_chosen(context, args["select"], names, item["worker"])):
                yield item
            if subscription.overrun:
                text = f"cannot follow events: this client is too slow; go on with since={item['seq']}"
                raise ProtocolError(OVER_CAPACITY, text, {"since": item["seq"]})
    finally:
        if subscription is not None:
            supervisor.hub.unsubscribe(subscription)


async def _chosen(context: Context, select: dict[str, Any]) -> set[str] | None:
    """Names of the workers that are chosen, None for all. One that is named and gone is chosen if it has a story."""
    names, labels = checked(select)
    if not names and not labels:
        return None
    supervisor = context.daemon.supervisor
    unknown = [name for name in names if name not in supervisor.engine.workers and not is_pattern(name)]
    gone = {name for name in unknown[:_MOST_GONE] if await asyncio.to_thread(supervisor.store.events, {name}, 0, 1)}
    rest = [name for name in names if name not in gone]
    if gone and not rest:
        return gone
    return gone | {worker.name for worker in context.select({"names": rest, "labels": labels})}


def _is_chosen(context: Context, select: dict[str, Any], names: set[str], name: str | None) -> bool:
    """Whether an event is of one of these, or of a worker that came since; then its name is added."""
    if name is None or name in names:
        return name is not None
    patterns, labels = checked(select)
    worker = context.daemon.supervisor.engine.workers.get(name)
    if worker is None or not labels.items() <= worker.spec.labels.items():
        return False
    if patterns and not any(matches(worker, pattern) for pattern in patterns):
        return False
    names.add(name)
    return True


async def _stored_events(context: Context, names: set[str] | None, args: dict[str, Any]) -> AsyncIterator[Any]:
    events = context.daemon.supervisor.store.events
    since, tail = args["since"], args["tail"]
    limit = _PAGE if tail is None else tail
    while True:
        page = await asyncio.to_thread(events, names, since, limit, tail, kinds=args["kinds"], after=args["after"])
        for item in page:
            yield item
        if tail is not None or len(page) < _PAGE:
            return
        since = page[-1]["seq"]


# --- logs -------------------------------------------------------------------------------------------------------------


async def logs(context: Context, args: dict[str, Any]) -> AsyncIterator[Any]:
    """Captured output: bytes as they were written, by offset, and with `runs` by run; follows until the worker is at rest."""
    worker = context.select({"names": [args["name"]]})[0]
    stream = args["stream"]
    reader = LogReader(context.daemon.logs[worker.spec.driver] / worker.name / stream)
    await context.daemon.supervisor.driver.catch_up(worker.name)
    start, end = await _range(context, worker, reader, args)
    follows = args["follow"] and end is None
    position, spans = start, None
    while True:
        over = _is_over(context, worker.name)  # before the look at the end: what is written until then is sent
        upto = (await asyncio.to_thread(reader.bounds))[1] if end is None else end
        if args["runs"]:  # after that look: whose bytes are there has begun
            spans = await _spans(context, worker.name, stream, spans)
        async for item in _pieces(reader, position, upto, spans):
            position = item["offset"] + len(item.get("data", b""))
            yield item
        if over or not follows:
            return
        await _more(
            context, worker.name, stream, min(position, upto)
        )  # one watch serves all who follow: no leaping ahead


async def _pieces(reader: LogReader, start: int, end: int, spans: Spans | None) -> AsyncIterator[dict[str, Any]]:
    pieces = reader.pieces(start, end)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        if piece.dropped:
            yield {"dropped": piece.dropped, "offset": piece.offset}
        if spans is None:
            yield _item(piece)
        else:
            for part, run in spans.cut(piece):
                yield {**_item(part), "run": run}


def _item(piece: Piece) -> dict[str, Any]:
    return {"offset": piece.offset, "time": piece.time, "data": piece.data}


async def _spans(context: Context, name: str, stream: str, known: Spans | None) -> Spans:
    """The runs as they are now; those of the store are read again only if there is another one."""
    supervisor = context.daemon.supervisor
    worker = supervisor.engine.workers.get(name)
    current = worker.run if worker is not None else None
    if known is not None and known.complete and (current is None or current.id == known.latest):
        return known
    return Spans(await asyncio.to_thread(supervisor.store.runs, name, MOST_RUNS_BACK), stream)


def _is_over(context: Context, name: str) -> bool:
    worker = context.daemon.supervisor.engine.workers.get(name)
    return worker is None or (worker.state in AT_REST and worker.due is None)


async def _more(context: Context, name: str, stream: str, position: int) -> None:
    """Waits until the log grows beyond position, or the worker changes."""
    supervisor = context.daemon.supervisor

    def changed(_: str, worker: Worker | None) -> None:
        supervisor.hub.grew(name, stream)

    supervisor.hub.watch(name, changed)
    growth = supervisor.hub.growth(name, stream)
    try:
        supervisor.driver.watch(name, stream, position)
        if not _is_over(context, name):
            await growth
    finally:
        supervisor.hub.unwatch(name, changed)
        supervisor.hub.no_growth(name, stream, growth)


async def _range(context: Context, worker: Worker, reader: LogReader, args: dict[str, Any]) -> tuple[int, int | None]:
    """First offset, and the end where there is one that is not to be waited for."""
    oldest, newest = await asyncio.to_thread(reader.bounds)
    start, end = oldest, None
    if args["run"] is not None:
        run = await asyncio.to_thread(_run, context, worker, args["run"])
        start = run.log_start.get(args["stream"], newest)
        end = run.log_end.get(args["stream"]) if run.exit is not None else None
    if args["since"] is not None:
        start = max(start, await asyncio.to_thread(reader.at_time, args["since"], time.time()))
    if args["until"] is not None:
        until = await asyncio.to_thread(reader.at_time, args["until"], time.time())
        end = until if end is None else min(end, until)
    if args["tail"] is not None:
        start = await asyncio.to_thread(reader.tail, args["tail"], start, newest if end is None else end)
    if args["offset"] is not None:
        start = args["offset"]
    return start, end


def _run(context: Context, worker: Worker, wanted: str | int) -> Run:
    store = context.daemon.supervisor.store
    if isinstance(wanted, int):
        runs = store.runs(worker.name, -wanted)
        found = runs[-wanted - 1] if len(runs) >= -wanted else None
    else:
        found = store.run(wanted)
    if found is None or found.worker != worker.name:
        raise ProtocolError(
            NOT_FOUND, f"cannot find run {wanted} of {worker.name}: rdagentctl show {worker.name} lists its runs"
        )
    return found
