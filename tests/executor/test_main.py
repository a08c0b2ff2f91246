"""Arguments, the lock, and leaving."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.executor.conftest import PYTHON, TIMEOUT, Executor, lines_of


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--state-dir", "x"],
        ["--state-dir", "x", "--log-dir", "y", "--socket"],
        ["--state-dir", "x", "--log-dir", "y", "--socket", "z", "--more", "1"],
        ["--state-dir", "x", "--log-dir", "y", "--socket", "z", "--log-gid", "staff"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "rdagentd.executor", *arguments], check=False, capture_output=True, timeout=TIMEOUT
    )
    assert done.returncode == 2
    assert b"usage: rdagentd executor" in done.stderr and done.stdout == b""


def test_two_executors(executor: Executor) -> None:
    assert executor.client is not None
    done = subprocess.run(executor.command, check=False, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1
    assert f"cannot start: process {executor.pid} holds".encode() in done.stderr
    executor.client.ask("ping", "pong")


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
