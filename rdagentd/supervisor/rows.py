"""Workers as clients see them: one row each, packed once and kept until the worker changes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import msgpack
from attrs import asdict

from rdagentd.core import circuits
from rdagentd.core.budgets import accounts
from rdagentd.core.engine import Engine
from rdagentd.model.health import Health
from rdagentd.model.measures import UNTOLD
from rdagentd.model.run import Exit, Run
from rdagentd.model.worker import State, Worker


def exit_row(ended: Exit | None) -> dict[str, Any] | None:
    """How a run ended."""
    if ended is None:
        return None
    return {
        "kind": ended.kind.value, "code": ended.code, "signal": ended.signal, "core": ended.core, "stage": ended.stage,
        "errno": ended.errno, "reason": ended.reason, "outcome": ended.outcome and ended.outcome.value,
    }  # fmt: skip


def run_row(run: Run) -> dict[str, Any]:
    """A run with all that is known of it."""
    usage = run.usage
    return {
        "id": run.id, "attempt": run.attempt, "revision": run.revision, "pid": run.pid, "started_at": run.started_at,
        "ended_at": run.ended_at, "since_boot": since_boot(run),
        "exit": exit_row(run.exit), "log_start": dict(run.log_start), "log_end": dict(run.log_end),
        "container": run.container,
        "checkpoint": run.checkpoint and run.checkpoint.path,
        "holds": asdict(run.holds),
        "usage": usage and asdict(usage),
        "measures": asdict(run.measures),
        "misread": run.reading.errors,
    }  # fmt: skip


_TICKS = os.sysconf("SC_CLK_TCK")


def since_boot(run: Run) -> float | None:
    """Seconds after boot at which a run began: how long it lasts is true by CLOCK_BOOTTIME, whatever the clock was set to."""
    return run.start_ticks / _TICKS if run.start_ticks else None


def budget_rows(engine: Engine, worker: Worker, now: float) -> list[dict[str, Any]]:
    """Its budgets and those that it shares, with what is used of them. of: run, worker, group.NAME, owner.UID or day."""
    shared = [engine.purse.account(key, now) for key in engine.purse.keys(worker)]
    return [
        {"of": account.key, "measure": name, "used": account.used(name), "budget": limit}
        for account in (*accounts(worker, now), *shared)
        for name, limit in account.limits()
    ]


def worker_row(engine: Engine, worker: Worker, now: float) -> dict[str, Any]:
    """A worker as `status` shows it; now: monotonic seconds."""
    spec, run = worker.spec, worker.run
    reason = engine.waits_for(worker) if worker.state is State.QUEUED else worker.reason
    return {
        "name": worker.name,
        "state": worker.state.value,
        "want": worker.want.value,
        "health": None if worker.health is Health.NONE else worker.health.value,
        "ready": worker.ready,
        "reason": reason and {"code": reason.code, "text": reason.text},
        "attempt": worker.attempt,
        "restarts": worker.restarts,
        "owner": worker.owner,
        "revision": worker.revision,
        "group": spec.queue.group,
        "priority": spec.queue.priority,
        "labels": dict(spec.labels),
        "command": list(spec.command),
        "run": run
        and {
            "id": run.id,
            "pid": run.pid,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "since_boot": since_boot(run),
            "checkpoint": run.checkpoint and run.checkpoint.path,
        },
        "exit": exit_row(run.exit) if run else None,
        "due_in": None if worker.due is None else max(0.0, worker.due - now),
        **_measured(worker),
        "budgets": budget_rows(engine, worker, now),
    }


def _measured(worker: Worker) -> dict[str, Any]:
    """What the latest run has told of itself; money, tokens and errors of all its runs. None: never told."""
    now, total = worker.run.measures if worker.run else UNTOLD, worker.total
    return {
        "progress": now.progress,
        "iteration": now.iteration,
        "step": now.step,
        "status": now.status,
        "tokens": total.tokens or now.tokens,
        "cost_usd": total.cost_usd or now.cost_usd,
        "errors": total.errors or now.errors,
        "measures": dict(now.custom),
    }


def provider_row(engine: Engine, name: str, now: float) -> dict[str, Any]:
    """A provider and its breaker; now: monotonic seconds."""
    providers = engine.providers
    circuit, setting = providers.of(name), providers.setting(name)
    users = [engine.workers[user] for user in providers.users(name)]
    return {
        "name": name,
        "phase": circuit.phase.value,
        "why": circuit.why,
        "errors": int(sum(many for _, many in circuits.recent(circuit, setting, now))),
        "breaker": asdict(setting),
        "probe": circuit.probe,
        "due_in": None if circuit.due is None else max(0.0, circuit.due - now),
        "workers": len(users),
        "waiting": sum(worker.state is State.QUEUED for worker in users),
    }


class Rows:
    """Packs rows. A worker is a value, so a row is good for as long as the worker is the same object."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: dict[str, tuple[Worker, bytes]] = {}

    def packed(self, workers: Iterable[Worker]) -> list[bytes]:
        """The rows of these workers, each as msgpack."""
        cache, now = self._cache, time.monotonic()
        rows = []
        for worker in workers:
            kept = cache.get(worker.name)
            if kept is not None and kept[0] is worker:
                rows.append(kept[1])
                continue
            told = worker_row(self._engine, worker, now)
            row: bytes = msgpack.packb(told)
            changes = (
                worker.due is not None or worker.state is State.QUEUED or told["budgets"]
            )  # with time, or with others
            if not changes:
                cache[worker.name] = (worker, row)
            rows.append(row)
        return rows

    def drop(self, name: str) -> None:
        """The worker is gone."""
        self._cache.pop(name, None)


def pack_reply(request: Any, rows: list[bytes], under: str | None = None) -> bytes:
    """The frame of a reply whose result is a list of packed rows, or a map that has the list under that key."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(3)
    for value in ("id", request, "ok", True, "result"):
        packer.pack(value)
    if under is not None:
        packer.pack_map_header(1)
        packer.pack(under)
    packer.pack_array_header(len(rows))
    body = packer.bytes() + b"".join(rows)
    return len(body).to_bytes(4, "big") + body
