"""Pictures for scripts, from a fake daemon."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from rdagentd.protocol.errors import NOT_FOUND, ProtocolError
from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon, row
from tests.rdagentctl.top.values import PING, sample

FAST = ("--interval", "0.2")
ALL = {"select": {"names": [], "labels": {}}}


@pytest.fixture
def daemon(fake: FakeDaemon) -> FakeDaemon:
    """Two workers; the one that runs uses more of everything each time that it is asked."""
    asked: list[None] = []

    def usage(args: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(None)
        return [{"name": "web", "usage": sample(float(len(asked)), log=1000 * len(asked))}]

    fake.answers = {
        "ping": lambda args: {**PING, "pid": os.getpid()},
        "version": lambda args: {"version": "0.1.0", "protocol": 1, "schema": 1, "executor": None},
        "status": lambda args: [row("web"), row("broken", "failed")],
        "usage": usage,
    }
    return fake


def test_once_prints_one_picture_with_rates(daemon: FakeDaemon, ctl: Ctl) -> None:
    done = ctl("top", "--once", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rdagentd 0.1.0, up 1h01m   daemon ")
    assert lines[2] == "workers  2   1 failed   1 running"
    assert [line.split()[:2] for line in lines[5:]] == [["broken", "failed"], ["web", "running"]]
    cpu = float(lines[6].split()[2])
    assert 0 < cpu <= 500  # a second of CPU in 0.2 s or more
    assert "\x1b" not in done.stdout


def test_batch_prints_as_many_as_asked_for_sorted(daemon: FakeDaemon, ctl: Ctl) -> None:
    done = ctl("top", "--batch", "-n", "3", "--sort", "cpu", *FAST)
    assert done.stdout.count("workers  2") == 3
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("web", "broken"))] == [
        "web", "broken",
    ] * 3  # fmt: skip
    assert len(daemon.args("usage")) == 4
    assert daemon.args("status") == [ALL] * 4


def test_json_has_a_picture_on_a_line(daemon: FakeDaemon, ctl: Ctl) -> None:
    done = ctl("top", "--json", "-n", "2", *FAST)
    pictures = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(pictures) == 2
    broken, web = pictures[1]["workers"]
    assert (broken["usage"], broken["rates"], broken["state"]) == (None, None, "failed")
    assert set(web["rates"]) == {"cpu", "read", "written", "log"}
    assert 0 < web["rates"]["log"] <= 5000
    assert web["usage"]["memory"] == 1 << 20
    assert pictures[1]["daemon"]["version"] == "0.1.0"
    assert pictures[1]["host"]["programs"]["daemon"]["cpu"] is not None


def test_names_and_labels_are_passed_on(daemon: FakeDaemon, ctl: Ctl) -> None:
    ctl("top", "w*", "--label", "a=b", "--once", *FAST)
    assert daemon.args("status")[0] == {"select": {"names": ["w*"], "labels": {"a": "b"}}}

    def none(args: dict[str, Any]) -> None:
        raise ProtocolError(NOT_FOUND, "cannot find worker: none is called w")

    daemon.answers["status"] = none
    done = ctl("top", "w", "--once", *FAST)
    assert (done.returncode, done.stderr) == (4, "cannot find worker: none is called w\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "cannot draw: standard input is no terminal; rdagentctl top --once"),
        (("--interval", "0.01"), "cannot draw every 0.01 s: 0.2 is the least"),
        (("--sort", "size", "--once"), "cannot read --sort size: one of name, state, cpu, "),
        (("-n", "x"), "cannot read --number x: a whole number is expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(daemon: FakeDaemon, ctl: Ctl, words: tuple[str, ...], said: str) -> None:
    done = ctl("top", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(said)


def test_without_a_daemon_it_says_so(ctl: Ctl) -> None:
    done = ctl("top", "--once")
    assert done.returncode == 69
    assert done.stderr.startswith("cannot reach rdagentd at ")
