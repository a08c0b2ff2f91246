"""Dependencies between workers: whether they are met, what is wrong with them, and in which order workers come and go. Pure.

Only a start waits. A dependency that fails later ends nobody: hours of work may be in whoever depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from rdagentd.model.dependency import Condition
from rdagentd.model.health import Health
from rdagentd.model.spec import Spec
from rdagentd.model.worker import AT_REST, LIVE, Reason, State, Then, Worker

Depends = Mapping[str, Condition]
"""What a worker depends on, by name."""

Workers = Mapping[str, Worker]

FAILED = "dependency_failed"
"""Code of the reason of who waits for a worker that has failed for good."""

WHILE_IT_RUNS = frozenset({Condition.STARTED, Condition.HEALTHY, Condition.READY})
"""Conditions under which it needs the other one for as long as it runs."""

_UP = frozenset({State.RUNNING, State.PAUSED})


# --- met --------------------------------------------------------------------------------------------------------------


def has_failed(worker: Worker) -> bool:
    """For good: nothing is tried any more by itself."""
    return worker.state is State.FAILED and worker.due is None


_MET: dict[Condition, Callable[[Worker], bool]] = {
    Condition.STARTED: lambda worker: worker.state in _UP or worker.state is State.COMPLETED,
    Condition.HEALTHY: lambda worker: worker.state is State.RUNNING and worker.health is Health.HEALTHY,
    Condition.READY: lambda worker: worker.ready,
    Condition.COMPLETED: lambda worker: worker.state is State.COMPLETED or has_failed(worker),
    Condition.COMPLETED_SUCCESSFULLY: lambda worker: worker.state is State.COMPLETED,
}


def unmet(depends: Depends, workers: Workers) -> Iterator[tuple[str, Condition]]:
    """What is not as it must be for a start."""
    for name, condition in depends.items():
        worker = workers.get(name)
        if worker is None or not _MET[condition](worker):
            yield name, condition


def waits(depends: Depends, workers: Workers) -> Reason | None:
    """What a start waits for, in words, what has failed for good first; None: for nothing."""
    lacking = list(unmet(depends, workers))
    if not lacking:
        return None
    hopeless = [name for name, _ in lacking if name not in workers or has_failed(workers[name])]
    lacking.sort(key=lambda lack: lack[0] not in hopeless)
    told = "; for ".join(_told(name, condition, workers.get(name)) for name, condition in lacking)
    return Reason(FAILED if hopeless else "dependency", f"waits for {told}")


def _told(name: str, condition: Condition, worker: Worker | None) -> str:
    if worker is None:
        return f"{name}, which does not exist"
    if worker.state is State.RUNNING:
        return f"{name} {_UNTIL[condition](worker)}"
    because = f": {worker.reason.text}" if worker.reason and worker.state in _TOLD else ""
    return f"{name}, which {_IS.get(worker.state, f'is {worker.state}')}{because}"


_UNTIL: dict[Condition, Callable[[Worker], str]] = {
    Condition.STARTED: lambda worker: "to start",
    Condition.HEALTHY: lambda worker: (
        "to be healthy, and it has no health check"
        if worker.health is Health.NONE
        else f"to be healthy; it is {worker.health}"
    ),
    Condition.READY: lambda worker: "to be ready",
    Condition.COMPLETED: lambda worker: "to complete; it is running",
    Condition.COMPLETED_SUCCESSFULLY: lambda worker: "to complete; it is running",
}
_IS = {
    State.BACKOFF: "is to be restarted",
    State.COMPLETED: "has completed",
    State.FAILED: "failed",
}
_TOLD = AT_REST | {State.BACKOFF}
"""States whose reason tells more than the state."""


# --- right ------------------------------------------------------------------------------------------------------------


def problem(names: Iterable[str], depends_of: Callable[[str], Depends | None]) -> str | None:
    """What is wrong with what these depend on, as a sentence that "cannot …: " goes before: a worker that does not exist, or a
    circle. depends_of: of any worker as it is to be, None if there is none.
    """
    graph: dict[str, Depends] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        depends = depends_of(name) or {}
        graph[name] = depends
        for other in depends:
            if other not in graph:
                if depends_of(other) is None:
                    return f"{name} depends on {other}, which does not exist; submit that first, or apply both together"
                todo.append(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))  # it names first what has to be there first
        return f"{circle[0]} would wait for itself: {' → '.join(circle)}; take one of these out of a `depends`"
    return None


# --- order ------------------------------------------------------------------------------------------------------------


def ordered(names: Iterable[str], depends_of: Callable[[str], Iterable[str]]) -> list[str]:
    """The same names, each behind those of them that it depends on, also by way of others; else as they came."""
    wanted = dict.fromkeys(names)
    graph: dict[str, Iterable[str]] = {}
    todo = [name for name in wanted if depends_of(name)]
    while todo:
        name = todo.pop()
        graph[name] = depends_of(name)
        todo += [other for other in graph[name] if other not in graph]
    behind = [name for name in TopologicalSorter(graph).static_order() if name in wanted]
    return [*(name for name in wanted if name not in graph), *behind]


def depends_in(workers: Workers) -> Callable[[str], Depends]:
    """What a worker depends on, of those that exist."""

    def of(name: str) -> Depends:
        worker = workers.get(name)
        return worker.spec.depends if worker else {}

    return of


def depends_with(specs: Mapping[str, Spec], workers: Workers) -> Callable[[str], Depends | None]:
    """What any worker depends on, if these specs were in force; None if there is none, or not for long."""

    def of(name: str) -> Depends | None:
        if name in specs:
            return specs[name].depends
        worker = workers.get(name)
        return worker.spec.depends if worker and worker.then is not Then.REMOVE else None

    return of


def to_start(names: Iterable[str], workers: Workers) -> list[str]:
    """These and whatever must be started for them: what rests and is not what they wait for. In the order of their starts.

    What has failed is left alone: whoever repairs it starts it.
    """
    found = dict.fromkeys(names)
    todo = list(found)
    while todo:
        worker = workers.get(todo.pop())
        for name, _ in unmet(worker.spec.depends, workers) if worker else ():
            if name not in found and name in workers:
                found[name] = None
                todo.append(name)
    asked = set(names)
    order = ordered(found, depends_in(workers))
    return [name for name in order if name in asked or _is_started(workers[name])]


def _is_started(worker: Worker) -> bool:
    rests = worker.state in (State.STOPPED, State.COMPLETED)
    return rests or (worker.state is State.STOPPING and worker.then is Then.REST)


def longest(workers: Iterable[Worker], seconds: Callable[[Worker], float]) -> float:
    """Seconds until all of these have ended, if each takes as long as told and is asked when all that depend on it have."""
    known = {worker.name: worker for worker in workers}
    total: dict[str, float] = {}
    for name in ordered(known, lambda name: known[name].spec.depends if name in known else ()):
        worker = known[name]
        total[name] = seconds(worker) + max((total.get(other, 0.0) for other in worker.spec.depends), default=0.0)
    return max(total.values(), default=0.0)


# --- the other way round ----------------------------------------------------------------------------------------------


class Dependents:
    """Who depends on whom, followed as workers change."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._of: dict[str, dict[str, None]] = {}

    def follow(self, before: Worker | None, after: Worker | None) -> None:
        """Notes that a worker changed, came (before None) or went (after None)."""
        old = before.spec.depends if before else {}
        new = after.spec.depends if after else {}
        if old is new:
            return
        for name in old.keys() - new.keys():
            del self._of[name][before.name]  # type: ignore[union-attr]
            if not self._of[name]:
                del self._of[name]
        for name in new.keys() - old.keys():
            self._of.setdefault(name, {})[after.name] = None  # type: ignore[union-attr]

    def __contains__(self, name: str) -> bool:
        """Whether anybody depends on this worker."""
        return name in self._of

    def of(self, name: str) -> list[Worker]:
        """Those that depend on this worker directly."""
        return [self._workers[other] for other in self._of.get(name, ()) if other in self._workers]

    def ending(self, name: str) -> list[str]:
        """Those of them that are being stopped: until they have ended, it is not asked to."""
        return [worker.name for worker in self.of(name) if worker.state is State.STOPPING]

    def keeping(self, name: str) -> list[str]:
        """Those for whose sake it cannot be removed."""
        return [worker.name for worker in self.of(name) if worker.then is not Then.REMOVE]

    def to_stop(self, names: Iterable[str]) -> list[str]:
        """These and whoever runs on what they give, directly or not. In the order of their ends."""
        found = dict.fromkeys(names)
        todo = list(found)
        while todo:
            name = todo.pop()
            for worker in self.of(name):
                if worker.name not in found and _needs(worker, name):
                    found[worker.name] = None
                    todo.append(worker.name)
        return self.ends_of(found)

    def ends_of(self, names: Iterable[str]) -> list[str]:
        """The same names in the order of their ends: each behind those that depend on it."""
        return ordered(names, lambda name: [worker.name for worker in self.of(name)])


def _needs(worker: Worker, name: str) -> bool:
    return worker.spec.depends[name] in WHILE_IT_RUNS and (worker.state in LIVE or worker.state in _COMING)


_COMING = frozenset({State.QUEUED, State.BACKOFF})


def standing(worker: Worker | None) -> object:
    """What of a worker others may wait for: while that is the same, no answer to `waits` has changed but its words."""
    return worker and (worker.state, worker.health, worker.ready, worker.due is None)


def held_back_by(worker: Worker | None) -> frozenset[str]:
    """Whose stop waits for the end of this worker, if they are being stopped too."""
    return frozenset(worker.spec.depends) if worker and worker.state is State.STOPPING else frozenset()
