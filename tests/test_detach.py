"""`up --detach`, `status`, `down`: a daemon without a terminal, started by somebody who waits until it is ready."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness import Client, alive, end_process, eventually

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs `rdagentd PROGRAM --state-dir …`; what was started is ended afterwards."""

    def call(program: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rdagentd", program, "--state-dir", "state", *more]
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    yield call
    call("down")
    lock = tmp_path / "state" / "executor.lock"
    if lock.exists() and lock.read_text():
        end_process(int(lock.read_text().split()[0]), b"rdagentd.executor")


def proc(pid: int, what: str) -> list[str]:
    return Path(f"/proc/{pid}/{what}").read_text().rpartition(")")[2].split()


def test_it_leaves_the_terminal_and_is_ready_when_its_starter_is_done(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("log_level = 'info'\n")
    started = run("up", "--no-gateway", "--detach", "--config", "config.toml", "--socket", "s")
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    client = Client(tmp_path / "s")
    assert client.call("version")["executor"] is not None, "ready is with an executor"
    pid = client.call("ping")["pid"]
    parent, group, session, terminal = (int(field) for field in proc(pid, "stat")[1:5])
    assert parent != os.getpid() and terminal == 0
    assert group == session == os.getpgid(pid) != os.getpgid(0) and session != pid, "it can get no terminal again"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert "Umask:\t0027" in Path(f"/proc/{pid}/status").read_text()
    log = str(tmp_path / "state" / "daemon.log")
    assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == ["/dev/null", log, log]
    eventually(lambda: "ready on" in Path(log).read_text(), "its log")
    assert not [link for link in links(pid) if "pipe" in link]
    assert "Max core file size        0 " not in Path(f"/proc/{pid}/limits").read_text() or limited()
    assert client.submit("w", "sleep", "1000")["state"]
    client.wait("w", until="running")
    worker = client.worker("w")["run"]["pid"]
    status = run("status")
    assert (status.returncode, status.stdout) == (0, f"rdagentd runs in {tmp_path}/state as process {pid}\n")
    second = run("up", "--no-gateway", "--detach")
    assert second.returncode == 1
    assert second.stderr.startswith(f"rdagentd: cannot start: another rdagentd (pid {pid}) uses ")
    down = run("down")
    assert (down.returncode, down.stdout) == (0, f"rdagentd does not run in {tmp_path}/state\n")
    assert not alive(pid) and not alive(worker)
    assert run("status").returncode == 3 and run("down").returncode == 0


def links(pid: int) -> Iterator[str]:
    """What its descriptors are; some live for a moment only."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            yield os.readlink(f"/proc/{pid}/fd/{fd}")


def limited() -> bool:
    """Whether core files are forbidden here anyway."""
    return "Max core file size        0 " in Path("/proc/self/limits").read_text()


def test_one_that_died_is_told_and_started_again(run: Run, tmp_path: Path) -> None:
    assert run("up", "--no-gateway", "--detach").returncode == 0
    pid = Client(tmp_path / "state" / "rdagentd.sock").call("ping")["pid"]
    end_process_hard(pid)
    status = run("status")
    assert status.returncode == 1 and f"it was process {pid}" in status.stdout
    assert run("up", "--no-gateway", "--detach").returncode == 0
    assert run("status").returncode == 0


def end_process_hard(pid: int) -> None:
    """kill -9, and waits: it is nobody's child here."""
    pidfd = os.pidfd_open(pid)
    try:
        os.kill(pid, 9)
        assert select.select([pidfd], [], [], 20)[0]
    finally:
        os.close(pidfd)


def test_why_it_cannot_start_is_told_by_its_starter(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("keep_runs = 0\n")
    failed = run("up", "--no-gateway", "--detach", "--config", "config.toml")
    assert failed.returncode == 78
    said = f"rdagentd: cannot read {tmp_path}/config.toml: keep_runs: 0 is out of range (1 to 1000000)\n"
    assert failed.stderr == said
    assert said in (tmp_path / "state" / "daemon.log").read_text(), "and by its log"
    assert run("status").returncode == 3


def test_a_state_directory_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    failed = run("up", "--no-gateway", "--detach")
    assert failed.returncode == 1 and failed.stderr.startswith("rdagentd: cannot start: ")
    assert run("status").returncode == 4
