"""The containers of a run as a whole: ended, paused and resumed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from rdagentd.dockerproxy import document
from rdagentd.dockerproxy.belongings import Belongings
from rdagentd.dockerproxy.engine import PATIENCE, Engine
from rdagentd.dockerproxy.refusal import RefusedError
from rdagentd.protocol import labels

AT_ONCE = 16
"""Requests to the engine at the same time."""

ROUNDS = 10
"""How often it is looked again for containers that came meanwhile."""


def end(engine: Engine, run: str, belongings: Belongings | None, parent: str | None, grace: int) -> int:
    """Stops (with SIGTERM, then SIGKILL after grace seconds) and removes all that a run made; returns how many containers.

    belongings, parent (of the cgroup): None for a run whose rules are not known any more; then the labels alone tell.
    Raises RefusedError.
    """

    def finish(number: str) -> None:
        _do(engine, "POST", f"/containers/{number}/stop?t={grace}", PATIENCE + grace)
        if _do(engine, "DELETE", f"/containers/{number}?force=1&v=1") == 409:  # who started it is removing it already
            _do(engine, "POST", f"/containers/{number}/wait?condition=removed")

    ended: set[str] = set()
    for _ in range(ROUNDS):
        left = {*_own(engine, run, belongings), *(_strays(engine, parent) if parent is not None else ())}
        if not left:
            break
        _each(finish, left)
        ended |= left
    else:
        raise RefusedError(409, f"cannot end the containers of run {run}: {', '.join(sorted(left))} are left")
    volumes = engine.ask("GET", f"/volumes?filters={_filter(run)}")["Volumes"] or []
    _each(lambda name: _do(engine, "DELETE", f"/volumes/{name}"), [one["Name"] for one in volumes])
    return len(ended)


def pause(engine: Engine, run: str, belongings: Belongings, parent: str) -> list[str]:
    """Pauses what runs, and what begins meanwhile; returns the ids of those that were running."""
    paused: set[str] = set()
    for _ in range(ROUNDS):
        running = {*_own(engine, run, belongings, _RUNNING), *_strays(engine, parent, _RUNNING)} - paused
        if not running:
            break
        _each(lambda number: _do(engine, "POST", f"/containers/{number}/pause"), running)
        paused |= running
    return sorted(paused)


def resume(engine: Engine, paused: Iterable[str]) -> None:
    """Lets those go on. One that is gone, or goes on already, is no fault."""
    _each(lambda number: _do(engine, "POST", f"/containers/{number}/unpause"), paused)


_States = Mapping[str, Mapping[str, bool]]
_ANY: _States = {}
_RUNNING: _States = {"status": {"running": True}}


def _own(engine: Engine, run: str, belongings: Belongings | None, states: _States = _ANY) -> list[str]:
    found = engine.ask("GET", f"/containers/json?all=1&filters={_filter(run, states)}")
    return [one["Id"] for one in found if belongings is None or _inspected(engine, one["Id"], belongings.owns)]


def _strays(engine: Engine, parent: str, states: _States = _ANY) -> list[str]:
    """What the classic builder runs has the labels of its image, whatever they say; the cgroup parent tells."""
    found = [one["Id"] for one in engine.ask("GET", f"/containers/json?all=1&filters={_query(states)}")]
    return [
        one for one in found if _inspected(engine, one, lambda seen: seen["HostConfig"].get("CgroupParent") == parent)
    ]


def _inspected(engine: Engine, number: str, fits: Callable[[dict[str, Any]], bool]) -> bool:
    found = engine.find(f"/containers/{number}/json")
    return found is not None and fits(found)


def _filter(run: str, more: _States = _ANY) -> str:
    return _query({"label": {f"{labels.RUN}={run}": True, f"{labels.ORIGIN}={labels.AGENT}": True}, **more})


def _query(filters: _States) -> str:
    return quote(document.write(dict(filters)).decode(), safe="")


def _do(engine: Engine, method: str, path: str, patience: float = PATIENCE) -> int:
    """The status. 404: gone; 409: in that state already, or on its way. Anything else is a fault."""
    status, body = engine.request(method, path, patience=patience)
    if status not in (404, 409):
        engine.read(method, path, status, body)
    return status


def _each(what: Callable[[str], object], things: Iterable[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(what, things))
