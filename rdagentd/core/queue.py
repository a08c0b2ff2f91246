"""The queue: who waits for a slot, in which order, and the ledger of slots taken."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterator, Mapping

from rdagentd.model.container import Way
from rdagentd.model.worker import LIVE, State, Worker

_Key = tuple[int, int, str]


class Queue:
    """Follows workers as they change; groups have slots (None: no bound), higher priority goes first, then first come."""

    def __init__(self, slots: Mapping[str, int | None] | None = None) -> None:
        self._slots: dict[str, int | None] = dict(slots or {})
        self._holders: dict[str, set[str]] = {}
        self._waiting: dict[str, dict[Way, list[_Key]]] = {}

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
            lines = self._waiting[group]
            line = lines[worker.spec.way]
            del line[bisect_left(line, _key(worker))]
            if not line:
                del lines[worker.spec.way]
            if not lines:
                del self._waiting[group]

    def _enter(self, worker: Worker) -> None:
        group = worker.spec.queue.group
        if worker.state in LIVE:
            self._holders.setdefault(group, set()).add(worker.name)
        elif worker.state is State.QUEUED:
            lines = self._waiting.setdefault(group, {})
            insort(lines.setdefault(worker.spec.way, []), _key(worker))

    def next(self, ways: Container[str] = frozenset(Way)) -> str | None:
        """The worker whose turn it is in a group that has a free slot; None if nobody can start.

        Whose way is not one of `ways` is passed over: a Docker engine that hangs holds up nobody but its own.
        """
        for group, lines in self._waiting.items():
            heads = [line[0] for way, line in lines.items() if way in ways]
            if heads and self.free(group):
                return min(heads)[2]
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
        return sum(len(line) for lines in self._waiting.values() for line in lines.values())

    def ahead(self, worker: Worker) -> int:
        """How many workers of its group go before this one."""
        lines = self._waiting.get(worker.spec.queue.group, {})
        return sum(bisect_left(line, _key(worker)) for line in lines.values())

    def ledger(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Every group with its holders, for checks."""
        return ((group, frozenset(names)) for group, names in self._holders.items())


def _key(worker: Worker) -> _Key:
    return -worker.spec.queue.priority, worker.order, worker.name
