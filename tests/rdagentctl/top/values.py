"""Rows and samples, for tables and for hypothesis."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import strategies as st

from rdagentctl.commands.status import ORDER
from rdagentctl.top.board import Board
from rdagentctl.top.scene import Scene
from tests.rdagentctl.fake import ended, row

PING = {"pid": 1, "version": "0.1.0", "uptime": 3700.0, "problem": None}
HOST = {
    "cpu": 0.5,
    "cpus": 2,
    "memory": (3 << 30, 8 << 30),
    "load": [0.5, 0.25, 0.125],
    "programs": {"daemon": {"cpu": 0.004, "memory": 60 << 20}, "executor": {"cpu": None, "memory": None}},
}


def sample(cpu: float = 0.0, memory: int | None = 1 << 20, **more: Any) -> dict[str, Any]:
    """What `usage` tells of a run."""
    counted = {"user": cpu, "system": 0.0, "memory": memory, "tasks": 1, "read": 0, "written": 0, "log": 0}
    return {**counted, "memory_peak": memory, "tasks_peak": 1, "disk": {}, **more}


def scene(rows: list[dict[str, Any]], sort: str = "state") -> Scene:
    """These workers, and a daemon and a host that were looked at."""
    made = Scene(Board(sort), 2.0)
    made.board.put(rows)
    made.told, made.host = PING, HOST
    return made


def used(made: Scene, **seconds: tuple[float, float]) -> None:
    """Two samples, a second apart, of what these workers used of the CPU."""
    for at in (0, 1):
        made.board.use(100.0 + at, [{"name": name, "usage": sample(cpu[at])} for name, cpu in seconds.items()])


def some() -> list[dict[str, Any]]:
    """One of each kind."""
    now = time.time()
    over = {"id": "x", "pid": 7, "started_at": now - 8000, "ended_at": now - 7500}  # told in minutes
    slot = {"code": "slot", "text": "waits for a slot of group batch (2 of 2 taken, next in line)"}
    return [
        row("again", "backoff", run=over, reason={"code": "r", "text": "exit code 1; restarts after 10 s"}, due_in=7.2),
        row("broken", "failed", run=over, exit=ended(3), restarts=5),
        row("done", "completed", run=over, exit=ended(0)),
        row("frozen", "paused", reason={"code": "paused", "text": "paused by request"}),
        row("new", "queued", run=None, reason=slot, group="batch", labels={"team": "research"}),
        row("web", restarts=3),
    ]


texts = st.text(max_size=40) | st.sampled_from(
    ["", "日本語のエージェント", "e\u0301" * 20, "\x1b[31mred", "a\nb", "👩\u200d🚀", "x" * 300]
)
rows = st.lists(
    st.builds(
        lambda name, state, text, group, label, due, run: row(
            name, state, group=group, labels={"l": label}, due_in=due, command=[text],
            reason={"code": text[:8], "text": text} if state != "running" else None,
            run={"id": "r", "pid": 1, "started_at": 1.7e9, "ended_at": 1.7e9 + 5} if run else None,
        ),
        texts, st.sampled_from(ORDER), texts, texts, texts, st.none() | st.floats(0, 1e6), st.booleans(),
    ),
    max_size=12, unique_by=lambda row: row["name"],
)  # fmt: skip
