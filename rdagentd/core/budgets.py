"""What a worker has spent, against what it may. Pure numbers, and sentences about them.

A run goes on while no more is spent than the budget; nothing is started once all of it is. So `iterations = 100` lets the
hundredth end, and the report of the next one is one too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from attrs import fields_dict, frozen

from rdagentd.model.budgets import UNBOUNDED, Budget, Flow
from rdagentd.model.measures import Spent
from rdagentd.model.size import format_size
from rdagentd.model.worker import LIVE, State, Worker

WARN = 0.8
"""The part of a budget from which on it is told that little is left."""

_SLACK = 1e-6
"""Seconds by which sums of times may differ: a deadline must not come just before its time."""

REPORTED: Mapping[str, str] = {"cost_usd": "cost_usd", "tokens": "tokens", "iterations": "iteration"}
"""Budgets of what only the run itself can tell, and the measure that tells it."""

FIELDS = tuple(fields_dict(Budget))


@frozen
class Account:
    """A budget, and what was spent of it. key: for programs, whose: for people, as the subject of a sentence.

    disk: bytes held now, None if nobody knows.
    """

    key: str
    whose: str
    budget: Flow
    spent: Spent
    disk: int | None = None

    def limits(self) -> Iterator[tuple[str, float]]:
        """The bounds that it has, by name."""
        return ((name, limit) for name in FIELDS if (limit := getattr(self.budget, name, None)) is not None)

    def used(self, name: str) -> float:
        """What of this was spent."""
        used: float = (self.disk or 0) if name == "disk" else getattr(self.spent, name)
        return used

    def over(self) -> tuple[str, str] | None:
        """Which budget is exceeded, and the sentence."""
        return next(
            ((name, self._told(name, limit)) for name, limit in self.limits() if self._is_over(name, limit)), None
        )

    def used_up(self) -> tuple[str, str] | None:
        """The same for one of which nothing is left, so that nothing is to be started. What is on the disk may be removed."""
        for name, limit in self.limits():
            if name != "disk" and (self._is_over(name, limit) or 0 < limit <= self.used(name)):
                return name, self._told(name, limit)
        return None

    def nearly(self) -> Iterator[tuple[str, str]]:
        """Those of which little is left, by their keys."""
        for name, limit in self.limits():
            if limit and self.used(name) >= WARN * limit:
                yield f"{self.key}.{name}", f"{self._told(name, limit)} ({self.used(name) / limit:.0%})"

    def log_room(self) -> int | None:
        """Bytes of output until there is something to be told, or to be stopped."""
        limit, used = self.budget.log_bytes, self.spent.log_bytes
        if limit is None:
            return None
        warned = ceil(WARN * limit)
        return warned - used if used < warned else max(0, limit - used)

    def _is_over(self, name: str, limit: float) -> bool:
        return self.used(name) >= limit - _SLACK if name == "run_time" else self.used(name) > limit

    def _told(self, name: str, limit: float) -> str:
        return f"{self.whose} has used {amount(name, self.used(name))}, the budget is {amount(name, limit)}"


def amount(name: str, value: float) -> str:
    """An amount of this, in words."""
    return _WORDS[name](value)


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value == round(value, 2) else f"${value:,.6f}".rstrip("0")


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "cost_usd": _dollars,
    "tokens": lambda value: f"{value:,} tokens",
    "iterations": lambda value: f"{value:,} iterations",
    "run_time": lambda value: f"{round(value, 1):g} s of run time",
    "log_bytes": lambda value: f"{format_size(value)} of output",
    "disk": lambda value: f"{format_size(value)} on disk",
}


# --- of one worker ----------------------------------------------------------------------------------------------------


def accounts(worker: Worker, now: float) -> list[Account]:
    """The budgets of its own at monotonic time `now`: of its run, if there is one, and over all its runs."""
    budgets = worker.spec.budgets
    if budgets == UNBOUNDED:
        return []
    all_runs = Account("worker", "it", budgets, spent(worker, now), worker.disk)
    return [Account("run", "its run", budgets.run, _of_run(Spent(), worker, now)), all_runs]


def spent(worker: Worker, now: float) -> Spent:
    """What all its runs come to, the live one included."""
    return _of_run(worker.spent, worker, now) if worker.state in LIVE else worker.spent


def _of_run(before: Spent, worker: Worker, now: float) -> Spent:
    run = worker.run
    return before if run is None else before.plus(run.measures, worker.run_time(now), worker.wrote)


def used_up(worker: Worker) -> tuple[str, str] | None:
    """Which budget over all runs has nothing left for another run, and the sentence."""
    if worker.spec.budgets == UNBOUNDED:
        return None
    return Account("worker", "it", worker.spec.budgets, worker.spent).used_up()


def _silent(worker: Worker, budgets: Iterable[Flow], now: float) -> str | None:
    """What a budget needs and this run has not told in time, as a sentence."""
    within = worker.spec.budgets.within
    if worker.run_time(now) < within - _SLACK:
        return None
    for name in _untold(worker, budgets):
        how = "measured" if name == "disk" else "reported"
        return f"no {name} was {how} for {within:g} s, and there is a budget of it"
    return None


def _untold(worker: Worker, budgets: Iterable[Flow]) -> Iterator[str]:
    """Budgets of what this run has not told yet. Who is to spend none of it need not tell."""
    run = worker.run
    for budget in budgets:
        for name in FIELDS:
            if getattr(budget, name, None) is None or getattr(worker.spec.budgets, name) == 0:
                continue
            if name == "disk":
                known = worker.disk is not None or not _has_directories(worker)
            else:
                known = name not in REPORTED or run is None or getattr(run.measures, REPORTED[name]) is not None
            if not known:
                yield name


def _has_directories(worker: Worker) -> bool:
    return worker.spec.state is not None or worker.spec.cache is not None


@frozen
class Found:
    """What an audit of a worker finds. over: why its run is to be stopped. warnings: sentences, told once; warned: of what.

    due: monotonic time at which time alone may change this.
    """

    over: str | None = None
    warnings: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    due: float | None = None


NOTHING_FOUND = Found()


def examine(worker: Worker, shared: Sequence[Flow], now: float) -> Found:
    """The budgets of its own; of those that it shares only whether it tells what they need."""
    budgets = worker.spec.budgets
    if budgets == UNBOUNDED and not shared:
        return NOTHING_FOUND
    own = accounts(worker, now)
    if worker.state not in (State.STARTING, State.RUNNING, State.PAUSED):
        return Found(warned=tuple(name for name in worker.warned if name.startswith("worker.")))
    nearly = {name: text for account in own for name, text in account.nearly()}
    over = next((found[1] for account in own if (found := account.over()) is not None), None)
    needed = (budgets.run, budgets, *shared)
    if over is None and worker.state is State.RUNNING:
        over = _silent(worker, needed, now)
    return Found(
        over,
        tuple(text for name, text in nearly.items() if name not in worker.warned),
        tuple(nearly),
        _steady(worker.budget_due, _due(worker, own, needed, now)) if over is None else None,
    )


def _steady(before: float | None, due: float | None) -> float | None:
    """The same deadline, reckoned anew, may differ by what sums of times do; that is no change to be kept."""
    return before if before is not None and due is not None and abs(before - due) < _SLACK else due


def _due(worker: Worker, own: Iterable[Account], needed: Iterable[Flow], now: float) -> float | None:
    if worker.state is not State.RUNNING:
        return None
    times = [at for account in own if (at := _time_up(account, now)) is not None]
    if any(True for _ in _untold(worker, needed)):
        times.append(worker.launched + worker.spec.budgets.within)
    return min(times, default=None)


def _time_up(account: Account, now: float) -> float | None:
    """When its run time is nearly used up, then when it is."""
    limit = account.budget.run_time
    if limit is None:
        return None
    lefts = [part * limit - account.spent.run_time for part in (WARN, 1.0)]
    return next((now + left for left in lefts if left > _SLACK), None)


def how_to_raise(worker: Worker, scope: str, name: str) -> str:
    """What a person can do, as the end of a sentence. scope: key of the account."""
    path = f"run.{name}" if scope == "run" else name
    return f"raise it: rdagentctl budget {worker.name} --raise {path}=…"
