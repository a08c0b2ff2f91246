"""The limits of a run as a whole: what they are in a cgroup, and which of them cannot be enforced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from rdagentd.model.spec import DeviceRate, Limits

_PERIOD = 100_000
"""Microseconds over which CPU time is measured: what the kernel takes by default."""

_RATES = {"read": "rbps", "write": "wbps", "read_ops": "riops", "write_ops": "wiops"}


def _cpu(cpus: float) -> str:
    return f"{round(cpus * _PERIOD)} {_PERIOD}"


def _io_max(rates: Sequence[DeviceRate]) -> str:
    """The executor puts the device in the place of the path."""
    lines = []
    for rate in rates:
        chosen = {word: getattr(rate, field) for field, word in _RATES.items()}
        words = [f"{word}={value}" for word, value in chosen.items() if value is not None]
        lines.append(" ".join([*words, rate.path]))
    return "\n".join(lines)


_FILES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "memory": ("memory.max", str),
    "memory_high": ("memory.high", str),
    "swap": ("memory.swap.max", str),
    "cpu": ("cpu.max", _cpu),
    "cpu_weight": ("cpu.weight", str),
    "cpuset": ("cpuset.cpus", str),
    "tasks": ("pids.max", str),
    "io_weight": ("io.weight", str),
    "io_max": ("io.max", _io_max),
}
"""Field → file of the cgroup, and how its value is written there; cgroups(7), Documentation/admin-guide/cgroup-v2.rst."""


@frozen
class Unmet:
    """A limit that cannot be enforced. required: its runs are refused. text: a sentence without its end."""

    field: str
    required: bool
    text: str


def cgroup_values(limits: Limits, files: Collection[str]) -> dict[str, str]:
    """What is to be written for these limits, into files that are there. A run that is out of memory ends as a whole."""
    values = {file: write(value) for _, file, write, value in _asked(limits) if file in files}
    return {**values, "memory.oom.group": "1"} if "memory.max" in values else values


def unmet(limits: Limits, enforced: Mapping[str, Any]) -> list[Unmet]:
    """Which limits there are no files for. enforced: `files`, and `problem`: why there are no more; as the executor says."""
    found = []
    for field, file, _, _ in _asked(limits):
        if file not in enforced["files"]:
            required = limits.require if limits.require is not None else field == "memory"
            problem = enforced["problem"] or f"this kernel has no {file}"
            follows = (
                "so no run is started; set limits.require = false to go without it" if required else "runs go without"
            )
            found.append(Unmet(field, required, f"limits.{field} cannot be enforced: {problem}; {follows}"))
    return found


def _asked(limits: Limits) -> Iterator[tuple[str, str, Callable[[Any], str], Any]]:
    for field, (file, write) in _FILES.items():
        value = getattr(limits, field)
        if value is not None and value != ():
            yield field, file, write, value
