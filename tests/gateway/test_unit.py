"""The unit: what systemd says of it where it is not started, and the program as systemd runs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.gateway.client import LiveGateway
from tests.harness import DEADLINE

UNIT = Path(__file__).parents[2] / "packaging/systemd/rdagentd-gateway.service"


@pytest.fixture
def analyze() -> str:
    """systemd-analyze of systemd 250 or newer."""
    found = shutil.which("systemd-analyze")
    if found is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no systemd-analyze: install systemd")
    return found


def test_the_unit_is_confined(analyze: str) -> None:
    command = [analyze, "security", "--no-pager", "--offline=yes", "--threshold=15", str(UNIT)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_systemd_finds_nothing_wrong_with_the_unit(analyze: str, tmp_path: Path) -> None:
    here = UNIT.read_text().replace("/usr/sbin/rdagentd", "/bin/true")
    (tmp_path / UNIT.name).write_text(here)
    command = [analyze, "verify", "--man=no", str(tmp_path / UNIT.name)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_it_tells_systemd_that_it_is_ready_that_it_lives_and_that_it_leaves(tmp_path: Path) -> None:
    live = LiveGateway(tmp_path, tmp_path / "no.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        live.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        try:
            assert manager.recv(4096).decode() == f"READY=1\nSTATUS={', '.join(live.urls)}"
            assert {manager.recv(4096) for _ in range(3)} == {b"WATCHDOG=1"}
            assert live.process is not None
            live.process.terminate()
            while manager.recv(4096) != b"STOPPING=1":  # the queue is short, and who tells waits for room in it
                pass
            manager.close()
            assert live.process.wait(DEADLINE) == 0
        finally:
            live.close()
