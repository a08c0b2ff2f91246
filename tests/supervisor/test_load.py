"""How busy the host is, as far as a test can know."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from rdagentd.supervisor import load
from rdagentd.supervisor.load import Load, LoadMeter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, and what the CPUs have done until then, in seconds."""
    kept = SimpleNamespace(now=1000.0, user=0.0, idle=0.0, guest=0.0)
    monkeypatch.setattr(load.time, "monotonic", lambda: kept.now)
    monkeypatch.setattr(
        psutil,
        "cpu_times",
        lambda: SimpleNamespace(
            user=kept.user, nice=0.0, system=0.0, idle=kept.idle, iowait=0.0, irq=0.0, softirq=0.0, steal=0.0,
            guest=kept.guest, guest_nice=0.0,
        ),
    )  # fmt: skip
    return kept


def test_cpus_are_told_from_one_reading_to_the_next(clock: SimpleNamespace, tmp_path: Path) -> None:
    meter = LoadMeter(str(tmp_path))
    clock.user, clock.idle = 25.0, 75.0
    assert meter.read().cpu == 25.0, "since boot"
    clock.now, clock.user, clock.idle = 1010.0, 45.0, 75.0
    assert meter.read().cpu == 100.0
    clock.now, clock.user, clock.idle, clock.guest = 1020.0, 45.0, 95.0, 20.0
    assert meter.read().cpu == 0.0, "what a guest used is in what user programs used"


def test_two_readings_at_once_tell_the_same(clock: SimpleNamespace, tmp_path: Path) -> None:
    meter = LoadMeter(str(tmp_path))
    clock.user, clock.idle = 50.0, 50.0
    assert meter.read().cpu == 50.0
    clock.now, clock.user = 1000.5, 50.01
    assert meter.read().cpu == 50.0
    clock.now = 1001.5
    assert meter.read().cpu == pytest.approx(100.0)
    clock.now = 1003.0
    assert meter.read().cpu == pytest.approx(100.0), "a clock of the kernel that stands still tells nothing new"


def test_the_host_as_it_is(tmp_path: Path) -> None:
    found = LoadMeter(str(tmp_path)).read()
    usage = shutil.disk_usage(tmp_path)
    assert found.cpu is not None and 0 <= found.cpu <= 100
    assert found.memory is not None and 0 < found.memory < 100
    assert found.disk == pytest.approx(100 * usage.used / (usage.used + usage.free), abs=1)


def test_what_cannot_be_read_is_not_told() -> None:
    assert LoadMeter("/no/such/directory").read() == Load()
