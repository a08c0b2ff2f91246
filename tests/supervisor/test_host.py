"""What the host has to give away: found, configured, and less what is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdagentd.config.host import Host, Reserve
from rdagentd.model.requests import Capacity, Gpu
from rdagentd.supervisor import host as found
from rdagentd.supervisor.host import capacity

NOTHING_KEPT = Reserve(0, 0.0, 0)
FIRST, SECOND = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-00000000-1111-2222-3333-444444444444"
LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
  MIG 1g.5gb     Device  0: (UUID: MIG-11111111-d72c-4106-c12f-20bd9faed9f6)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {SECOND})
"""


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without GPUs, whatever this one has."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(found, "DRIVER", tmp_path / "driver")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def program(directory: Path, text: str) -> None:
    path = directory / "bin" / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def driver(directory: Path, **gpus: str) -> None:
    for bus, text in gpus.items():
        place = directory / "driver" / bus
        place.mkdir(parents=True)
        (place / "information").write_text(text)


def test_by_default_it_is_what_is_found_less_the_reserve(tmp_path: Path) -> None:
    there = capacity(Host(reserve=NOTHING_KEPT), str(tmp_path))
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    assert there.memory == total and there.cpu == os.cpu_count() and there.gpus == ()
    stat = os.statvfs(tmp_path)
    assert there.disk == stat.f_blocks * stat.f_frsize
    assert there.memory - capacity(Host(), str(tmp_path)).memory == 512 << 20


def test_what_is_configured_counts_and_a_reserve_takes_no_more_than_there_is(tmp_path: Path) -> None:
    host = Host(1 << 20, 2.0, 5 << 30, ("0",), Reserve(memory=2 << 20, cpu=0.5, disk=1 << 30))
    assert capacity(host, str(tmp_path)) == Capacity(0, 1.5, 4 << 30, (Gpu("0"),))


def gpus(directory: Path, chosen: tuple[str, ...] | None = None) -> tuple[Gpu, ...]:
    return capacity(Host(gpus=chosen), str(directory)).gpus


def test_gpus_are_those_of_the_driver_in_the_order_of_the_bus(tmp_path: Path) -> None:
    driver(
        tmp_path,
        **{"0000:c1:00.0": f"Model: \t\t A100\nGPU UUID: \t {SECOND}\n", "0000:41:00.0": "GPU UUID: GPU-????????\n"},
    )
    program(tmp_path, "exit 1")
    assert gpus(tmp_path) == (Gpu("0"), Gpu("1", SECOND))


def test_else_those_that_nvidia_smi_lists(tmp_path: Path) -> None:
    program(tmp_path, f"[ $1 = -L ] && cat <<'E'\n{LISTED}E")
    assert gpus(tmp_path) == (Gpu("0", FIRST), Gpu("1", SECOND))


def test_those_that_are_chosen_are_known_by_either_name_and_are_one(tmp_path: Path) -> None:
    program(tmp_path, f"cat <<'E'\n{LISTED}E")
    assert gpus(tmp_path, (SECOND, "1", "MIG-1")) == (Gpu("1", SECOND), Gpu("MIG-1"))
    assert gpus(tmp_path, ()) == ()


@pytest.mark.parametrize("text", ["echo broken driver >&2; exit 9", "echo No devices were found", "exec sleep 60"])
def test_a_driver_that_is_broken_is_told_and_gives_no_gpus(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in text:
        monkeypatch.setattr(found, "_PATIENCE", 0.2)
    program(tmp_path, text)
    assert gpus(tmp_path) == ()
    assert ("no GPU is leased: cannot ask" in caplog.text) == ("No devices" not in text)
