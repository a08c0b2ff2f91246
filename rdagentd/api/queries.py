"""Operations that only tell."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Sequence
from typing import Any

from attrs import asdict

from rdagentd import __version__
from rdagentd.api.context import Context
from rdagentd.api.peer import Access
from rdagentd.config.spec import encode_spec
from rdagentd.model.health import Check, Health
from rdagentd.model.run import log_bytes
from rdagentd.model.worker import AT_REST, LIVE, State, Worker
from rdagentd.protocol.errors import CONFLICT, NOT_FOUND, OVER_CAPACITY, ProtocolError
from rdagentd.store.schema import VERSION as SCHEMA
from rdagentd.supervisor.ailing import check_rows
from rdagentd.supervisor.doctor import examine
from rdagentd.supervisor.doctor_host import asked, examine_host
from rdagentd.supervisor.rows import pack_reply, provider_row, run_row, worker_row
from rdagentd.supervisor.used import PATIENCE
from rdagentd.supervisor.why import why as explain

PROTOCOL = 1

MOST_SHOWN = 1000
"""Workers that `show` and `why` answer about at once: each brings its history."""


def ping(context: Context, args: dict[str, Any]) -> Any:
    """That the daemon answers, whether it can keep what it promises, and whether it is stopping."""
    supervisor = context.daemon.supervisor
    return {
        "pid": os.getpid(),
        "version": __version__,
        "uptime": time.monotonic() - supervisor.since,
        "problem": supervisor.store_error,
        "draining": supervisor.engine.draining,
    }


def version(context: Context, args: dict[str, Any]) -> Any:
    """Versions of everything."""
    facts = context.daemon.supervisor.driver.facts()
    return {"version": __version__, "protocol": PROTOCOL, "schema": SCHEMA, "executor": facts and dict(facts)}


async def whoami(context: Context, args: dict[str, Any]) -> Any:
    """Who the client is by the kernel's word, and what that person may do: on workers of other owners only an admin may more
    than look."""
    peer = context.peer
    return {
        "uid": peer.uid,
        "gid": peer.gid,
        "name": await asyncio.to_thread(_name_of, peer.uid),  # the host's database may be elsewhere
        "role": _ROLES[peer.role],
        "may": [access.name.lower() for access in Access if Access.NONE < access <= peer.role],
    }


_ROLES = {Access.VIEW: "viewer", Access.OPERATE: "operator", Access.ADMIN: "admin"}


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


async def doctor(context: Context, args: dict[str, Any]) -> Any:
    """What can be kept of what workers are promised on this host, finding by finding."""
    supervisor = context.daemon.supervisor
    workers, state = asked(supervisor.engine.workers.values()), str(context.daemon.state)
    findings = examine(supervisor.engine, supervisor.driver.unmet, supervisor.store_error)
    return [asdict(finding) for finding in (*findings, *await asyncio.to_thread(examine_host, workers, state))]


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
                "checks": check_rows(supervisor.answers(worker.name)),
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
        async with asyncio.timeout(PATIENCE):
            told = await asked
    except TimeoutError:
        told = {}
    used = {}
    for run, counted in told.items():
        worker = runs[run]
        assert worker.run is not None
        log = log_bytes(worker.run, counted["log"])
        used[worker.name] = {**counted, "log": log, "disk": dict(context.daemon.supervisor.disk(worker.name))}
    return used


def providers(context: Context, args: dict[str, Any]) -> Any:
    """The providers that workers name or the configuration does, each with its breaker."""
    engine, now = context.daemon.supervisor.engine, time.monotonic()
    return [provider_row(engine, name, now) for name in engine.providers.names()]


async def metrics(context: Context, args: dict[str, Any]) -> bytes:
    """What Prometheus wants to know, family by family."""
    return pack_reply(context.request, await context.daemon.scrape(), "families")


async def why(context: Context, args: dict[str, Any]) -> Any:
    """Why each chosen worker is where it is, in sentences."""
    supervisor = context.daemon.supervisor
    told = []
    for worker in _few(context, args, "explain"):
        runs = await asyncio.to_thread(supervisor.store.runs, worker.name, 10)
        unmet = supervisor.driver.unmet(worker.spec)
        waits = supervisor.driver.waits(worker.run.id) if worker.run is not None and worker.state in LIVE else None
        answers = supervisor.answers(worker.name)
        told.append(explain(supervisor.engine, worker, runs, time.monotonic(), unmet, waits=waits, answers=answers))
    return told


def _few(context: Context, args: dict[str, Any], verb: str) -> list[Worker]:
    """The chosen workers, if the answer about them can be of a sensible size."""
    chosen = context.select(args["select"])
    if len(chosen) > MOST_SHOWN:
        text = f"cannot {verb} {len(chosen)} workers at once: {MOST_SHOWN} are the most; name fewer, or use status"
        raise ProtocolError(OVER_CAPACITY, text)
    return chosen


async def wait(context: Context, args: dict[str, Any]) -> Any:
    """Answers with the rows once every chosen worker is at rest, or else running, healthy or ready; one that is removed
    meanwhile counts as there, and one that comes to rest. What it answers is on disk."""
    hub, workers = context.daemon.supervisor.hub, context.daemon.supervisor.engine.workers
    await context.daemon.supervisor.all_kept()
    chosen = context.select(args["select"])
    if not chosen:
        raise ProtocolError(NOT_FOUND, "cannot wait: there are no workers")
    there = _ARRIVED[args["until"]]
    unasked = [worker.name for worker in chosen if args["until"] == "healthy" and not _is_asked(worker)]
    if unasked:
        text = f"cannot wait for {unasked[0]} to be healthy: nothing in its spec says how to ask; give it a [health]"
        raise ProtocolError(CONFLICT, text)
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


def _healthy(worker: Worker) -> bool:
    return worker.health is Health.HEALTHY or _at_rest(worker)


def _ready(worker: Worker) -> bool:
    return worker.ready or _at_rest(worker)


def _is_asked(worker: Worker) -> bool:
    return worker.spec.health is not None and worker.spec.health.probe(Check.HEALTH) is not None


_ARRIVED = {"rest": _at_rest, "running": _running, "healthy": _healthy, "ready": _ready}
