"""The queue: who waits for a slot, in which order, and the ledger of slots taken."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping

from rdagentd.model.worker import LIVE, State, Worker

_Key = tuple[int, int, str]


class Queue:
    """Follows workers as they change; groups have slots (None: no bound), higher priority goes first, then first come."""

    def __init__(self, slots: Mapping[str, int | None] | None = None) -> None:
        self._slots: dict[str, int | None] = dict(slots or {})
        self._holders: dict[str, set[str]] = {}
        self._waiting: dict[str, list[_Key]] = {}

    def set_slots(self, slots: Mapping[str, int | None]) -> None:
        """Changes how many slots the groups have. Whoever holds one keeps it."""
        self._slots = dict(slots)

    def follow(self, before: Worker | None, after: Worker | None) -> None:
        """Notes that a worker changed, came (before None) or went (after None)."""
        if before is not None:
            self._leave(before)
        if after is not None:
            self._enter(after)

    def _leave(self, worker: Worker) -> None:
        group = worker.spec.queue.group
        if worker.state in LIVE:
            holders = self._holders[group]
            holders.remove(worker.name)
            if not holders:
                del self._holders[group]
        elif worker.state is State.QUEUED:
            waiting = self._waiting[group]
            del waiting[bisect_left(waiting, _key(worker))]
            if not waiting:
                del self._waiting[group]

    def _enter(self, worker: Worker) -> None:
        group = worker.spec.queue.group
        if worker.state in LIVE:
            self._holders.setdefault(group, set()).add(worker.name)
        elif worker.state is State.QUEUED:
            insort(self._waiting.setdefault(group, []), _key(worker))

    def next(self) -> str | None:
        """The worker whose turn it is in a group that has a free slot; None if nobody can start."""
        for group, waiting in self._waiting.items():
            if self.free(group):
                return waiting[0][2]
        return None

    def free(self, group: str) -> bool:
        """Whether one more worker of this group may live."""
        slots = self._slots.get(group)
        return slots is None or self.taken(group) < slots

    def slots(self, group: str) -> int | None:
        """How many slots the group has; None is no bound."""
        return self._slots.get(group)

    def taken(self, group: str) -> int:
        """How many of the group's slots are held."""
        return len(self._holders.get(group, ()))

    def holders(self, group: str) -> list[str]:
        """Who holds the group's slots, by name."""
        return sorted(self._holders.get(group, ()))

    def waiting(self) -> int:
        """How many workers wait."""
        return sum(map(len, self._waiting.values()))

    def ahead(self, worker: Worker) -> int:
        """How many workers of its group go before this one."""
        return bisect_left(self._waiting.get(worker.spec.queue.group, []), _key(worker))

    def ledger(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Every group with its holders, for checks."""
        return ((group, frozenset(names)) for group, names in self._holders.items())


def _key(worker: Worker) -> _Key:
    return -worker.spec.queue.priority, worker.order, worker.name
