"""What a run asks of the host, what the host has to give away, and when it is too busy to start anything."""

from __future__ import annotations

from attrs import frozen

ALL = ("all",)
"""Every GPU that the host has to give away."""


@frozen
class Requests:
    """What a run is promised: bytes of memory and disk, CPUs, GPUs by number, by their names, or ALL.

    Of a run that was decided on, `gpus` are the ids that it has on lease.
    """

    memory: int = 0
    cpu: float = 0.0
    disk: int = 0
    gpus: int | tuple[str, ...] = 0


NOTHING = Requests()


@frozen
class Gpu:
    """A GPU that can be leased. id: its index by PCI bus, or as the configuration calls it; uuid: its other name, if any."""

    id: str
    uuid: str = ""


@frozen
class Capacity:
    """What the host has to give away: bytes of memory and disk, CPUs, GPUs."""

    memory: int = 0
    cpu: float = 0.0
    disk: int = 0
    gpus: tuple[Gpu, ...] = ()


NO_CAPACITY = Capacity()


@frozen
class Thresholds:
    """Per cent of the time in which some program waited for a resource, averaged over 10 or 60 seconds, above which nothing
    new is started; None: no threshold. As the kernel counts it: Documentation/accounting/psi.rst.

    CPU and I/O have none by default: one busy program more than there are CPUs, or one that reads a disk, is 100 %, and harms
    nobody; a host that lacks memory gets worse by each start.
    """

    cpu_10s: float | None = None
    cpu_60s: float | None = None
    memory_10s: float | None = 20.0
    memory_60s: float | None = 10.0
    io_10s: float | None = None
    io_60s: float | None = None
