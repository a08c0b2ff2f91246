"""A link to a daemon that is not there: as many workers as a test likes, whose rows and usage change as it says."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from rdagentd.api.table import describe
from rdagentd.protocol.errors import NOT_FOUND, UNAVAILABLE, ProtocolError

STATES = ("running", "running", "running", "queued", "completed", "failed", "backoff", "stopped")
BEGAN = 1_790_000_000.0


def row(name: str, state: str = "running", **more: Any) -> dict[str, Any]:
    """A worker as `status` tells it."""
    live = state in ("running", "paused", "starting", "stopping")
    ended = None if live else BEGAN + 60
    run = {"id": f"run-{name}", "pid": 4242, "started_at": BEGAN, "ended_at": ended, "since_boot": None}
    return {
        "name": name, "state": state, "want": "up", "health": None, "reason": None, "attempt": 1, "restarts": 0, "owner": 1000,
        "revision": 1, "group": "default", "priority": 0, "labels": {}, "command": ["python3", "agent.py", name],
        "run": None if state == "queued" else run, "exit": None, "due_in": None, **more,
    }  # fmt: skip


def many(count: int) -> list[dict[str, Any]]:
    """Workers of all kinds."""
    waits = {"code": "slot", "text": "waits for a slot of group gpu (2 of 2 taken)"}
    return [
        row(
            f"agent-{number:04}",
            STATES[number % len(STATES)],
            group=("default", "gpu", "web")[number % 3],
            labels={"team": ("quant", "docs")[number % 2]},
            reason=waits if STATES[number % len(STATES)] == "queued" else None,
        )
        for number in range(count)
    ]


class Crowd:
    """role: ours, by the daemon's word (uid 1000). calls: changes that were asked for, (op, name).

    asked: how often each operation was. gone: whether the daemon is away. held: operations that are not answered before that.
    """

    def __init__(self, rows: list[dict[str, Any]], role: str = "admin") -> None:
        self.rows = {one["name"]: one for one in rows}
        self.role = role
        self.gone = False
        self.held: dict[str, threading.Event] = {}
        self.calls: list[tuple[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.log: list[dict[str, Any]] = []
        self.story: list[dict[str, Any]] = []
        self.sentences = ["It is as it is. To start it anew: rdagentctl start it"]
        self.spec: dict[str, Any] = {"limits": {}, "log": {"separate": False}}
        self._time = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followers: set[asyncio.Queue[str | None]] = set()
        self._lock = threading.Lock()

    # --- what a test does, from its own thread ------------------------------------------------------------------------

    def put(self, changed: dict[str, Any]) -> None:
        """A worker is new, or another than before."""
        with self._lock:
            self.rows[changed["name"]] = changed
        self._tell(changed["name"])

    def drop(self, name: str) -> None:
        """A worker is gone."""
        with self._lock:
            del self.rows[name]
        self._tell(name)

    def leave(self) -> None:
        """The daemon goes away."""
        self.gone = True
        self._tell(None)

    def _tell(self, name: str | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: [follower.put_nowait(name) for follower in self._followers])

    # --- the link -----------------------------------------------------------------------------------------------------

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = 5.0) -> Any:
        """See Link."""
        self._loop = asyncio.get_running_loop()
        self.asked[op] += 1
        if op in self.held:
            await asyncio.to_thread(self.held[op].wait)
        if self.gone:
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd: connection refused")
        names = (args or {}).get("select", {}).get("names")
        return getattr(self, f"_{op}", self._change(op))(self._chosen(names))

    def _chosen(self, names: list[str] | None) -> list[dict[str, Any]]:
        with self._lock:
            if any(name not in self.rows for name in names or ()):
                raise ProtocolError(NOT_FOUND, f"cannot find worker: none is called {names}")
            return [one for name, one in sorted(self.rows.items()) if names is None or name in names]

    def _describe(self, _: Any) -> Any:
        return describe(None, {})  # type: ignore[arg-type]

    def _ping(self, _: Any) -> Any:
        return {"pid": 1, "version": "0", "uptime": 1.0, "problem": None}

    def _whoami(self, _: Any) -> Any:
        return {"uid": 1000, "gid": 1000, "name": "me", "role": self.role, "may": []}

    def _status(self, rows: list[dict[str, Any]]) -> Any:
        return rows

    def _metrics(self, _: Any) -> Any:
        def family(name: str, samples: list[Any], labels: tuple[str, ...] = ()) -> dict[str, Any]:
            return {"name": name, "kind": "gauge", "help": name, "labels": labels, "samples": samples}

        return {
            "families": [
                family("cpu_usage_percent", [[[], 41.6]]),
                family("memory_usage_percent", [[[], 95.2]]),
                family("disk_usage_percent", [[[], 12.0]]),
                family("rdagentd_slots", [[["gpu"], 2]], ("group",)),
                family("rdagentd_queue_held", [[["memory"], 1], [["cpu"], 0]], ("resource",)),
            ]
        }

    def _usage(self, rows: list[dict[str, Any]]) -> Any:
        """Each look is one second of work later."""
        self._time += 1
        return [
            {"name": one["name"], "usage": self._used(i)} for i, one in enumerate(rows) if one["state"] == "running"
        ]

    def _used(self, number: int) -> dict[str, Any]:
        busy = self._time * (number % 10) / 10
        memory = int((number + 2 + math.sin(self._time + number)) * 2**20)
        return {
            "user": busy, "system": 0.0, "memory": memory, "memory_peak": memory, "tasks": 3, "tasks_peak": 4,
            "read": 0, "written": 0, "log": 100, "disk": {"state": 48 << 20},
        }  # fmt: skip

    def _why(self, rows: list[dict[str, Any]]) -> Any:
        return [{"name": one["name"], "sentences": self.sentences, "facts": one} for one in rows]

    def _show(self, rows: list[dict[str, Any]]) -> Any:
        revisions = [{"revision": 1, "at": BEGAN, "by": 0}]
        told = {"spec": self.spec, "runs": [], "usage": self._used(1), "revisions": revisions}
        return [{**told, "row": one} for one in rows]

    def _change(self, op: str) -> Any:
        def changed(rows: list[dict[str, Any]]) -> Any:
            self.calls += [(op, one["name"]) for one in rows]
            told = {"changed": True, "error": None, "reason": {"code": "asked", "text": "by request"}}
            return {"workers": [{"name": one["name"], "state": "stopping", "want": "down", **told} for one in rows]}

        return changed

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        """See Link."""
        asked = args or {}
        if self.gone:
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd: connection refused")
        if op == "logs" or asked.get("select"):
            for item in self.log if op == "logs" else self.story:
                if asked.get("since", -1) < item.get("seq", 0) and asked.get("offset", 0) <= item.get("offset", 0):
                    yield item
        else:
            yield {"seq": 1, "worker": None}
        if asked.get("follow"):
            async with aclosing(self._followed()) as followed:
                async for item in followed:
                    yield item

    async def _followed(self) -> AsyncGenerator[Any, None]:
        mine: asyncio.Queue[str | None] = asyncio.Queue()
        self._followers.add(mine)
        try:
            while (name := await mine.get()) is not None:
                yield {"seq": 2, "worker": name, "at": BEGAN, "kind": "changed", "text": "changed", "by": None}
            raise ProtocolError(UNAVAILABLE, "cannot reach rdagentd: it closed the connection")
        finally:
            self._followers.discard(mine)
