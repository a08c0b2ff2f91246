"""Reading the pressure on the host."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from rdagentd.core import events as ev
from rdagentd.model.requests import Thresholds
from rdagentd.supervisor.gauge import Gauge, averages, stalls

OFF = Thresholds(memory_10s=None, memory_60s=None)
TEXT = "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=9.00 avg60=9.00 avg300=9.00 total=1\n"


def test_the_trigger_is_the_lower_threshold_over_ten_seconds() -> None:
    assert stalls(Thresholds()) == {"memory": 1_000_000}
    assert stalls(Thresholds(cpu_60s=100.0, io_10s=33.3)) == {"cpu": 10_000_000, "memory": 1_000_000, "io": 3_330_000}
    assert stalls(OFF) == {}


def test_it_reads_what_the_kernel_writes() -> None:
    assert averages("io", TEXT) == {"io_10s": 1.5, "io_60s": 0.25}
    for wrong in ("", "some avg10=x avg60=1", "full avg10=1.0"):
        with pytest.raises(ValueError, match=r"could not convert|required"):
            averages("io", wrong)


def test_a_reading_is_told_with_what_led_to_it(tmp_path: Path) -> None:
    told: list[ev.Event] = []
    (tmp_path / "memory").write_text(TEXT)
    gauge = Gauge(told.append, Thresholds(), tmp_path)
    gauge.look(triggered=True)
    read = {"memory_10s": 1.5, "memory_60s": 0.25}
    assert told == [ev.PressureRead(read), ev.PressureRead(read, True)]


def test_what_cannot_be_seen_is_told_once(tmp_path: Path) -> None:
    told: list[ev.Event] = []
    gauge = Gauge(told.append, Thresholds(), tmp_path)
    gauge.look()
    text = f"pressure on this host is not seen: cannot read {tmp_path}/memory: No such file or directory"
    assert told == [ev.PressureUnseen(text), ev.PressureRead({}), ev.PressureRead({})]
    (tmp_path / "memory").write_text("no pressure\n")
    gauge.look()
    assert "it is not what psi.rst says" in told[-2].problem  # type: ignore[union-attr]
    (tmp_path / "memory").write_text(TEXT)
    gauge.look()
    assert told[-2] == ev.PressureUnseen("")
    gauge.unseen("no triggers")
    gauge.look()
    assert told[-2] == ev.PressureUnseen("no triggers"), "it can be read, but nobody calls"
    gauge.unseen("")
    gauge.watch(OFF)
    assert told[-2:] == [ev.PressureUnseen(""), ev.PressureRead({})]


def test_it_looks_at_the_time_that_was_set_last(tmp_path: Path) -> None:
    async def test() -> None:
        told: asyncio.Queue[ev.Event] = asyncio.Queue()
        gauge = Gauge(told.put_nowait, OFF, tmp_path)
        told.get_nowait()
        gauge.look_at(time.monotonic() + 3600)
        gauge.look_at(time.monotonic())
        assert await asyncio.wait_for(told.get(), 20) == ev.PressureRead({})
        assert not [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]

    asyncio.run(test())
