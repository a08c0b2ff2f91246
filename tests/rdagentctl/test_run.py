"""`run`: the worker's output and code, and what an interrupt does."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import threading
import time
from typing import Any

import pytest

from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Stream, ended, row


class Worker:
    """A worker that has said "begin" and ends when it is stopped or killed."""

    def __init__(self, fake: FakeDaemon, *, deaf: bool = False) -> None:
        self.over = threading.Event()
        self.deaf = deaf
        fake.at_close.append(self.over.set)
        fake.answers = {
            "submit": lambda args: {"name": "w", "revision": 1, "state": "starting", "reason": None},
            "logs": lambda args: Stream(self._output(args.get("offset"))),
            "status": lambda args: [row("w", "stopped", exit=ended(None, "SIGTERM"))],
            "stop": lambda args: self._end(not self.deaf),
            "kill": lambda args: self._end(True),
        }

    def _output(self, offset: int | None) -> Any:
        if not offset:
            yield {"offset": 0, "time": 1.0, "data": b"begin\n"}
        self.over.wait()
        yield {"offset": 6, "time": 1.0, "data": b"end\n"}

    def _end(self, ends: bool) -> dict[str, Any]:
        if ends:
            self.over.set()
        return {"workers": []}


def test_output_and_code(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "submit": lambda args: {"name": "sh-1", "revision": 1, "state": "starting", "reason": None},
        "logs": lambda args: Stream([{"offset": 0, "time": 1.0, "data": f"to {args['stream']}\n".encode()}]),
        "status": lambda args: [row("sh-1", "failed", exit=ended(5))],
    }
    done = ctl("run", "--", "sh")
    assert (done.returncode, done.stdout, done.stderr) == (5, "to out\n", "")
    assert fake.args("submit")[0]["start"] is True
    assert fake.args("logs") == [{"name": "sh-1", "stream": "out", "follow": True}]
    done = ctl("run", "--log-separate", "--", "sh")
    assert (done.stdout, done.stderr) == ("to out\n", "to err\n")


def test_an_end_that_was_none_of_its_own_is_told(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "submit": lambda args: {"name": "sh-1", "revision": 1, "state": "starting", "reason": None},
        "logs": lambda args: Stream([]),
        "status": lambda args: [row("sh-1", "failed", exit=ended(None, "SIGKILL", reason="ended by SIGKILL"))],
    }
    done = ctl("run", "--", "sh")
    assert (done.returncode, done.stderr) == (137, "sh-1: ended by SIGKILL\n")


def started(fake: FakeDaemon, *options: str) -> subprocess.Popen[bytes]:
    """`run` without a terminal, once it has shown "begin"."""
    client = subprocess.Popen(
        [*CTL, "--socket", fake.path, "run", *options, "--", "sh"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert client.stdout is not None
    assert client.stdout.read(6) == b"begin\n"
    return client


@pytest.mark.parametrize("options", [(), ("--stop-on-interrupt",)])
def test_without_a_terminal_an_interrupt_stops_the_worker(fake: FakeDaemon, options: tuple[str, ...]) -> None:
    Worker(fake)
    client = started(fake, *options)
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=30)
    assert (client.returncode, out) == (143, b"end\n")
    assert err == b"w: stop is asked for\nw: ended by SIGTERM\n"
    assert fake.args("stop") == [{"select": {"names": ["w"], "labels": {}}}]
    assert fake.args("logs")[-1]["offset"] == 6


def test_an_interrupt_while_it_is_submitted_is_kept(fake: FakeDaemon) -> None:
    Worker(fake)
    asked, go_on = threading.Event(), threading.Event()
    submit = fake.answers["submit"]

    def slowly(args: dict[str, Any]) -> Any:
        asked.set()
        assert go_on.wait(30)
        return submit(args)

    fake.answers["submit"] = slowly
    client = subprocess.Popen(
        [*CTL, "--socket", fake.path, "run", "--detach-on-interrupt", "--", "sh"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert asked.wait(30)
    client.send_signal(signal.SIGINT)
    go_on.set()
    _, err = client.communicate(timeout=30)
    assert (client.returncode, err) == (0, b"w runs on; its output: rdagentctl logs -f w\n")


def test_a_second_interrupt_kills(fake: FakeDaemon) -> None:
    Worker(fake, deaf=True)
    client = started(fake)
    client.send_signal(signal.SIGINT)
    fake.wait_for("logs", 2)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=30)
    assert client.returncode == 143
    assert err.splitlines()[:2] == [b"w: stop is asked for", b"w: kill is asked for"]


def test_detach_leaves_it_running(fake: FakeDaemon) -> None:
    worker = Worker(fake)
    client = started(fake, "--detach-on-interrupt")
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=30)
    assert (client.returncode, out, err) == (0, b"", b"w runs on; its output: rdagentctl logs -f w\n")
    assert (fake.args("stop"), fake.args("kill")) == ([], [])
    worker.over.set()


class Terminal:
    """`run` on a terminal of its own."""

    def __init__(self, fake: FakeDaemon) -> None:
        pid, self.end = pty.fork()
        if pid == 0:
            os.execve(CTL[0], [*CTL, "--socket", fake.path, "run", "--", "sh"], environment())
        self.pid = pid
        self.seen = b""

    def until(self, what: bytes) -> None:
        """Reads until this was written."""
        deadline = time.monotonic() + 30
        while what not in self.seen:
            assert select.select([self.end], [], [], deadline - time.monotonic())[0], self.seen
            self.seen += os.read(self.end, 4096)
        self.seen = self.seen.partition(what)[2]

    def type(self, keys: bytes) -> None:
        os.write(self.end, keys)

    def code(self) -> int:
        """The exit code."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.end)
        return os.waitstatus_to_exitcode(status)


def test_on_a_terminal_it_asks(fake: FakeDaemon) -> None:
    Worker(fake)
    terminal = Terminal(fake)
    terminal.until(b"begin")
    terminal.type(b"\x03")
    terminal.until(b"w still runs: (s)top it, (l)eave it running, (g)o on watching? ")
    terminal.type(b"what?\n")
    terminal.until(b"(g)o on watching? ")
    terminal.type(b"g\n")
    fake.wait_for("logs", 2)
    assert fake.args("stop") == []
    terminal.type(b"\x03")
    terminal.until(b"(g)o on watching? ")
    terminal.type(b"s\n")
    terminal.until(b"w: stop is asked for")
    terminal.until(b"end")
    terminal.until(b"w: ended by SIGTERM")
    assert terminal.code() == 143


def test_leave_and_an_impatient_second_interrupt(fake: FakeDaemon) -> None:
    worker = Worker(fake)
    terminal = Terminal(fake)
    terminal.until(b"begin")
    terminal.type(b"\x03")
    terminal.until(b"(g)o on watching? ")
    terminal.type(b"l\n")
    terminal.until(b"w runs on; its output: rdagentctl logs -f w")
    assert terminal.code() == 0
    assert not worker.over.is_set()
    worker.over.set()
    worker = Worker(fake)
    terminal = Terminal(fake)
    terminal.until(b"begin")
    terminal.type(b"\x03")
    terminal.until(b"(g)o on watching? ")
    terminal.type(b"\x03")
    terminal.until(b"w: stop is asked for")
    terminal.until(b"end")
    assert terminal.code() == 143
