"""All runs that may use the engine, by what the daemon says. Every word can be said twice."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rdagentd import __version__
from rdagentd.dockerproxy import cgroups, endings, keeping
from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.keeping import Kept
from rdagentd.dockerproxy.refusal import RefusedError
from rdagentd.dockerproxy.rules import check_run, from_wire
from rdagentd.dockerproxy.served import Served

log = logging.getLogger(__name__)

PING = 10.0
"""Seconds in which an engine that is well answers a ping."""


class Proxy:
    """engine: the real socket's path. directory: where the runs' sockets are. file: what is kept."""

    def __init__(self, engine: str, directory: Path, file: Path) -> None:
        self._engine = Engine(engine)
        self._directory = directory
        self._file = file
        self._kept = keeping.load(file)
        self._served: dict[str, Served] = {}
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def start(self) -> None:
        """Listens again for the runs of before."""
        for run, kept in self._kept.items():
            self._serve(run, kept)

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the daemon. Raises ValueError for what is not understood, OSError, RefusedError."""
        name = request.get("op")
        if name == "hello":
            return self._hello(request.get("owner"))
        operation = _OPERATIONS.get(name) if isinstance(name, str) else None
        if operation is None:
            raise ValueError(f"cannot do {name!r}: hello, {', '.join(_OPERATIONS)} are known")
        run = check_run(request.get("run"))
        with self._lock:
            turn = self._turns.setdefault(run, threading.Lock())
        with turn:  # an `open` waits for the `end` before it
            return operation(self, run, request)

    def _hello(self, owner: Any) -> dict[str, Any]:
        problem = self._problem()
        with self._lock:
            runs = sorted(run for run, kept in self._kept.items() if owner in (None, kept.rules.owner))
        return {"version": __version__, "pid": os.getpid(), "runs": runs, "problem": problem}

    def _problem(self) -> str | None:
        try:
            self._engine.request("GET", "/_ping", patience=PING)
        except RefusedError as error:
            return str(error)
        return None

    def _open(self, run: str, request: dict[str, Any]) -> dict[str, Any]:
        rules = from_wire(request.get("rules"))
        if not rules.cgroup_parent:
            rules = replace(rules, cgroup_parent=cgroups.parent(self._engine.ask("GET", "/info"), run))
        known = self._kept.get(run)
        served = self._served.get(run)
        if known is None or known.rules != rules or served is None or served.closed:
            if served is not None:
                self._served.pop(run).close()
                served.scope.binds.close()
            kept = Kept(rules, known.paused if known else [])
            self._keep(run, kept)
            cgroups.bound(rules.cgroup_parent, rules)
            served = self._serve(run, kept)
        return {"socket": str(served.path)}

    def _close(self, run: str, _request: dict[str, Any]) -> dict[str, Any]:
        served = self._served.pop(run, None)
        if served is not None:
            served.close()
            served.scope.binds.close()
        self._keep(run, None)
        return {}

    def _end(self, run: str, request: dict[str, Any]) -> dict[str, Any]:
        grace = request.get("grace", 10)
        if type(grace) is not int or grace < 0:
            raise ValueError(f"cannot end run {run}: grace must be seconds, not {grace!r}")
        served = self._served.get(run)
        if served is None:
            return {"containers": endings.end(self._engine, run, None, None, grace)}
        served.close()  # first, so that nothing new comes; kept until all is gone
        scope = served.scope
        ended = endings.end(self._engine, run, scope.belongings, scope.rules.cgroup_parent, grace)
        cgroups.remove(scope.rules.cgroup_parent)
        self._close(run, request)
        return {"containers": ended}

    def _pause(self, run: str, _request: dict[str, Any]) -> dict[str, Any]:
        scope = self._known(run).scope
        kept = self._kept[run]
        paused = endings.pause(self._engine, run, scope.belongings, scope.rules.cgroup_parent)
        self._keep(run, Kept(kept.rules, sorted({*kept.paused, *paused})))
        return {"containers": len(paused)}

    def _resume(self, run: str, _request: dict[str, Any]) -> dict[str, Any]:
        self._known(run)
        kept = self._kept[run]
        endings.resume(self._engine, kept.paused)
        self._keep(run, Kept(kept.rules, []))
        return {"containers": len(kept.paused)}

    def _known(self, run: str) -> Served:
        try:
            return self._served[run]
        except KeyError:
            raise ValueError(f"cannot find run {run}: open it first") from None

    def _serve(self, run: str, kept: Kept) -> Served:
        served = Served(self._engine, run, kept.rules, self._directory)
        served.open()
        self._served[run] = served
        return served

    def _keep(self, run: str, kept: Kept | None) -> None:
        with self._lock:
            runs = {name: one for name, one in self._kept.items() if name != run}
            if kept is not None:
                runs[run] = kept
            keeping.save(self._file, runs)
            self._kept = runs


_OPERATIONS: dict[str, Callable[[Proxy, str, dict[str, Any]], dict[str, Any]]] = {
    "open": Proxy._open,
    "close": Proxy._close,
    "end": Proxy._end,
    "pause": Proxy._pause,
    "resume": Proxy._resume,
}
