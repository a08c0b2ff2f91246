"""How the daemon starts, refuses to start, and leaves."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.harness import Client, LiveDaemon, alive, eventually

CONFIG = 78


def refused(daemon: LiveDaemon, *extra: str, code: int = 1) -> str:
    """What it says when it does not start."""
    daemon.start(*extra, ready=False)
    assert daemon.wait() == code, daemon.said()
    said = daemon.said()
    assert "Traceback" not in said
    return said


def test_a_second_daemon_on_the_same_state_names_the_first(daemon: LiveDaemon, client: Client, tmp_path: Path) -> None:
    second = LiveDaemon(daemon.state.parent)
    second.errors = tmp_path / "second.log"
    assert daemon.process is not None
    said = refused(second)
    assert f"cannot start: another rdagentd (pid {daemon.process.pid}) uses" in said
    assert client.call("ping")["pid"] == daemon.process.pid


def test_sigterm_stops_the_workers_and_the_executor_leaves(daemon: LiveDaemon, client: Client) -> None:
    client.submit("w", "/bin/sleep", "1000", restart={"policy": "always"})
    client.submit("never", "/bin/sleep", "1000")
    pids = [row["run"]["pid"] for row in client.wait("w", "never", until="running")]
    (executor,) = daemon.executors
    assert daemon.terminate() == 0
    assert not any(map(alive, pids))
    eventually(lambda: not alive(executor), "the executor, which has hung up, to be gone")
    again = daemon.start()
    assert again is not None
    (row,) = again.wait("w", until="running")
    assert row["want"] == "up" and row["restarts"] == 0
    assert again.worker("never")["state"] == "stopped"
    assert "interrupted" in again.worker("never")["reason"]["text"]


PATIENT = """
import sys
import rdagentd.drivers.process
from rdagentd.cli import main
rdagentd.drivers.process._LEAVE = 50
sys.exit(main(sys.argv[4:]))
"""
"""In front of `python -m rdagentd`: a daemon that waits longer for an executor which it has only just started."""


def test_sigterm_right_after_the_start_leaves_no_executor_behind(daemon: LiveDaemon) -> None:
    daemon.prefix = [sys.executable, "-c", PATIENT]
    daemon.start(ready=False)
    daemon.connect().call("ping")  # it has come so far that it heeds signals
    assert daemon.terminate() == 0
    log = daemon.state / "executor.lock"
    if log.exists() and (pid := log.read_text().split()):
        eventually(lambda: not alive(int(pid[0])), "the executor to leave")


def test_a_second_sigterm_kills_what_does_not_want_to_go(daemon: LiveDaemon, client: Client) -> None:
    client.submit("w", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done", stop={"grace": "1h"})
    (row,) = client.wait("w", until="running")
    request = client.send("logs", name="w", follow=True)
    assert client.receive()["item"]["data"] == b"ready\n" and request
    assert daemon.process is not None
    daemon.process.terminate()
    eventually(lambda: "runs are asked to end" in daemon.said(), "the first signal to be taken up")
    assert daemon.terminate() == 0
    assert not alive(row["run"]["pid"])


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_mistake_in_the_configuration_is_named_with_its_place(daemon: LiveDaemon, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text("max_workers = 0\n[groups.gpu]\nslotz = 2\n")
    said = refused(daemon, "--config", str(config), code=CONFIG)
    assert str(config) in said and "max_workers" in said and "0" in said and "slotz" in said and "slots" in said


def test_a_configuration_that_is_missing_is_named(daemon: LiveDaemon, tmp_path: Path) -> None:
    said = refused(daemon, "--config", str(tmp_path / "nowhere.toml"), code=CONFIG)
    assert "nowhere.toml" in said and "no such file" in said


def test_a_mistake_in_workers_d_leaves_no_executor_behind(daemon: LiveDaemon, tmp_path: Path) -> None:
    (tmp_path / "rdagentd.toml").write_text("")
    (tmp_path / "workers.d").mkdir()
    (tmp_path / "workers.d" / "bad.toml").write_text("comand = ['/bin/true']\n")
    said = refused(daemon, "--config", str(tmp_path / "rdagentd.toml"), code=CONFIG)
    assert "bad.toml" in said and "comand" in said
    assert not (daemon.state / "executor.lock").exists()


def test_a_socket_path_that_is_too_long_is_refused(daemon: LiveDaemon, tmp_path: Path) -> None:
    said = refused(daemon, "--socket", str(tmp_path / ("x" * 108)))
    assert "longer than 107 bytes; choose a shorter one" in said


def test_a_socket_path_that_is_a_directory_is_refused(daemon: LiveDaemon, tmp_path: Path) -> None:
    assert f"cannot listen on {tmp_path}" in refused(daemon, "--socket", str(tmp_path))


def test_a_state_directory_that_is_a_file_is_refused(daemon: LiveDaemon) -> None:
    daemon.state.write_text("")
    assert f"cannot use state directory {daemon.state}" in refused(daemon)


STRANGER = """
import os, sys
import shutil, rdagentd.daemon, rdagentd.store.errors  # a stranger may not be able to read them later
from rdagentd.cli import main
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
sys.exit(main(["up", "--no-gateway", "--state-dir", sys.argv[1]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_state_directory_of_somebody_else_is_refused() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for state in (Path(directory), Path(directory, "new")):
            done = subprocess.run(
                [sys.executable, "-c", STRANGER, str(state)], capture_output=True, timeout=60, check=False
            )
            said = done.stderr.decode()
            assert done.returncode == 1 and "Traceback" not in said, said
            assert f"cannot use state directory {state}: Permission denied" in said


def test_a_damaged_database_is_set_aside_and_the_next_start_begins_anew(daemon: LiveDaemon, client: Client) -> None:
    client.submit("w", "/bin/true")
    client.wait("w")
    daemon.terminate()
    with (daemon.state / "state.db").open("r+b") as file:
        file.write(b"garbage" * 20)
    said = refused(daemon, code=CONFIG)
    aside = list(daemon.state.glob("state.db.damaged-*"))
    assert aside and f"it was moved, unchanged, to {aside[0]}" in said and "restore a backup" in said
    again = daemon.start()
    assert again is not None and again.status() == []


def test_a_database_of_a_newer_version_is_left_alone(daemon: LiveDaemon, client: Client) -> None:
    daemon.terminate()
    path = daemon.state / "state.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    said = refused(daemon, code=CONFIG)
    assert "it has schema 99" in said and "install the newer rdagentd" in said
    assert path.read_bytes() == before


def test_a_row_that_cannot_be_read_costs_only_its_worker(daemon: LiveDaemon, client: Client) -> None:
    client.submit("good", "/bin/sleep", "1000")
    client.submit("bad", "/bin/true")
    client.wait("bad")
    pid = client.wait("good", until="running")[0]["run"]["pid"]
    daemon.kill()
    with sqlite3.connect(daemon.state / "state.db") as database:
        database.execute("UPDATE workers SET data = x'6a756e6b' WHERE name = 'bad'")
    again = daemon.start()
    assert again is not None
    assert again.wait("good", until="running")[0]["run"]["pid"] == pid
    bad = again.worker("bad")
    assert bad["state"] == "failed" and "cannot be read from the state database" in bad["reason"]["text"]
    assert again.verb("start", "bad")[0]["error"]["code"] == "conflict"
    again.verb("remove", "bad")
    assert [row["name"] for row in again.status()] == ["good"]


class Notices:
    """What systemd would be told; read at once, because a notify socket holds only a few."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := self._socket.recv(4096):
            self._told.put(data.decode())

    def until(self, text: str) -> None:
        """Waits for a notice that holds this text; what came before is forgotten."""
        while text not in self._told.get(timeout=30):
            pass

    def close(self) -> None:
        """Ends the thread with an empty notice."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())


def test_systemd_is_told(daemon: LiveDaemon, tmp_path: Path) -> None:
    notices = Notices(tmp_path / "notify")
    try:
        daemon.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "500000"}, ready=False)
        notices.until("READY=1")
        notices.until("WATCHDOG=1")
        client = daemon.client()
        client.submit("w", "/bin/sleep", "1000")
        notices.until("STATUS=1 running")
        (executor,) = daemon.executors
        os.kill(executor, signal.SIGSTOP)
        try:
            eventually(lambda: "the executor does not answer" in daemon.said(), "the silence to be noticed")
        finally:
            os.kill(executor, signal.SIGCONT)
        notices.until("WATCHDOG=1")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        notices.until("RELOADING=1\nMONOTONIC_USEC=")
        notices.until("READY=1")
        daemon.process.terminate()
        notices.until("STOPPING=1")
        assert daemon.wait() == 0
    finally:
        notices.close()
