"""What systemd tells the daemon: passed sockets, and why a stop came."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rdagentd import systemd
from rdagentd.protocol import frames
from tests.harness import LiveDaemon

LISTING = """
 1131 rdagentd.service          {} running
 1130 other.service             start   waiting
 1132 x-rdagentd.service        stop    waiting
"""


@pytest.mark.parametrize("kind", ["stop", "restart", "try-restart", "reload"])
def test_the_job_of_the_unit_is_found_among_others(kind: str) -> None:
    assert systemd.job_of("rdagentd.service", LISTING.format(kind)) == kind


def test_a_unit_without_a_job_has_none() -> None:
    assert systemd.job_of("rdagentd.service", "No jobs running.\n") is None


def test_only_a_socket_for_this_process_is_taken() -> None:
    assert systemd.passed_socket({}) is None
    assert systemd.passed_socket({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}) is None
    assert systemd.passed_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) is None


def test_the_passed_socket_is_descriptor_three(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    pid = os.fork()
    if not pid:
        os.dup2(listener.fileno(), 3)
        passed = systemd.passed_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        good = passed is not None and passed.getsockname() == str(tmp_path / "s") and not os.get_inheritable(3)
        os._exit(0 if good else 1)
    listener.close()
    assert os.waitpid(pid, 0)[1] == 0


def test_who_waits_for_a_daemon_that_cannot_start_is_told_why(tmp_path: Path) -> None:
    listener, waiting = socket.socket(socket.AF_UNIX), [socket.socket(socket.AF_UNIX) for _ in range(3)]
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    for client in waiting:
        client.connect(str(tmp_path / "s"))
        client.settimeout(20)
    waiting[0].close()
    waiting[1].send(b"a request that nobody reads")
    pid = os.fork()
    if not pid:
        os.dup2(listener.fileno(), 3)
        systemd.turn_away("cannot read x: line 3", {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    for client in waiting[1:]:
        (answer,) = frames.Decoder(frames.MAX_FRAME, None).feed(client.recv(65536))
        assert answer["error"] == {"code": "unavailable", "message": "cannot read x: line 3", "details": {"down": True}}
        client.close()
    listener.close()
    systemd.turn_away("nobody passed a socket", {})


def systemctl(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a systemctl of ours before the real one."""
    (directory / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '1 rdagentd.service restart running'", "workers run on"),
        ("echo broken >&2; exit 1", "cannot ask systemd"),
        ("true", "workers run on"),
    ],
)
def test_workers_run_on_unless_the_unit_is_stopped(
    daemon: LiveDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    script: str, said: str,
) -> None:  # fmt: skip
    client = daemon.start()
    assert client is not None
    client.submit("w", "sleep", "1000")
    client.wait("w", until="running")
    systemctl(tmp_path, monkeypatch, script)
    assert systemd.at_stop(str(daemon.socket)) == 0
    assert said in "".join(capfd.readouterr())
    assert client.worker("w")["state"] == "running"


def test_a_stop_takes_the_workers_along(daemon: LiveDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = daemon.start()
    assert client is not None
    client.submit("w", "sleep", "1000", restart="always")
    pid = client.wait("w", until="running")[0]["run"]["pid"]
    systemctl(tmp_path, monkeypatch, "echo '1 rdagentd.service stop running'")
    assert systemd.at_stop(str(daemon.socket)) == 0
    assert not Path(f"/proc/{pid}").exists()
    assert daemon.wait() == 0


def test_a_daemon_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    systemctl(tmp_path, monkeypatch, "echo '1 rdagentd.service stop running'")
    assert systemd.at_stop(str(tmp_path / "nobody.sock")) == 1
    assert "cannot stop the workers: " in capfd.readouterr().err
