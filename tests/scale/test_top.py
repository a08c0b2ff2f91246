"""top over a thousand workers: right, and what it costs. Figures are printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness import LiveDaemon
from tests.rdagentctl.conftest import CTL, environment
from tests.scale.test_scale import COUNT, PATIENCE, submit_all
from tests.terminal import Terminal

END, DOWN = "\x1b[F", "\x1b[B"
SPAN = 10.0
"""Seconds over which CPU is measured."""

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(seen: Terminal, what: str, pids: dict[str, int]) -> None:
    """Prints what each program uses while top does what it does."""
    seen.run_for(2.0)  # beginning is not what is measured
    before, written = {name: cpu(pid) for name, pid in pids.items()}, seen.written
    seen.run_for(SPAN)
    used = ", ".join(f"{name} {(cpu(pid) - before[name]) / SPAN * 1000:.0f} ms" for name, pid in pids.items())
    print(f"{what}: CPU per second: {used}; {(seen.written - written) / SPAN:.0f} bytes per second to the terminal")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousand_workers_are_shown_sorted_and_steered(daemon: LiveDaemon) -> None:
    client = daemon.start()
    assert client is not None
    client.socket.settimeout(PATIENCE)
    submit_all(client, [{"name": f"w{number:04}", "command": ["sleep", "1000"]} for number in range(COUNT - 1)])
    client.submit("busy", "sh", "-c", "while :; do :; done", nice=10)
    client.wait("*", until="running")
    with Terminal([*CTL, "--socket", str(daemon.socket), "top"], 120, 50, **environment()) as seen:
        seen.see("workers  1000   1000 running", "busy", "w0042")
        assert daemon.process is not None
        pids = {"top": seen.process.pid, "daemon": daemon.process.pid, "executor": min(daemon.executors)}
        measure(seen, "by state, 44 rows to be seen", pids)
        seen.type(END)
        seen.see("w0998")
        seen.type("/w05")
        seen.until(lambda: "w0500" in seen.text and "w0998" not in seen.text, "the filter")
        seen.type("\x1b")
        seen.see("w0998")
        seen.type("\x1b")
        seen.see("↑ ↓ choose")
        seen.type("C")
        seen.until(lambda: seen.lines[5].startswith("busy"), "the busiest of all on top")
        measure(seen, "by CPU, which takes the usage of all", pids)
        seen.type(DOWN)
        seen.see("s stop")
        seen.type("s")
        seen.see("stop busy?")
        seen.type("y")
        seen.see("1 stopped", "999 running")
        seen.type("q")
        assert seen.end() == 0
        assert seen.modes() == seen.modes_before
    client.verb("kill", "*")
    client.wait("*")
