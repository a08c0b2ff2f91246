"""What a run asks of the host, as people write it: "2G", 0.5 CPUs, two GPUs or those of these names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rdagentd.config.kinds import Kind, collect, size, whole
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.resources import CPUS
from rdagentd.config.section import Conflict, Section
from rdagentd.model.requests import ALL, Requests
from rdagentd.model.size import format_size
from rdagentd.model.spec import Spec

_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,63}")
_GPU_HINT = 'an index such as "0", or an id as nvidia-smi -L tells it'
_MOST_GPUS = 64
_GPU_COUNT = whole(0, _MOST_GPUS)


def _cpus(value: Any) -> float:
    if value in (0, "0") and type(value) is not bool:
        return 0.0
    parsed = CPUS.parse(value)
    if parsed is None:
        raise refused("cannot be unlimited", "write a number of CPUs", value)
    return float(parsed)


def _gpu(value: Any) -> str:
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise wrong_type("a GPU", value, _GPU_HINT)
    if not _GPU.fullmatch(value) or (value,) == ALL:
        raise refused(f"{show(value)} is not a GPU", _GPU_HINT, value)
    return value


def gpu_names(value: Any) -> tuple[str, ...]:
    """Names of GPUs, each once."""
    if type(value) is not list and type(value) is not tuple:
        raise wrong_type("a list of GPUs", value)
    if len(value) > _MOST_GPUS:
        raise refused(f"has {len(value)} values", f"at most {_MOST_GPUS}")
    return tuple(dict.fromkeys(collect(_gpu, value)))


def _gpus(value: Any) -> int | tuple[str, ...]:
    if value == ALL[0] or value in (list(ALL), ALL):
        return ALL
    if type(value) is list or type(value) is tuple:
        return gpu_names(value) or 0
    if type(value) is bool or type(value) not in (int, str):
        raise wrong_type('a number of GPUs, "all", or a list of their ids', value)
    return int(_GPU_COUNT.parse(value))


CPU_SHARE = Kind("number of CPUs, 0 or at least 0.01", _cpus)

REQUESTS = Section(
    Requests,
    {
        "memory": (size(0), "Memory that it counts on."),
        "cpu": (CPU_SHARE, "CPUs that it counts on."),
        "disk": (size(0), "Disk space that it counts on."),
        "gpus": (
            Kind('number of GPUs, "all", or list of their ids', _gpus),
            "GPUs that no other run has on lease meanwhile.",
        ),
    },
    hints={
        "mem": "did you mean memory?",
        "cpus": "did you mean cpu?",
        "gpu": "did you mean gpus?",
        "tasks": "did you mean limits.tasks?",
    },
)


def _above(field: str, say: Callable[[Any], str]) -> Conflict:
    """Nobody can count on more than they may use."""

    def found(spec: Spec) -> str:
        wanted, most = getattr(spec.requests, field), getattr(spec.limits, field)
        return "" if most is None or wanted <= most else f"{say(wanted)} is more than limits.{field}, {say(most)}"

    return Conflict(f"requests.{field}", ("requests", "limits"), found)


ABOVE_LIMITS = (_above("memory", format_size), _above("cpu", lambda cpus: f"{cpus:g}"))
