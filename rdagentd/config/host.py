"""What of the host may be given away, and from which pressure on it on nothing new is started."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from rdagentd.config.kinds import Kind, size
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.requests import CPU_SHARE, gpu_names
from rdagentd.config.section import Section
from rdagentd.model.requests import Thresholds

_OFF = "off"


@frozen
class Reserve:
    """What is kept for the system: bytes of memory and disk, CPUs."""

    memory: int = 512 << 20
    cpu: float = 0.0
    disk: int = 1 << 30


@frozen
class Host:
    """What there is: bytes of memory and disk, CPUs, names of GPUs; None: what is found at start."""

    memory: int | None = None
    cpu: float | None = None
    disk: int | None = None
    gpus: tuple[str, ...] | None = None
    reserve: Reserve = Reserve()


def _found(kind: Kind) -> Kind:
    return Kind(kind.says, lambda value: None if value is None else kind.parse(value))


def _per_cent(value: Any) -> float | None:
    if value is None or value == _OFF:
        return None
    if type(value) is not int and type(value) is not float:
        raise wrong_type(f'per cent, or "{_OFF}"', value)
    if not 1 <= value <= 100:
        raise refused(f"{show(value)} is out of range", f'1 to 100, or "{_OFF}"', value)
    return float(value)


HOST = Section(
    Host,
    {
        "memory": (_found(size(0)), "Memory of the host. Not given: what it has."),
        "cpu": (_found(CPU_SHARE), "CPUs of the host. Not given: what it has."),
        "disk": (_found(size(0)), "Disk space. Not given: the size of the file system of the state directory."),
        "gpus": (
            _found(Kind("list of ids", gpu_names)),
            "GPUs that may be leased, by index or id. Not given: those that the NVIDIA driver or nvidia-smi -L tells.",
        ),
        "reserve": (
            Section(
                Reserve,
                {
                    "memory": (size(0), "Memory that is given to nobody."),
                    "cpu": (CPU_SHARE, "CPUs that are given to nobody."),
                    "disk": (size(0), "Disk space that is given to nobody."),
                },
            ),
            "What is kept for the system.",
        ),
    },
)

_PER_CENT = Kind(f'per cent, 1 to 100, or "{_OFF}"', _per_cent)
_WAITED = "Nothing is started while programs have waited for {} for more of the last {} seconds."
_CALLED = {"cpu": "a CPU", "memory": "memory", "io": "I/O"}

PRESSURE = Section(
    Thresholds,
    {
        f"{resource}_{seconds}s": (_PER_CENT, _WAITED.format(called, seconds))
        for resource, called in _CALLED.items()
        for seconds in (10, 60)
    },
)
