"""What several workers spend together: by group, by owner, on a day. Follows workers as they change, as the queue does.

What runs report is added the moment that it is, and run time and output when a run ends; until then those that live are
asked. So each dollar is in exactly one tally of each kind, and changes with the worker that spent it, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, frozen

from rdagentd.core.budgets import WARN, Account
from rdagentd.model.budgets import Flow, Tally
from rdagentd.model.measures import Spent
from rdagentd.model.worker import LIVE, Reason, State, Worker

Key = tuple[str, str]
"""Scope and name, as in a Tally."""

DAY: Key = ("day", "")

_DECIMALS = 9


@frozen
class Standing:
    """How a shared budget stands. over: why who spends of it is stopped; full: why nobody starts; nearly: what to warn of."""

    over: str | None
    full: Reason | None
    nearly: Mapping[str, str]


class Purse:
    """budgets: by scope and name, owners by number. Only what there is a budget for is counted."""

    def __init__(self) -> None:
        self.budgets: Mapping[Key, Flow] = {}
        self.tallies: dict[Key, Tally] = {}
        self.full: dict[Key, Reason] = {}
        self.day = 0
        self.due: float | None = None
        self._live: dict[Key, dict[str, Worker]] = {}
        self._undo: tuple[dict[Key, Tally], dict[Key, Reason], int, float | None] = ({}, {}, 0, None)

    # --- taking back --------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """`rollback` leads back to here."""
        self._undo = (dict(self.tallies), dict(self.full), self.day, self.due)

    def rollback(self) -> None:
        """Undoes what was counted; who lives is followed back by whoever undoes the workers."""
        self.tallies, self.full, self.day, self.due = self._undo

    # --- following ----------------------------------------------------------------------------------------------------

    def restore(self, tallies: Iterable[Tally]) -> None:
        """Takes up what was kept."""
        self.tallies = {(tally.scope, tally.name): tally for tally in tallies}
        self.day = max((tally.day for tally in self.tallies.values()), default=0)

    def set_full(self, key: Key, reason: Reason | None) -> None:
        """Why nobody who spends of it starts; None: they may."""
        if reason is None:
            self.full.pop(key, None)
        else:
            self.full[key] = reason

    def set_budgets(self, budgets: Mapping[Key, Flow], workers: Iterable[Worker]) -> None:
        """From now on these. What was spent of those that stay counts on."""
        self.budgets = dict(budgets)
        self._live = {}
        self.full = {key: reason for key, reason in self.full.items() if key in budgets}
        for worker in workers:
            self.follow(None, worker)

    def follow(self, before: Worker | None, after: Worker | None) -> None:
        """Notes who lives."""
        if not self.budgets:
            return
        if before is not None and before.state in LIVE:
            for key in self.keys(before):
                self._live.get(key, {}).pop(before.name, None)
        if after is not None and after.state in LIVE:
            for key in self.keys(after):
                self._live.setdefault(key, {})[after.name] = after

    def count(self, before: Worker, after: Worker) -> list[Tally]:
        """Adds what the worker has spent between the two; the tallies that have changed."""
        if not self.budgets or (before.run is after.run and before.spent is after.spent):
            return []
        more = _difference(_settled(before), _settled(after))
        if more == Spent():
            return []
        changed = []
        for key in self.keys(after):
            counted = evolve(more, run_time=max(0.0, more.run_time - after.before_today)) if key == DAY else more
            tally = self._tally(key)
            self.tallies[key] = evolve(tally, spent=_sum(tally.spent, counted))
            changed.append(self.tallies[key])
        return changed

    def begin_day(self, day: int) -> bool:
        """Counts anew for a new day; whether it is one."""
        if day == self.day:
            return False
        self.day = day
        self.tallies[DAY] = self._tally(DAY)
        return True

    def _tally(self, key: Key) -> Tally:
        tally = self.tallies.get(key)
        day = self.day if key == DAY else 0
        return tally if tally is not None and tally.day == day else Tally(*key, day=day)

    # --- telling ------------------------------------------------------------------------------------------------------

    def keys(self, worker: Worker) -> Iterator[Key]:
        """The shared budgets that a worker spends of."""
        of = (("group", worker.spec.queue.group), ("owner", str(worker.owner)), DAY)
        return (key for key in of if key in self.budgets)

    def members(self, key: Key) -> list[Worker]:
        """Those that live and spend of it, by name."""
        return [worker for _, worker in sorted(self._live.get(key, {}).items())]

    def bar(self, worker: Worker) -> Reason | None:
        """Why a queued worker waits for a shared budget."""
        return next((self.full[key] for key in self.keys(worker) if key in self.full), None) if self.full else None

    def account(self, key: Key, now: float) -> Account:
        """What was spent of it by monotonic time `now`, those included that run."""
        budget, live = self.budgets[key], self._live.get(key, {}).values()
        spent = self._tally(key).spent
        if budget.run_time is not None:
            ran = sum(worker.run_time(now) - (worker.before_today if key == DAY else 0.0) for worker in live)
            spent = evolve(spent, run_time=spent.run_time + ran)
        if budget.log_bytes is not None:
            spent = evolve(spent, log_bytes=spent.log_bytes + sum(worker.wrote for worker in live))
        disk = sum(worker.disk or 0 for worker in live) if getattr(budget, "disk", None) is not None else 0
        return Account(f"{key[0]}.{key[1]}".rstrip("."), whose(key), budget, spent, disk)

    def log_rooms(self, worker: Worker) -> Iterator[int]:
        """What each of its shared budgets of output leaves to each that lives."""
        for key in self.keys(worker):
            if self.budgets[key].log_bytes is not None and (room := self.account(key, 0.0).log_room()) is not None:
                yield room // max(1, len(self._live.get(key, ())))

    def standing(self, key: Key, now: float) -> Standing:
        """How it stands; what was warned of already is left out."""
        account, warned = self.account(key, now), self._tally(key).warned
        over, full = account.over(), account.used_up()
        nearly = {name: text for name, text in account.nearly() if name not in warned}
        return Standing(
            over[1] if over else None,
            Reason("budget", f"waits for a budget: {full[1]}; {_until(key, full[0])}") if full else None,
            nearly,
        )

    def note_warned(self, key: Key, now: float) -> Tally | None:
        """Keeps of what was warned, as things are; the tally if that is new."""
        tally = self._tally(key)
        warned = tuple(name for name, _ in self.account(key, now).nearly())
        if warned == tally.warned:
            return None
        self.tallies[key] = evolve(tally, warned=warned)
        return self.tallies[key]

    def next_due(self, now: float) -> float | None:
        """When run time alone may use up a budget, or nearly: monotonic."""
        return min((at for key in self.budgets if (at := self._time_up(key, now)) is not None), default=None)

    def _time_up(self, key: Key, now: float) -> float | None:
        limit = self.budgets[key].run_time
        if limit is None:
            return None
        running = sum(worker.state is not State.PAUSED for worker in self._live.get(key, {}).values())
        if not running:
            return None
        used = self.account(key, now).spent.run_time
        return next((now + (part * limit - used) / running for part in (WARN, 1.0) if used < part * limit - 1e-6), None)


def whose(key: Key) -> str:
    """Whose budget it is, as the subject of a sentence."""
    return {"group": f"group {key[1]}", "owner": f"user {key[1]}", "day": "this day"}[key[0]]


def _until(key: Key, name: str) -> str:
    """What has to come, or to be done. An owner has a name in the configuration, which is not known here."""
    if key == DAY:
        return f"it begins anew at 00:00 UTC, or raise {name} in [budgets.day] of rdagentd.toml"
    return f"raise {name} in [budgets.{key[0]}.{key[1] if key[0] == 'group' else '…'}] of rdagentd.toml"


def _settled(worker: Worker) -> Spent:
    """What is counted of a worker: what its ended runs have spent, and what the live one has reported."""
    run = worker.run
    return worker.spent if run is None or run.exit is not None else worker.spent.plus(run.measures)


def _difference(before: Spent, after: Spent) -> Spent:
    return Spent(
        after.tokens - before.tokens,
        round(after.cost_usd - before.cost_usd, _DECIMALS),
        after.iterations - before.iterations,
        after.errors - before.errors,
        after.provider_errors - before.provider_errors,
        after.run_time - before.run_time,
        after.log_bytes - before.log_bytes,
    )


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(
        one.tokens + other.tokens,
        round(one.cost_usd + other.cost_usd, _DECIMALS),
        one.iterations + other.iterations,
        one.errors + other.errors,
        one.provider_errors + other.provider_errors,
        one.run_time + other.run_time,
        one.log_bytes + other.log_bytes,
    )
