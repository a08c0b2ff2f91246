"""Lines that tell how far long work is: on a terminal alone, and gone at the end."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rdagentctl.progress import line
from rdagentctl.top.glyphs import Glyphs
from rdagentd.protocol.errors import NOT_FOUND, ProtocolError
from tests.harness import LiveDaemon
from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Stream, ended, row
from tests.rdagentctl.test_cli import fared
from tests.terminal import Terminal

NAMES = [f"w{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (0, 4, "stop ░░░░░░░░░░░░░░░░░░░░░░░░ 0 of 4, 12s"),
        (2, 4, "stop ████████████░░░░░░░░░░░░ 2 of 4, 12s"),
        (4, 4, "stop ████████████████████████ 4 of 4, 12s"),
        (0, 1, "stop, 12s"),
        (0, 0, "stop, 12s"),
    ],
)
def test_the_line(done: int, total: int, said: str) -> None:
    assert line("stop", done, total, 12.0, Glyphs()) == said
    assert line("stop", done, total, 12.0, Glyphs("ascii")) == said.replace("█", "#").replace("░", ".")


class Slow:
    """Workers that stop when the test says so; each time that one does, an event is told."""

    def __init__(self, fake: FakeDaemon) -> None:
        self.stopped = 0
        self.goes = threading.Event()
        self.over = threading.Event()
        self.news = threading.Semaphore(0)
        self.pulls = ""
        self.fake = fake
        fake.answers = {
            "stop": lambda args: {"workers": [fared(name, "stopping") for name in NAMES]},
            "start": lambda args: {"workers": [fared("w0", "starting")]},
            "status": lambda args: self.rows(),
            "wait": self.wait,
            "events": lambda args: Stream(self.items(), then="stay"),
        }

    def rows(self) -> list[dict[str, Any]]:
        return [row(name, "stopped" if at < self.stopped else "stopping") for at, name in enumerate(NAMES)]

    def wait(self, args: dict[str, Any]) -> Any:
        self.over.wait()
        return [row(name, "stopped", exit=ended(0)) for name in NAMES]

    def items(self) -> Any:
        while self.news.acquire(timeout=50) and not self.over.is_set():
            kind, text = ("pull", self.pulls) if self.pulls else ("exited", "ended")
            yield {
                "seq": 1,
                "at": time.time(),
                "worker": "w0",
                "run": None,
                "kind": kind,
                "text": text,
                "by": None,
                "data": {},
            }

    def tell(self) -> None:
        self.news.release()

    def end(self) -> None:
        self.over.set()
        self.tell()


@pytest.fixture
def slow(tmp_path: Path) -> Any:
    with FakeDaemon(str(tmp_path / "sock"), pipelined=True) as fake:
        made = Slow(fake)
        yield made
        made.end()


def terminal(tmp_path: Path, *words: str, **more: str) -> Terminal:
    return Terminal([*CTL, "--socket", str(tmp_path / "sock"), *words], 80, 10, **environment(**more))


def test_a_stop_of_many_is_counted_and_leaves_plain_lines(slow: Slow, tmp_path: Path) -> None:
    with terminal(tmp_path, "stop", "*", "--wait") as seen:
        seen.see("stop ░░░░░░░░░░░░░░░░░░░░░░░░ 0 of 4, ")
        for count in (1, 3):
            slow.stopped = count
            slow.tell()
            seen.see(f" {count} of 4, ")
        slow.end()
        assert seen.end() == 0
        assert seen.lines[:5] == [*(f"{name}: stopped" for name in NAMES), ""]
        assert not any("of 4" in line for line in seen.lines)


def test_a_real_daemon_is_counted_along(daemon: LiveDaemon) -> None:
    """Each lives as long as its file: the signal that it gets is ignored by all who do not ask for it."""
    client = daemon.start()
    assert client is not None
    lives = {name: daemon.state.with_name(name) for name in (f"w{number:02}" for number in range(12))}
    for name, file in lives.items():
        file.touch()
        stop = {"signals": ["SIGWINCH"], "grace": "1h"}
        client.submit(name, "sh", "-c", f"while [ -e {file} ]; do sleep 0.1; done", stop=stop)
    client.wait(*lives, until="running")
    with Terminal([*CTL, "--socket", str(daemon.socket), "stop", "w*", "--wait"], 80, 20, **environment()) as seen:
        for count, file in enumerate(lives.values()):
            if count < 4:
                seen.until(lambda count=count: re.search(rf"stop [█░]+ {count} of 12, ", seen.text), f"{count} of 12")
            file.unlink()
        assert seen.end() == 0
        assert [line.partition(" (")[0] for line in seen.lines if line] == [f"{name}: stopped" for name in lives]


def test_an_image_that_is_pulled_is_told(slow: Slow, tmp_path: Path) -> None:
    slow.pulls = "pulling image busybox: 12 of 50 MB of 3 layers"
    with terminal(tmp_path, "start", "w0", "--wait", LC_ALL="C") as seen:
        slow.tell()
        seen.see(": pulling image busybox: 12 of 50 MB")
        slow.end()
        assert seen.end() == 0
        assert not any("pulling" in line for line in seen.lines)


def test_run_tells_of_the_image_and_then_shows_the_output(slow: Slow, tmp_path: Path) -> None:
    slow.pulls = "pulling image busybox"
    answers = {
        "submit": lambda args: {"name": "w0", "revision": 1, "state": "starting", "reason": None},
        "logs": lambda args: Stream([{"offset": 0, "time": 1.0, "data": b"hello\n"}]),
    }
    slow.fake.answers.update(answers)
    with terminal(tmp_path, "run", "--name", "w0", "--set", 'driver="docker"', "--", "echo") as seen:
        slow.tell()
        seen.see("start w0 ", "pulling image busybox")
        assert "hello" not in seen.text
        slow.fake.answers["status"] = lambda args: [row("w0", "completed", exit=ended(0))]
        slow.end()
        assert seen.end() == 0
        assert [line for line in seen.lines if line] == ["w0: starting", "hello"]


def test_an_interrupt_takes_the_line_away(slow: Slow, tmp_path: Path) -> None:
    with terminal(tmp_path, "wait", "w0", "w1") as seen:
        seen.see(" 0 of 4, ")
        seen.type("\x03")
        assert seen.end() == 130
        assert "of 4" not in seen.text


def test_a_timeout_says_what_it_says_elsewhere(slow: Slow, tmp_path: Path) -> None:
    with terminal(tmp_path, "wait", "w0", "--timeout", "1s") as seen:
        assert seen.end() == 1
        assert seen.lines[0].startswith("cannot wait any longer: 1s are over, but w0 is stopping")


def test_an_error_is_told_and_not_hidden(fake: FakeDaemon, tmp_path: Path) -> None:
    def none(args: dict[str, Any]) -> None:
        raise ProtocolError(NOT_FOUND, "cannot find worker: none is called w0")

    fake.answers = {"wait": none, "status": none, "events": none}
    with terminal(tmp_path, "wait", "w0") as seen:
        assert seen.end() == 4
        assert seen.lines[0] == "cannot find worker: none is called w0"


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_without_a_screen_gets_plain_lines(slow: Slow, tmp_path: Path, term: str) -> None:
    slow.end()
    with terminal(tmp_path, "stop", "*", "--wait", TERM=term) as seen:
        assert seen.end() == 0
        assert seen.lines[:5] == [*(f"{name}: stopped" for name in NAMES), ""]


def test_where_there_is_no_terminal_nothing_is_drawn(slow: Slow, ctl: Ctl) -> None:
    slow.end()
    done = ctl("stop", "*", "--wait")
    assert (done.stdout, done.stderr) == ("".join(f"{name}: stopped\n" for name in NAMES), "")
