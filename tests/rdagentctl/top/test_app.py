"""What is asked of the daemon, and what is made of strange answers: the real program, a fake daemon."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from rdagentd.protocol.errors import FORBIDDEN, NOT_FOUND, ProtocolError
from tests.rdagentctl.conftest import CTL, environment
from tests.rdagentctl.fake import FakeDaemon, Raw, row
from tests.rdagentctl.top.values import PING, sample
from tests.terminal import Terminal

END = "\x1b[F"


class Host:
    """A fake daemon with so many workers, and a terminal with top in it."""

    def __init__(self, path: str, workers: int) -> None:
        self.rows = [row(f"w{number:04}") for number in range(workers)]
        self.fake = FakeDaemon(path, pipelined=True)
        self.fake.answers = {
            "ping": lambda args: PING,
            "version": lambda args: {"version": "0.1.0", "protocol": 1, "schema": 1, "executor": None},
            "status": lambda args: self.rows,
            "usage": self.usage,
        }
        self.path = path
        self.cpu = 0.0

    def usage(self, args: dict[str, Any]) -> list[dict[str, Any]]:
        self.cpu += 1
        names = args["select"]["names"] or [one["name"] for one in self.rows]
        return [{"name": name, "usage": sample(self.cpu)} for name in names]

    def top(self, *words: str, rows: int = 14) -> Terminal:
        return Terminal([*CTL, "--socket", self.path, "top", "--interval", "0.3", *words], 100, rows, **environment())


@pytest.fixture
def host(tmp_path: Path) -> Any:
    made = Host(str(tmp_path / "sock"), 1000)
    with made.fake:
        yield made


def asked(host: Host) -> list[list[str]]:
    return [args["select"]["names"] for args in host.fake.args("usage")]


def test_usage_is_asked_of_what_is_seen_alone(host: Host) -> None:
    with host.top("--sort", "name") as seen:
        seen.see("w0000", "w0007")
        host.fake.wait_for("usage", 3)
        first = [f"w{number:04}" for number in range(8)]
        assert all(names == first for names in asked(host))
        seen.type(END)
        seen.see("w0999")
        seen.until(lambda: asked(host)[-1] == [f"w{number:04}" for number in range(992, 1000)], "the last ones")


def test_sorting_by_it_takes_all(host: Host) -> None:
    with host.top("--sort", "cpu") as seen:
        seen.see("w0000")
        host.fake.wait_for("usage", 2)
        assert all(names == [] for names in asked(host))
        seen.type("N")
        seen.until(lambda: len(asked(host)[-1]) == 8, "the visible ones")


def test_nothing_is_asked_twice_while_it_is_not_answered(host: Host) -> None:
    answer = threading.Event()

    def slow(args: dict[str, Any]) -> Any:
        assert answer.wait(50)
        return host.usage(args)

    host.fake.answers["usage"] = slow
    with host.top() as seen:
        host.fake.wait_for("status", 6)
        assert len(host.fake.args("usage")) == 1
        answer.set()
        host.fake.wait_for("usage", 3)
        seen.type("q")
        assert seen.end() == 0


def test_a_daemon_that_takes_requests_and_says_nothing_is_told(host: Host) -> None:
    with host.top() as seen:
        seen.see("w0000")
        silent = threading.Event()
        answers = dict(host.fake.answers)

        def nothing(args: dict[str, Any]) -> Any:
            silent.wait()
            return Raw(b"", stay=True)

        host.fake.answers = dict.fromkeys(answers, nothing)
        seen.see("rdagentd does not answer since", "it takes requests and says nothing", "w0000")
        host.fake.answers = answers
        silent.set()
        host.fake.close()  # those requests are lost; a daemon that starts anew answers others
        Path(host.path).unlink()
        with FakeDaemon(host.path, answers, pipelined=True):
            seen.see("rdagentd 0.1.0", "w0000")


def test_errors_are_told_where_they_belong(host: Host) -> None:
    def no(args: dict[str, Any]) -> None:
        raise ProtocolError(FORBIDDEN, "cannot stop w0000: it belongs to uid 7, you are uid 8")

    host.fake.answers["stop"] = no
    with host.top("--sort", "name") as seen:
        seen.see("w0000")
        seen.type("\x1b[B")
        seen.see("s stop")
        seen.type("s")
        seen.see("stop w0000?")
        seen.type("y")
        seen.see("cannot stop w0000: it belongs to uid 7, you are uid 8")

        def gone(args: dict[str, Any]) -> None:
            raise ProtocolError(NOT_FOUND, "cannot find worker: none is called w0000")

        host.fake.answers["status"] = gone
        seen.see("cannot find worker: none is called w0000", "workers  0")


def test_what_is_no_daemon_ends_it_in_words_and_the_terminal_is_as_before(host: Host) -> None:
    with host.top() as seen:
        seen.see("w0000")
        host.fake.answers = dict.fromkeys(host.fake.answers, lambda args: Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        assert seen.end() == 1
        assert "Is it rdagentd?" in seen.text.replace("\n", "")
        assert seen.modes() == seen.modes_before


def test_a_defect_ends_it_and_the_terminal_is_as_before(host: Host) -> None:
    with host.top() as seen:
        seen.see("w0000")
        host.rows = [{"name": "x"}]
        assert seen.end() != 0
        assert "KeyError" in seen.text
        assert seen.modes() == seen.modes_before
