"""Arguments, the lock, and leaving."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests import cores
from tests.executor.conftest import PYTHON, TIMEOUT, Executor, lines_of, needs_root
from tests.executor.test_handover import replace


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--state-dir", "x"],
        ["--state-dir", "x", "--log-dir", "y", "--socket"],
        ["--state-dir", "x", "--log-dir", "y", "--socket", "z", "--more", "1"],
        ["--state-dir", "x", "--log-dir", "y", "--socket", "z", "--log-gid"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "rdagentd.executor", *arguments], check=False, capture_output=True, timeout=TIMEOUT
    )
    assert done.returncode == 2
    assert b"usage: rdagentd executor" in done.stderr and done.stdout == b""


@pytest.mark.parametrize(("option", "kind"), [("--daemon-uid", "getpwnam"), ("--log-gid", "getgrnam")])
def test_a_name_that_this_host_does_not_know(idle: Executor, option: str, kind: str) -> None:
    idle.arguments = [option, "no-such-name"]
    done = subprocess.run(idle.command, check=False, capture_output=True, timeout=TIMEOUT, text=True)
    assert done.returncode == 78
    assert f"cannot start: cannot use the arguments: {kind}(): name not found: 'no-such-name'" in done.stderr


@needs_root
def test_names_do_as_well_as_numbers(idle: Executor) -> None:
    nobody = pwd.getpwnam("nobody")
    idle.arguments = ["--daemon-uid", "nobody", "--log-gid", grp.getgrgid(nobody.pw_gid).gr_name]
    idle.start()
    assert idle.path.stat().st_uid == nobody.pw_uid
    assert idle.run("true")["stage"] == "policy", "not as root: another user gives the orders"


def test_systemd_is_told_when_it_listens_and_after_each_replacement(idle: Executor, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT)
        idle.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        idle.start()
        assert manager.recv(4096) == b"READY=1"
        assert idle.client is not None
        idle.client.send("reexec")
        assert manager.recv(4096) == b"READY=1"
        idle.connect()
        idle.run("env")
        assert f"NOTIFY_SOCKET={tmp_path / 'notify'}\n".encode() not in idle.log(), "it is given its own"


def test_an_abstract_socket_is_told_too(idle: Executor) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel chooses an abstract address; unix(7)
        manager.settimeout(TIMEOUT)
        idle.environment = {"NOTIFY_SOCKET": "@" + manager.getsockname()[1:].decode()}
        idle.start()
        assert manager.recv(4096) == b"READY=1"


def test_nobody_to_tell_is_no_reason_not_to_start(idle: Executor, tmp_path: Path) -> None:
    idle.environment = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    assert idle.start().run("true")["code"] == 0


def test_two_executors(executor: Executor) -> None:
    assert executor.client is not None
    done = subprocess.run(executor.command, check=False, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1
    assert f"cannot start: process {executor.pid} holds".encode() in done.stderr
    executor.client.ask("ping", "pong")


def test_it_tells_what_it_uses_itself(executor: Executor) -> None:
    assert executor.client is not None
    pong = executor.client.ask("ping", "pong")
    assert 0 < pong["cpu"] < 60 and 1 << 20 < pong["memory"] < 1 << 30


def test_a_lock_of_a_dead_one_does_not_matter(executor: Executor) -> None:
    executor.kill()
    executor.start()
    assert executor.run("true")["code"] == 0


def test_directories_that_cannot_be(idle: Executor) -> None:
    idle.state = Path("/proc/nothing")
    with pytest.raises(AssertionError, match="cannot start: "):
        idle.start()


def test_leave(executor: Executor) -> None:
    assert executor.client is not None and executor.process is not None
    run = executor.spawn("sh", "-c", "echo x; sleep 1000")
    lines_of(executor, 1)
    refused = executor.client.ask("leave", "refused")
    assert refused["op"] == "leave" and "1 run" in refused["reason"]
    executor.client.send("kill", run=run)
    end = executor.client.wait("exited", run=run)
    executor.client.send("leave")
    assert executor.process.wait(TIMEOUT) == 0
    assert not executor.path.exists()
    executor.start()
    assert executor.client.ask("hello", "hello")["exits"] == [end]


def test_hangup_is_ignored(executor: Executor) -> None:
    assert executor.client is not None and executor.process is not None
    executor.process.send_signal(1)
    executor.client.ask("ping", "pong")
    assert executor.process.poll() is None


def test_idle_executor_does_not_wake(executor: Executor) -> None:
    """A hundred silent workers: the executor is not scheduled once while another of its clients would have been."""
    assert executor.client is not None
    for number in range(100):
        run = executor.spawn("sleep", "1000", worker=f"w{number}")
        executor.client.wait("started", run=run)
    executor.client.ask("ping", "pong")

    def switches() -> int:
        status = Path(f"/proc/{executor.pid}/status").read_text()
        return int(status.rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])

    subprocess.run(["sleep", "0.1"], check=True)  # the rest after the last output
    before = switches()
    subprocess.run(["sleep", "0.5"], check=True)
    assert switches() - before <= 1


@pytest.mark.parametrize("journal", [True, False])
def test_its_warnings_have_a_priority_for_the_journal(journal: bool) -> None:
    read, write = os.pipe()
    found = os.fstat(write)
    environ = os.environ | ({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"} if journal else {})
    subprocess.run([PYTHON, "-m", "rdagentd.executor", "x"], stderr=write, env=environ, timeout=TIMEOUT, check=False)
    os.close(write)
    with open(read) as pipe:
        assert pipe.read().startswith("<4>rdagentd executor: cannot" if journal else "rdagentd executor: cannot")


@pytest.mark.parametrize("replaced", [False, True])
def test_it_leaves_no_core_dump(idle: Executor, tmp_path: Path, replaced: bool) -> None:
    """It holds secrets of all its workers."""
    (tmp_path / "cores").mkdir()
    if not cores.possible(tmp_path / "cores"):
        pytest.skip("this host writes no core dumps (core_pattern, or the hard limit)")
    idle.prefix = [*cores.UNLIMITED, str(tmp_path / "cores")]
    idle.start()
    if replaced:
        replace(idle)
    os.kill(idle.pid, signal.SIGABRT)
    assert not cores.dumped(idle.pid)
