"""Limits of a run as a whole, as people write them: 2.5 CPUs, "0-3,8", {path = "/data", write = "50M"}."""

from __future__ import annotations

import re
from typing import Any

from rdagentd.config.kinds import FLAG, Kind, each, size, whole
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import PATH
from rdagentd.config.units import MAX_SIZE
from rdagentd.model.size import UNLIMITED
from rdagentd.model.spec import DeviceRate

_MOST_CPUS = 8192
"""CONFIG_NR_CPUS_RANGE_END of x86-64."""

_CPU_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")
_CPU_LIST = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_CPU_HINT = 'write CPUs, such as "0-3,8"'


def _cpus(value: Any) -> float | None:
    if value is None or value == UNLIMITED:
        return None
    if type(value) is str and _CPU_NUMBER.fullmatch(value):
        value = float(value)
    if type(value) is str:
        raise refused(f"{show(value)} is not a number of CPUs", "2 are two whole CPUs, 0.5 is half of one", value)
    if type(value) is not int and type(value) is not float:
        raise wrong_type("a number of CPUs", value)
    if not 0.01 <= value <= _MOST_CPUS:  # the kernel takes no less than 1 ms in 100 ms
        raise refused(f"{show(value)} is out of range", f"0.01 to {_MOST_CPUS}", value)
    return float(value)


def _cpu_list(value: Any) -> str | None:
    """Sorted out, so that equal ones are equal texts."""
    if value is None:
        return None
    if type(value) is int and value >= 0:
        value = str(value)
    if type(value) is not str:
        raise wrong_type("CPUs", value, _CPU_HINT)
    chosen: set[int] = set()
    for part in value.split(",")[:_MOST_CPUS]:
        found = _CPU_LIST.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < _MOST_CPUS:
            raise refused(f"{show(value)} is not a list of CPUs", _CPU_HINT, value)
        chosen.update(range(first, last + 1))
    return _ranges(sorted(chosen))


def _ranges(cpus: list[int]) -> str:
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def optional(kind: Kind) -> Kind:
    """The same, or None or "unlimited" for no limit."""
    return Kind(
        f'{kind.says}, or "{UNLIMITED}"',
        lambda value: None if value is None or value == UNLIMITED else kind.parse(value),
    )


def _nothing(rate: DeviceRate) -> str:
    chosen = (rate.read, rate.write, rate.read_ops, rate.write_ops)
    return "" if any(one is not None for one in chosen) else "limits nothing: give read, write, read_ops or write_ops"


_RATE = optional(size(1))
_OPS = optional(whole(1, MAX_SIZE))

DEVICE_RATE = Section(
    DeviceRate,
    {
        "path": (PATH, "A block device, or anything in the file system on it."),
        "read": (_RATE, "Bytes read from it a second."),
        "write": (_RATE, "Bytes written to it a second."),
        "read_ops": (_OPS, "Read operations a second."),
        "write_ops": (_OPS, "Write operations a second."),
    },
    conflicts=(Conflict("path", ("read", "write", "read_ops", "write_ops"), _nothing),),
)

MEMORY = optional(size(1 << 20))
SWAP = optional(size(0))
CPUS = Kind('number of CPUs, at least 0.01, or "unlimited"', _cpus)
CPU_LIST = Kind("numbers and ranges of CPUs", _cpu_list)
WEIGHT = Kind("whole number, 1 to 10000", lambda value: None if value is None else whole(1, 10_000).parse(value))
TASKS = optional(whole(1, 1 << 22))
DEVICE_RATES = Kind(
    "list of `{path, read, write, read_ops, write_ops}`", each(Kind("table", DEVICE_RATE.parse), 16).parse
)
REQUIRE = Kind("true or false", lambda value: None if value is None else FLAG.parse(value))
