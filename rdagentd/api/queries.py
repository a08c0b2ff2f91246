"""Operations that only tell."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

from attrs import asdict

from rdagentd import __version__
from rdagentd.api.context import Context
from rdagentd.config.spec import encode_spec
from rdagentd.model.worker import AT_REST, LIVE, State, Worker
from rdagentd.protocol.errors import NOT_FOUND, OVER_CAPACITY, ProtocolError
from rdagentd.store.schema import VERSION as SCHEMA
from rdagentd.supervisor.doctor import examine
from rdagentd.supervisor.rows import pack_reply, run_row, worker_row
from rdagentd.supervisor.why import why as explain

PROTOCOL = 1

_PATIENCE = 5.0
"""Seconds to wait for what runs use; what is not known by then is left out."""

MOST_SHOWN = 1000
"""Workers that `show` and `why` answer about at once: each brings its history."""


def ping(context: Context, args: dict[str, Any]) -> Any:
    """That the daemon answers, and whether it can keep what it promises."""
    supervisor = context.daemon.supervisor
    return {
        "pid": os.getpid(),
        "version": __version__,
        "uptime": time.monotonic() - supervisor.since,
        "problem": supervisor.store_error,
    }


def version(context: Context, args: dict[str, Any]) -> Any:
    """Versions of everything."""
    facts = context.daemon.supervisor.driver.facts()
    return {"version": __version__, "protocol": PROTOCOL, "schema": SCHEMA, "executor": facts and dict(facts)}


def doctor(context: Context, args: dict[str, Any]) -> Any:
    """What can be kept of what workers are promised on this host, finding by finding."""
    supervisor = context.daemon.supervisor
    return [asdict(finding) for finding in examine(supervisor.engine, supervisor.driver.unmet, supervisor.store_error)]


def status(context: Context, args: dict[str, Any]) -> bytes:
    """Rows of the chosen workers."""
    return pack_reply(context.request, context.daemon.rows.packed(context.select(args["select"])))


async def show(context: Context, args: dict[str, Any]) -> Any:
    """Everything that is known of the chosen workers; the environment's values only to whom they belong."""
    supervisor = context.daemon.supervisor
    store = supervisor.store
    shown = []
    chosen = _few(context, args, "show")
    used = await _used(context, chosen)
    for worker in chosen:
        runs = await asyncio.to_thread(store.runs, worker.name)
        revisions = await asyncio.to_thread(store.revisions, worker.name)
        shown.append(
            {
                "spec": encode_spec(worker.spec, hide=not context.peer.owns(worker.owner)),
                "row": worker_row(supervisor.engine, worker, time.monotonic()),
                "runs": [run_row(run) for run in runs],
                "usage": used.get(worker.name),
                "revisions": [{"revision": revision, "at": at, "by": by} for revision, at, by in revisions],
            }
        )
    return shown


async def usage(context: Context, args: dict[str, Any]) -> Any:
    """What each of the chosen workers that run uses now."""
    used = await _used(context, context.select(args["select"]))
    return [{"name": name, "usage": usage} for name, usage in used.items()]


async def _used(context: Context, chosen: Sequence[Worker]) -> dict[str, dict[str, Any]]:
    """By name; of those that run, if what is behind the driver answers. log: bytes of this run; disk: bytes by directory."""
    runs = {worker.run.id: worker for worker in chosen if worker.run is not None and worker.state in LIVE}
    asked = context.daemon.supervisor.driver.usage(list(runs))
    try:
        told = await asyncio.wait_for(asked, _PATIENCE)
    except TimeoutError:
        told = {}
    used = {}
    for run, counted in told.items():
        starts = getattr(runs[run].run, "log_start", {})
        log = sum(end - starts.get(stream, end) for stream, end in counted["log"].items())
        name = runs[run].name
        used[name] = {**counted, "log": log, "disk": dict(context.daemon.supervisor.disk(name))}
    return used


async def why(context: Context, args: dict[str, Any]) -> Any:
    """Why each chosen worker is where it is, in sentences."""
    supervisor = context.daemon.supervisor
    told = []
    for worker in _few(context, args, "explain"):
        runs = await asyncio.to_thread(supervisor.store.runs, worker.name, 10)
        unmet = supervisor.driver.unmet(worker.spec)
        waits = supervisor.driver.waits(worker.run.id) if worker.run is not None and worker.state in LIVE else None
        told.append(explain(supervisor.engine, worker, runs, time.monotonic(), unmet, waits=waits))
    return told


def _few(context: Context, args: dict[str, Any], verb: str) -> list[Worker]:
    """The chosen workers, if the answer about them can be of a sensible size."""
    chosen = context.select(args["select"])
    if len(chosen) > MOST_SHOWN:
        text = f"cannot {verb} {len(chosen)} workers at once: {MOST_SHOWN} are the most; name fewer, or use status"
        raise ProtocolError(OVER_CAPACITY, text)
    return chosen


async def wait(context: Context, args: dict[str, Any]) -> Any:
    """Answers with the rows once every chosen worker is at rest (or running); one that is removed meanwhile counts as there."""
    hub, workers = context.daemon.supervisor.hub, context.daemon.supervisor.engine.workers
    chosen = context.select(args["select"])
    if not chosen:
        raise ProtocolError(NOT_FOUND, "cannot wait: there are no workers")
    there = _ARRIVED[args["until"]]
    pending = {worker.name for worker in chosen if not there(worker)}
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def changed(name: str, worker: Worker | None) -> None:
        if worker is None or there(worker):
            pending.discard(name)
        else:
            pending.add(name)
        if not pending and not done.done():
            done.set_result(None)

    names = [worker.name for worker in chosen]
    for name in names:
        hub.watch(name, changed)
    try:
        if pending:
            await done
    finally:
        for name in names:
            hub.unwatch(name, changed)
    return pack_reply(context.request, context.daemon.rows.packed(workers[name] for name in names if name in workers))


def _at_rest(worker: Worker) -> bool:
    return worker.state in AT_REST and worker.due is None


def _running(worker: Worker) -> bool:
    return worker.state is State.RUNNING or _at_rest(worker)


_ARRIVED = {"rest": _at_rest, "running": _running}
