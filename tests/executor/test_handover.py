"""The executor replaces itself: pid, children, pipes, exits and orphans stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.executor.conftest import PYTHON, TIMEOUT, Executor, lines_of, state_of
from tests.executor.test_tree import HEAD, left_of


def replace(executor: Executor) -> None:
    assert executor.client is not None
    executor.client.send("reexec")
    assert executor.client.closed()
    executor.connect().ask("ping", "pong")  # the socket outlives the replacement: only an answer tells that it is over


def test_everything_stays(executor: Executor, tmp_path: Path) -> None:
    assert executor.client is not None
    os.mkfifo(tmp_path / "go")
    ended = executor.run("sh", "-c", "exit 3")
    run = executor.spawn("sh", "-c", f"echo one; cat {tmp_path}/go; exit 7")
    started = executor.client.wait("started", run=run)
    lines_of(executor, 1)
    before = executor.client.ask("hello", "hello")
    for _ in range(3):
        replace(executor)
        after = executor.client.ask("hello", "hello")
        assert after == before
        assert after["exits"] == [ended]
        assert [entry["pid"] for entry in after["runs"]] == [started["pid"]]
    (tmp_path / "go").write_text("two\n")
    end = executor.client.wait("exited", run=run)
    assert (end["code"], end["log"]) == (7, {"out": 8})
    assert executor.log() == b"one\ntwo\n"
    assert executor.run("true")["code"] == 0
    executor.client.send("spawn", **executor.request("true", run=run))
    assert executor.client.wait("exited", run=run) == end, "known still"


def test_descriptors_do_not_leak(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn("sh", "-c", "echo one; sleep 1000")
    lines_of(executor, 1)
    replace(executor)
    before = len(os.listdir(f"/proc/{executor.pid}/fd"))
    for _ in range(3):
        replace(executor)
    assert len(os.listdir(f"/proc/{executor.pid}/fd")) == before
    executor.run("sh", "-c", "ls /proc/self/fd", worker="other")
    assert executor.log("other").split() == [b"0", b"1", b"2", b"3"]
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)


def test_exits_while_it_is_replaced(executor: Executor) -> None:
    """Runs that end and print all the time: each ends once, with its code, and its output is there."""
    assert executor.client is not None
    ends = {}
    for turn in range(5):
        wanted = {}
        for number in range(12):
            code = turn * 12 + number
            name = f"t{turn}n{number}"
            argv = ("sh", "-c", f"sleep 0.0{number}; echo {code}; exit {code}")
            wanted[executor.spawn(*argv, run=name, worker=name)] = code
            executor.client.wait("started", run=name)
        replace(executor)
        for notice in executor.client.ask("hello", "hello")["exits"]:
            ends[notice["run"]] = notice
        for run, code in wanted.items():
            notice = ends.get(run) or executor.client.wait("exited", run=run)
            assert (notice["code"], executor.log(run)) == (code, b"%d\n" % code)
            executor.client.send("ack", run=run)
            ends.pop(run, None)
    assert executor.client.ask("hello", "hello")["exits"] == []


def test_a_frozen_run_stays_frozen_and_a_linger_goes_on(executor: Executor) -> None:
    assert executor.client is not None
    frozen = executor.spawn("sleep", "1000", worker="frozen")
    executor.client.wait("started", run=frozen)
    executor.client.ask("freeze", "frozen", run=frozen)
    stubborn = executor.spawn(
        PYTHON, "-c", HEAD + "import signal; signal.signal(15, signal.SIG_IGN)\n"
        "if os.fork() == 0: print('deaf', os.getpid(), flush=True); time.sleep(1000)\nos.wait()", linger=1.0,
    )  # fmt: skip
    pid = int(lines_of(executor, 1)[0].split()[1])
    executor.client.send("signal", run=stubborn, signal=9, scope="main")
    executor.client.ask("ping", "pong")
    replace(executor)
    hello = executor.client.ask("hello", "hello")
    assert [entry["frozen"] for entry in hello["runs"] if entry["run"] == frozen] == [True]
    ends = {end["run"]: end for end in hello["exits"]}  # if the linger was over before anybody listened
    end = ends.get(stubborn) or executor.client.wait("exited", run=stubborn)
    assert end["signal"] == "SIGKILL"
    assert state_of(pid) is None
    executor.client.send("kill", run=frozen)
    executor.client.wait("exited", run=frozen)
    assert left_of(executor) == []


@pytest.mark.parametrize("program", [None, "#!/bin/sh\nexit 1\n"])
def test_a_program_that_is_not_there_or_cannot_be_loaded(idle: Executor, tmp_path: Path, program: str | None) -> None:
    """It goes on as it was, and says so."""
    link = tmp_path / "python"
    if program is not None:
        link.write_text(program)
        link.chmod(0o755)
    idle.program = ["-c", f"import sys; sys.executable = {str(link)!r}\nfrom rdagentd.executor.main import main\n"
                    "sys.exit(main(sys.argv[1:]))"]  # fmt: skip
    idle.start()
    assert idle.client is not None and idle.process is not None
    run = idle.spawn("sh", "-c", "echo one; sleep 1000")
    lines_of(idle, 1)
    assert "cannot do reexec" in idle.client.ask("reexec", "refused")["reason"]
    assert [entry["run"] for entry in idle.client.ask("hello", "hello")["runs"]] == [run]
    assert idle.run("sh", "-c", "ls /proc/self/fd", worker="other")["code"] == 0
    assert idle.log("other").split() == [b"0", b"1", b"2", b"3"]
    idle.process.terminate()
    assert idle.client.wait("exited", run=run)["signal"] == "SIGTERM"
    assert idle.process.wait(TIMEOUT) == 0
