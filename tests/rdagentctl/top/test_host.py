"""What /proc tells."""

from __future__ import annotations

import os

from rdagentctl.top.host import Host, cpu_ticks, memory, program


def test_files_of_proc_are_read_as_proc_5_says() -> None:
    assert cpu_ticks("cpu  100 10 50 800 40 5 5 7 0 0\ncpu0 1 2\n") == (170, 1010)
    assert memory("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n") == (750 * 1024, 1000 * 1024)
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    fields = " ".join(["S", *["0"] * 10, str(3 * ticks), str(2 * ticks), *["0"] * 8, "25"])
    assert program(f"42 (a ) b) {fields} 0 0\n") == (5.0, 25 * page)


def test_the_second_look_knows_shares() -> None:
    host = Host()
    first = host.look({"daemon": os.getpid(), "executor": None, "gone": 1 << 30})
    assert first["cpu"] is None
    assert first["programs"]["gone"] == {"cpu": None, "memory": None}
    assert set(first["programs"]) == {"daemon", "gone"}
    begin = os.times()
    while sum(os.times()[:2]) - sum(begin[:2]) < 0.1:  # the clock of /proc/stat ticks a hundred times a second
        pass
    second = host.look({"daemon": os.getpid(), "executor": None})
    assert 0 < second["cpu"] <= 1
    assert second["programs"]["daemon"]["cpu"] > 0
    assert second["programs"]["daemon"]["memory"] > 1 << 20
    assert second["cpus"] == os.cpu_count()
    assert 0 < second["memory"][0] < second["memory"][1]
