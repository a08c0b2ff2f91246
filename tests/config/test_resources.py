"""Limits of a run as a whole: the ways to write them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.model.spec import DeviceRate, Limits

from .reading import decode, refusal


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ({"memory": "4G", "memory_high": "3G", "swap": 0}, Limits(memory=4 << 30, memory_high=3 << 30, swap=0)),
        ({"memory": "unlimited", "swap": "unlimited"}, Limits()),
        ({"cpu": 2}, Limits(cpu=2.0)), ({"cpu": "0.5"}, Limits(cpu=0.5)), ({"cpu": "unlimited"}, Limits()),
        ({"cpuset": "3,0-1, 2,8"}, Limits(cpuset="0-3,8")), ({"cpuset": 1}, Limits(cpuset="1")),
        ({"cpuset": "0,2,4"}, Limits(cpuset="0,2,4")),
        ({"tasks": "512", "cpu_weight": "50", "io_weight": 1}, Limits(tasks=512, cpu_weight=50, io_weight=1)),
        ({"io_max": [{"path": "/data", "write": "50M"}, {"path": "/dev/vda", "read_ops": 9, "read": "unlimited"}]},
         Limits(io_max=(DeviceRate("/data", write=50 << 20), DeviceRate("/dev/vda", read_ops=9)))),
        ({"require": True}, Limits(require=True)), ({"require": None}, Limits()),
    ],
)  # fmt: skip
def test_ways_to_write_a_limit_of_the_whole_run(written: dict[str, Any], limits: Limits) -> None:
    spec = decode(limits=written)
    assert spec.limits == limits
    assert decode_spec(encode_spec(spec)) == spec


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"memory": "1K"}, "memory: '1K' is too small (at least 1048576 bytes)"),
        ({"memory": "1G", "memory_high": "2G"}, "memory_high: 2 GiB is more than the memory of 1 GiB"),
        ({"cpu": 0}, "cpu: 0 is out of range (0.01 to 8192)"),
        ({"cpu": float("nan")}, "cpu: nan is out of range (0.01 to 8192)"),
        ({"cpu": "two"}, "cpu: 'two' is not a number of CPUs (2 are two whole CPUs, 0.5 is half of one)"),
        ({"cpu": True}, "cpu: expected a number of CPUs, not true or false"),
        ({"cpuset": "3-1"}, "cpuset: '3-1' is not a list of CPUs (write CPUs, such as \"0-3,8\")"),
        ({"cpuset": "0-9999"}, "cpuset: '0-9999' is not a list of CPUs (write CPUs, such as \"0-3,8\")"),
        ({"cpuset": ""}, "cpuset: '' is not a list of CPUs (write CPUs, such as \"0-3,8\")"),
        ({"cpu_weight": 0}, "cpu_weight: 0 is out of range (1 to 10000)"),
        ({"tasks": 0}, f"tasks: 0 is out of range (1 to {1 << 22})"),
        ({"io_max": {"path": "/"}}, "io_max: expected a list, not a table"),
        ({"io_max": [{"path": "/"}]}, "io_max[0].path: limits nothing: give read, write, read_ops or write_ops"),
        ({"io_max": [{"path": "x", "read": 1}]}, "io_max[0].path: 'x' is relative (give the whole path, from /)"),
        ({"io_max": [{"read": 1}]}, "io_max[0].path: missing"),
        ({"mem": "4G"}, "mem: unknown key (did you mean memory?)"),
        ({"require": 1}, "require: expected true or false, not a whole number"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_limit_of_the_whole_run(limits: dict[str, Any], told: str) -> None:
    assert refusal(limits=limits) == [f"limits.{told}"]
