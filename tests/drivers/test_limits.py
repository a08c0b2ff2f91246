"""What people ask for, as the kernel takes it; and what is said where it cannot be done."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from rdagentd.drivers.limits import _FILES, cgroup_values, unmet
from rdagentd.executor.cgroup import FILES
from rdagentd.model.spec import DeviceRate, Limits

ALL = {"files": sorted(FILES), "problem": ""}
NONE = {"files": [], "problem": "this host has no cgroups"}


@pytest.mark.parametrize(
    ("limits", "values"),
    [
        (Limits(), {}),
        (Limits(memory=64 << 20), {"memory.max": "67108864", "memory.oom.group": "1"}),
        (Limits(memory_high=1 << 20, swap=0), {"memory.high": "1048576", "memory.swap.max": "0"}),
        (Limits(cpu=2.0), {"cpu.max": "200000 100000"}), (Limits(cpu=0.5), {"cpu.max": "50000 100000"}),
        (Limits(cpu_weight=50, io_weight=10), {"cpu.weight": "50", "io.weight": "10"}),
        (Limits(cpuset="0-1", tasks=512), {"cpuset.cpus": "0-1", "pids.max": "512"}),
        (Limits(io_max=(DeviceRate("/a b", 1, 2, 3, 4), DeviceRate("/dev/vda", write=5))),
         {"io.max": "rbps=1 wbps=2 riops=3 wiops=4 /a b\nwbps=5 /dev/vda"}),
    ],
)  # fmt: skip
def test_limits_as_the_kernel_takes_them(limits: Limits, values: dict[str, str]) -> None:
    assert cgroup_values(limits, FILES) == values
    assert unmet(limits, ALL) == []
    assert cgroup_values(limits, ()) == {}


def test_every_file_is_one_that_the_executor_allows() -> None:
    assert {file for file, _ in _FILES.values()} | {"memory.oom.group"} == FILES
    whole = {field.name for field in attrs.fields(Limits) if "Rlimit" not in str(field.type)}
    assert whole - {"require"} == set(_FILES)


@pytest.mark.parametrize(
    ("limits", "required"),
    [
        (Limits(memory=1 << 20, tasks=5), {"memory": True, "tasks": False}),
        (Limits(memory=1 << 20, require=False), {"memory": False}),
        (Limits(cpu=1.0, require=True), {"cpu": True}),
        (Limits(require=True), {}),
    ],
)
def test_which_of_them_are_required(limits: Limits, required: dict[str, bool]) -> None:
    assert {limit.field: limit.required for limit in unmet(limits, NONE)} == required


@pytest.mark.parametrize(
    ("limits", "enforced", "text"),
    [
        (Limits(memory=1 << 20), NONE, "limits.memory cannot be enforced: this host has no cgroups; so no run is started; "
         "set limits.require = false to go without it"),
        (Limits(io_weight=1), {"files": ["io.max"], "problem": ""},
         "limits.io_weight cannot be enforced: this kernel has no io.weight; runs go without"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_and_what_to_do(limits: Limits, enforced: dict[str, Any], text: str) -> None:
    assert [limit.text for limit in unmet(limits, enforced)] == [text]
