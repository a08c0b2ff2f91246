"""The ledger: what of the host the runs of the workers hold, and what is left to be given away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import evolve

from rdagentd.core.pool import RESOURCES, Pool, amount, level, share, shares
from rdagentd.model.requests import ALL, NOTHING, Capacity, Requests


class Ledger:
    """A run holds its share from the decision to start it until nothing of it is left."""

    def __init__(self, capacity: Capacity) -> None:
        self._shares: dict[str, Requests] = {}
        self._held: Counter[str] = Counter()
        self._leased: Counter[str] = Counter()
        self.offer(capacity)

    def offer(self, capacity: Capacity) -> None:
        """Changes what there is to give away. Whoever holds something keeps it."""
        self._names = {name: gpu.id for gpu in capacity.gpus for name in (gpu.uuid, gpu.id)}
        ids = tuple(gpu.id for gpu in capacity.gpus)
        self.all = Pool(capacity.memory, round(capacity.cpu * 1000), capacity.disk, ids)

    def hold(self, worker: str, held: Requests) -> None:
        """The run of this worker has its share from now on."""
        if held != NOTHING:
            self._shares[worker] = held
            self._count(held, 1)

    def release(self, worker: str) -> None:
        """Nothing of its run is left."""
        held = self._shares.pop(worker, None)
        if held is not None:
            self._count(held, -1)

    def _count(self, held: Requests, sign: int) -> None:
        for resource in RESOURCES:
            self._held[resource] += sign * amount(held, resource)
        for gpu in held.gpus if isinstance(held.gpus, tuple) else ():
            self._leased[gpu] += sign

    def free(self) -> Pool:
        """What is left. Never less than nothing, though the host may have less to give away by now than is held."""
        memory, cpu, disk = (max(0, self.all.has(name) - self._held[name]) for name in ("memory", "cpu", "disk"))
        return Pool(memory, cpu, disk, tuple(gpu for gpu in self.all.gpus if not self._leased[gpu]))

    def resolved(self, wanted: Requests) -> Requests:
        """The same, with the ids of the GPUs that it names."""
        if isinstance(wanted.gpus, int):
            return wanted
        named = (self._names.get(name, name) for name in wanted.gpus)
        return evolve(wanted, gpus=(self.all.gpus or ALL) if wanted.gpus == ALL else tuple(dict.fromkeys(named)))

    def never(self, wanted: Requests) -> str | None:
        """Why it could not be given though nobody held anything, as the end of a sentence; None if it could."""
        wanted = self.resolved(wanted)
        short = [f"{share(wanted, name)} (of {self._offer(name)})" for name in self.all.lacks(wanted)]
        return f"this host cannot give away {' and '.join(short)}" if short else None

    def _offer(self, resource: str) -> str:
        ids = f": {', '.join(self.all.gpus)}" if resource == "gpus" and self.all.gpus else ""
        return level(resource, self.all.has(resource)) + ids

    def holders(self, resources: Sequence[str]) -> list[str]:
        """Who holds some of these, and how much: "train (8 GiB of memory, GPU 0)"; who holds most of the first comes first."""
        some = [(worker, held) for worker, held in self._shares.items() if shares(held, resources)]
        some.sort(key=lambda each: (-amount(each[1], resources[0]), each[0]))
        return [f"{worker} ({shares(held, resources)})" for worker, held in some]
