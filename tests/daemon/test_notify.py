"""What systemd is told, and when: sd_notify(3)."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import LiveDaemon


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)
        self.told: list[dict[str, str]] = []

    def hear(self, key: str) -> dict[str, str]:
        """The next message with this key; those before it are kept in `told`."""
        while True:
            message = dict(line.split("=", 1) for line in self.socket.recv(65536).decode().splitlines())
            self.told.append(message)
            if key in message:
                return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


def test_why_it_cannot_start_is_told(daemon: LiveDaemon, manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text("keep_runs = 0\nkep_events = 1\n")
    daemon.start("--config", str(config), env={"NOTIFY_SOCKET": str(manager.path)}, ready=False)
    assert manager.hear("STATUS")["STATUS"].startswith(f"cannot read {config}: keep_runs: 0 is out of range")
    assert daemon.wait() == 78


def test_the_life_of_a_unit(daemon: LiveDaemon, manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text("")
    daemon.start("--config", str(config), env={"NOTIFY_SOCKET": str(manager.path)}, ready=False)
    assert manager.hear("READY") == {"READY": "1", "STATUS": "idle"}
    client = daemon.connect()
    assert client.call("version")["executor"] is not None, "ready means that workers can be started"
    client = daemon.client()
    assert daemon.process is not None

    before = time.monotonic_ns() // 1000
    daemon.process.send_signal(signal.SIGHUP)
    reloading = manager.hear("RELOADING")
    assert reloading["RELOADING"] == "1"
    assert 0 <= int(reloading["MONOTONIC_USEC"]) - before < 30e6
    assert manager.hear("READY")["READY"] == "1"

    config.write_text("keep_runs = 0\nkep_events = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING")
    while (said := manager.hear("STATUS")["STATUS"]) == "idle":
        pass
    assert said.startswith(f"cannot reload: cannot read {config}: keep_runs: 0 is out of range")
    assert said.endswith("the configuration stays as it was")
    assert manager.hear("READY") == {"READY": "1"}

    config.write_text("")
    daemon.process.send_signal(signal.SIGHUP)
    assert manager.hear("STATUS") == {"STATUS": "idle"}

    client.submit("patient", "sleep", "1000", stop={"signals": ["SIGINT", "SIGTERM"], "interval": 50, "grace": 850})
    client.wait("patient", until="running")
    daemon.process.send_signal(signal.SIGTERM)
    assert manager.hear("STOPPING") == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": str((50 + 850 + 60) * 1_000_000)}
    assert daemon.wait() == 0
    assert [message for message in manager.told if "STOPPING" in message] == manager.told[-1:]


IMPATIENT = """
import sys
import rdagentd.daemon
from rdagentd.cli import main
rdagentd.daemon._EXECUTOR_PATIENCE = 0.2
sys.exit(main(sys.argv[1:]))
"""


def test_without_an_executor_it_is_ready_later_and_says_so(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "rdagentd.toml").write_text("")
    places = {
        "state-dir": tmp_path, "log-dir": tmp_path, "socket": tmp_path / "s", "executor-socket": tmp_path / "none",
        "config": tmp_path / "rdagentd.toml",
    }  # fmt: skip
    arguments = [word for key, value in places.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-c", IMPATIENT, "serve", *arguments]
    process = subprocess.Popen(command, env={"NOTIFY_SOCKET": str(manager.path)}, cwd=Path(__file__).parents[2])
    try:
        assert manager.hear("READY") == {"READY": "1", "STATUS": "no executor"}
        process.terminate()
        assert manager.hear("STOPPING") == {"STOPPING": "1"}, "its workers are not its own to end"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
