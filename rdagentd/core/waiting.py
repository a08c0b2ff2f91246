"""Why a queued worker does not run yet, in words, and how far off it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rdagentd.core.pool import level, share
from rdagentd.core.pressure import Pressure
from rdagentd.core.queue import Queue
from rdagentd.model.container import Way
from rdagentd.model.worker import Reason, Worker

_NAMED = 5
"""Most names in a sentence."""


def waits_for(worker: Worker, queue: Queue, pressure: Pressure, ways: Collection[Way]) -> Reason:
    """The code is what it waits for: pressure, slot, memory, cpu, disk, gpus; or `never`."""
    never = queue.ledger.never(worker.spec.requests)
    if never:
        return Reason("never", f"cannot ever start: {never}")
    if pressure.reason:
        return pressure.reason
    lack = queue.lack(worker, ways)
    if lack.resources and not lack.slot:
        return Reason(
            lack.resources[0], f"waits for {'; for '.join(_resources(worker, queue, lack.resources, lack.ahead))}"
        )
    group, ahead = worker.spec.queue.group, queue.ahead(worker)
    text = f"waits for a slot of group {group} ({queue.taken(group)} of {queue.slots(group)} taken"
    return Reason("slot", f"{text}, {ahead} ahead of it)" if ahead else f"{text}, next in line)")


def _resources(worker: Worker, queue: Queue, names: Collection[str], ahead: Sequence[str]) -> list[str]:
    """Each that it lacks: how much it wants, how much is free, and who has the first claim to that."""
    ledger = queue.ledger
    wanted, free = ledger.resolved(worker.spec.requests), ledger.free()
    told = []
    for name in names:
        text = f"{share(wanted, name)}: {level(name, free.has(name))} of {level(name, ledger.all.has(name))} are free"
        claimed = name not in free.lacks(wanted)
        told.append(f"{text}, kept for {', '.join(ahead[:_NAMED])}{' …' * (len(ahead) > _NAMED)}" if claimed else text)
    return told
