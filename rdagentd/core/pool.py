"""A pool: so much of each resource of the host. A value, in whole numbers, so that nothing is lost in rounding."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rdagentd.model.requests import Requests
from rdagentd.model.size import format_size

_AMOUNTS = ("memory", "cpu", "disk")
RESOURCES = (*_AMOUNTS, "gpus")


@frozen
class Pool:
    """Bytes of memory, thousandths of a CPU, bytes of disk, ids of GPUs."""

    memory: int
    cpu: int
    disk: int
    gpus: tuple[str, ...]

    def has(self, resource: str) -> int:
        """How much of it is there; of GPUs, how many."""
        return len(self.gpus) if resource == "gpus" else int(getattr(self, resource))

    def lacks(self, wanted: Requests) -> tuple[str, ...]:
        """The resources of which there is less than is wanted."""
        short = [name for name in _AMOUNTS if self.has(name) < amount(wanted, name)]
        return (*short, *(("gpus",) if len(self.pick(wanted)) < amount(wanted, "gpus") else ()))

    def pick(self, wanted: Requests) -> tuple[str, ...]:
        """The GPUs for it: those that it names, or the first ones, as far as they are there."""
        if isinstance(wanted.gpus, int):
            return self.gpus[: wanted.gpus]
        return tuple(gpu for gpu in wanted.gpus if gpu in self.gpus)

    def without(self, wanted: Requests) -> Pool:
        """What is left when it gets what it wants, as far as that is there."""
        memory, cpu, disk = (max(0, self.has(name) - amount(wanted, name)) for name in _AMOUNTS)
        picked = self.pick(wanted)
        return Pool(memory, cpu, disk, tuple(gpu for gpu in self.gpus if gpu not in picked))


NO_POOL = Pool(0, 0, 0, ())


def amount(wanted: Requests, resource: str) -> int:
    """How much of it is wanted: bytes, thousandths of a CPU, a number of GPUs."""
    value = getattr(wanted, resource)
    if isinstance(value, tuple):
        return len(value)
    return round(value * 1000) if resource == "cpu" else int(value)


# --- in words ---------------------------------------------------------------------------------------------------------


def level(resource: str, number: int) -> str:
    """A bare number of it: "3.2 GiB", "1.5", "2"."""
    return (
        format_size(number) if resource in ("memory", "disk") else f"{number / 1000 if resource == 'cpu' else number:g}"
    )


def share(wanted: Requests, resource: str) -> str:
    """What is wanted of it: "8 GiB of memory", "1.5 CPUs", "2 GPUs", "GPU 0, 3"."""
    if isinstance(wanted.gpus, tuple) and resource == "gpus":
        return f"GPU {', '.join(wanted.gpus)}"
    number = amount(wanted, resource)
    if resource in ("memory", "disk"):
        return f"{level(resource, number)} of {resource}"
    one = number == (1000 if resource == "cpu" else 1)
    return f"{level(resource, number)} {'CPU' if resource == 'cpu' else 'GPU'}{'' if one else 's'}"


def shares(wanted: Requests, resources: Sequence[str] = RESOURCES) -> str:
    """All that is wanted of these: "8 GiB of memory, 1 CPU"; "" for nothing."""
    return ", ".join(share(wanted, name) for name in resources if amount(wanted, name))
