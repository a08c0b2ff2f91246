"""The queue: who waits, in which order, and whose turn it is; with the slots of the groups, and the ledger of the host.

Whoever cannot start yet has the first claim to what it waits for: its slot and its whole share are kept back, and only what is
left beside goes to those behind it. So nobody is overtaken on what they need, and a big worker is not starved by small
ones. Of workers of one kind (group, way, requests) the first stands for all: each comes to be the first.

Who is barred (it waits for something that no slot and no share would give it) stands aside: it claims nothing, holds up nobody,
and takes its place in the order when it is no longer barred. Whatever changes an answer has it asked anew.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import inf

from attrs import Factory, evolve, frozen

from rdagentd.core.ledger import Ledger
from rdagentd.core.pool import NO_POOL, Pool
from rdagentd.model.container import Way
from rdagentd.model.requests import NO_CAPACITY, NOTHING, Capacity, Requests
from rdagentd.model.worker import LIVE, Reason, State, Worker

_Key = tuple[int, int, str]
_Kind = tuple[Way, Requests]

_ANY = frozenset(Way)

_MOST_CLAIMS = 100
"""Who stands behind so many that claim something waits for them, whatever they leave: bounds what one decision takes."""


@frozen
class Turn:
    """Whose turn it is, and what its run is to hold."""

    worker: str
    holds: Requests


@frozen
class Lack:
    """What a waiting worker lacks: a slot, or resources that others hold, or that those ahead of it have claimed."""

    slot: bool
    resources: tuple[str, ...]
    ahead: tuple[str, ...]


@frozen
class Claims:
    """What is kept back for whom, in the order of the queue. left[i]: what is there for who comes after the first i of them."""

    keys: list[_Key] = Factory(list)
    left: list[Pool] = Factory(list)
    slots: dict[str, list[_Key]] = Factory(dict)

    def claim(self, key: _Key, group: str, left: Pool) -> None:
        """The next in the order of the queue; what it leaves. After the last that may claim, nothing is left."""
        self.keys.append(key)
        self.left.append(left if len(self.keys) < _MOST_CLAIMS else NO_POOL)
        self.slots.setdefault(group, []).append(key)


class Queue:
    """Follows workers as they change; groups have slots (None: no bound), higher priority goes first, then first come.

    barred: why a waiting worker is passed over, None if it is not. Asked as it comes, and by `review`.
    """

    def __init__(
        self,
        slots: Mapping[str, int | None] | None = None,
        capacity: Capacity = NO_CAPACITY,
        barred: Callable[[Worker], Reason | None] = lambda worker: None,
    ) -> None:
        self.ledger = Ledger(capacity)
        self._barred = barred
        self._aside: dict[str, dict[str, Worker]] = {}
        self._slots: dict[str, int | None] = dict(slots or {})
        self._holders: dict[str, set[str]] = {}
        self._waiting: dict[str, dict[_Kind, list[_Key]]] = {}
        self._claims: tuple[Collection[Way], Claims] | None = None

    def set_slots(self, slots: Mapping[str, int | None]) -> None:
        """Changes how many slots the groups have. Whoever holds one keeps it."""
        self._slots, self._claims = dict(slots), None

    def offer(self, capacity: Capacity) -> None:
        """Changes what the host has to give away."""
        self.ledger.offer(capacity)
        self._claims = None

    # --- following ----------------------------------------------------------------------------------------------------

    def follow(self, before: Worker | None, after: Worker | None) -> None:
        """Notes that a worker changed, came (before None) or went (after None)."""
        if before is not None:
            self._leave(before)
        if after is not None:
            self._enter(after)
        self._claims = None

    def review(self, workers: Iterable[Worker]) -> None:
        """Asks anew whether these are barred: what the answer follows from has changed. Who does not wait is left alone."""
        for worker in workers:
            if worker.state is State.QUEUED:
                self.follow(worker, worker)

    def _leave(self, worker: Worker) -> None:
        group = worker.spec.queue.group
        if worker.state in LIVE:
            self.ledger.release(worker.name)
            holders = self._holders[group]
            holders.remove(worker.name)
            if not holders:
                del self._holders[group]
        elif worker.name in self._aside.get(group, ()):
            aside = self._aside[group]
            del aside[worker.name]
            if not aside:
                del self._aside[group]
        elif worker.state is State.QUEUED:
            lines, kind = self._waiting[group], _kind(worker)
            line = lines[kind]
            del line[bisect_left(line, _key(worker))]
            if not line:
                del lines[kind]
            if not lines:
                del self._waiting[group]

    def _enter(self, worker: Worker) -> None:
        group = worker.spec.queue.group
        if worker.state in LIVE:
            self.ledger.hold(worker.name, worker.run.holds if worker.run else NOTHING)
            self._holders.setdefault(group, set()).add(worker.name)
        elif worker.state is State.QUEUED and self._barred(worker):
            self._aside.setdefault(group, {})[worker.name] = worker
        elif worker.state is State.QUEUED:
            lines = self._waiting.setdefault(group, {})
            insort(lines.setdefault(_kind(worker), []), _key(worker))

    # --- deciding -----------------------------------------------------------------------------------------------------

    def next(self, ways: Collection[Way] = _ANY) -> Turn | None:
        """The first worker that fits into what nobody before it claims; None if nobody can start.

        Whose way is not one of `ways` is passed over: a Docker engine that hangs holds up nobody but its own. So is who
        asks for what the host can never give.
        """
        heads = self._heads(ways)
        if not heads:
            return None
        claims = Claims(left=[self.ledger.free()])
        for key, group, requests in heads:
            if self._left(group) <= len(claims.slots.get(group, ())):
                continue
            if requests == NOTHING:
                return Turn(key[2], NOTHING)
            if len(claims.keys) == _MOST_CLAIMS:
                continue
            wanted, pool = self.ledger.resolved(requests), claims.left[-1]
            if not pool.lacks(wanted):
                return Turn(key[2], evolve(wanted, gpus=pool.pick(wanted) or 0))
            if not self.ledger.all.lacks(wanted):
                claims.claim(key, group, pool.without(wanted))
        self._claims = ways, claims
        return None

    def _heads(self, ways: Collection[Way]) -> list[tuple[_Key, str, Requests]]:
        """The first of each kind in groups with a free slot, in the order of the queue."""
        return sorted(
            (line[0], group, requests)
            for group, lines in self._waiting.items()
            if self.free(group)
            for (way, requests), line in lines.items()
            if way in ways
        )

    def lack(self, worker: Worker, ways: Collection[Way] = _ANY) -> Lack:
        """What a waiting worker lacks. Only true when nobody else could start."""
        if self._claims is None or self._claims[0] != ways:
            self.next(ways)
        if self._claims is None:
            self._claims = ways, Claims(left=[self.ledger.free()])
        claims = self._claims[1]
        key, group = _key(worker), worker.spec.queue.group
        first = bisect_left(claims.keys, key)
        slot = self._left(group) <= bisect_left(claims.slots.get(group, ()), key)
        short = claims.left[first].lacks(self.ledger.resolved(worker.spec.requests))
        return Lack(slot, short, tuple(name for _, _, name in claims.keys[:first]))

    # --- telling ------------------------------------------------------------------------------------------------------

    def free(self, group: str) -> bool:
        """Whether one more worker of this group may live."""
        return self._left(group) > 0

    def _left(self, group: str) -> float:
        slots = self._slots.get(group)
        return inf if slots is None else slots - self.taken(group)

    def slots(self, group: str) -> int | None:
        """How many slots the group has; None is no bound."""
        return self._slots.get(group)

    def taken(self, group: str) -> int:
        """How many of the group's slots are held."""
        return len(self._holders.get(group, ()))

    def holders(self, group: str) -> list[str]:
        """Who holds the group's slots, by name."""
        return sorted(self._holders.get(group, ()))

    def groups(self) -> list[str]:
        """Those that have a number of slots, then those that are only used."""
        used = sorted({*self._holders, *self._waiting, *self._aside} - self._slots.keys())
        return [*self._slots, *used]

    def line(self, group: str) -> int:
        """How many workers of a group wait, those that are barred included."""
        return sum(map(len, self._waiting.get(group, {}).values())) + len(self._aside.get(group, ()))

    def waiting(self) -> int:
        """How many workers wait, those that are barred included."""
        return sum(self.line(group) for group in {*self._waiting, *self._aside})

    def aside(self) -> Iterator[Worker]:
        """Those that are barred."""
        return (worker for workers in self._aside.values() for worker in workers.values())

    def ahead(self, worker: Worker) -> int:
        """How many workers of its group go before this one; who is barred is not in its way."""
        lines = self._waiting.get(worker.spec.queue.group, {})
        return sum(bisect_left(line, _key(worker)) for line in lines.values())

    def slot_holders(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Every group with its holders, for checks."""
        return ((group, frozenset(names)) for group, names in self._holders.items())


def _key(worker: Worker) -> _Key:
    return -worker.spec.queue.priority, worker.order, worker.name


def _kind(worker: Worker) -> _Kind:
    return worker.spec.way, worker.spec.requests
