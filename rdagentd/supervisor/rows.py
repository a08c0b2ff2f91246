"""Workers as clients see them: one row each, packed once and kept until the worker changes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import msgpack
from attrs import asdict

from rdagentd.core.engine import Engine
from rdagentd.model.run import Exit, Run
from rdagentd.model.worker import State, Worker


def exit_row(ended: Exit | None) -> dict[str, Any] | None:
    """How a run ended."""
    if ended is None:
        return None
    return {
        "kind": ended.kind.value, "code": ended.code, "signal": ended.signal, "core": ended.core, "stage": ended.stage,
        "errno": ended.errno, "reason": ended.reason,
    }  # fmt: skip


def run_row(run: Run) -> dict[str, Any]:
    """A run with all that is known of it."""
    usage = run.usage
    return {
        "id": run.id, "attempt": run.attempt, "revision": run.revision, "pid": run.pid, "started_at": run.started_at,
        "ended_at": run.ended_at, "since_boot": since_boot(run),
        "exit": exit_row(run.exit), "log_start": dict(run.log_start), "log_end": dict(run.log_end),
        "container": run.container,
        "holds": asdict(run.holds),
        "usage": usage and asdict(usage),
    }  # fmt: skip


_TICKS = os.sysconf("SC_CLK_TCK")


def since_boot(run: Run) -> float | None:
    """Seconds after boot at which a run began: how long it lasts is true by CLOCK_BOOTTIME, whatever the clock was set to."""
    return run.start_ticks / _TICKS if run.start_ticks else None


def worker_row(engine: Engine, worker: Worker, now: float) -> dict[str, Any]:
    """A worker as `status` shows it; now: monotonic seconds."""
    spec, run = worker.spec, worker.run
    reason = engine.waits_for(worker) if worker.state is State.QUEUED else worker.reason
    return {
        "name": worker.name,
        "state": worker.state.value,
        "want": worker.want.value,
        "health": None,
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
        },
        "exit": exit_row(run.exit) if run else None,
        "due_in": None if worker.due is None else max(0.0, worker.due - now),
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
            row: bytes = msgpack.packb(worker_row(self._engine, worker, now))
            if worker.due is None and worker.state is not State.QUEUED:  # those rows change with time
                cache[worker.name] = (worker, row)
            rows.append(row)
        return rows

    def drop(self, name: str) -> None:
        """The worker is gone."""
        self._cache.pop(name, None)


def pack_reply(request: Any, rows: list[bytes]) -> bytes:
    """The frame of a reply whose result is a list of packed rows."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(3)
    for value in ("id", request, "ok", True, "result"):
        packer.pack(value)
    packer.pack_array_header(len(rows))
    body = packer.bytes() + b"".join(rows)
    return len(body).to_bytes(4, "big") + body
