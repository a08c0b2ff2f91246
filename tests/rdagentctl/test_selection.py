"""Commands over several workers: what is asked, what is told, and --wait."""

from __future__ import annotations

import pytest

from rdagentd.protocol.errors import ProtocolError
from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon, ended, row
from tests.rdagentctl.test_cli import fared

NONE = {"names": [], "labels": {}}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "pause", "resume", "kill"])
def test_names_globs_and_labels_are_sent(fake: FakeDaemon, ctl: Ctl, verb: str) -> None:
    fake.answers = {verb: lambda args: {"workers": [fared()]}}
    assert ctl(verb, "a", "b*", "--label", "k=v").stdout == "web: running\n"
    assert fake.requests == [(verb, {"select": {"names": ["a", "b*"], "labels": {"k": "v"}}})]


def test_signal_and_remove_say_more(fake: FakeDaemon, ctl: Ctl) -> None:
    gone = fared(state="removed")
    fake.answers = {"signal": lambda args: {"workers": [fared()]}, "remove": lambda args: {"workers": [gone]}}
    ctl("signal", "hup", "a", "--scope", "tree")
    ctl("signal", "10", "--label", "k=v")
    assert ctl("remove", "a", "--force").stdout == "web: removed\n"
    a = {"names": ["a"], "labels": {}}
    assert fake.requests == [
        ("signal", {"select": a, "signal": "SIGHUP", "scope": "tree"}),
        ("signal", {"select": {"names": [], "labels": {"k": "v"}}, "signal": "SIGUSR1", "scope": "main"}),
        ("remove", {"select": a, "force": True}),
    ]
    assert ctl("signal", "HUP").returncode == 2
    assert ctl("signal", "99", "a").returncode == 2


def test_each_worker_is_told_and_the_first_error_counts(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "pause": lambda args: {
            "workers": [
                fared("a", "paused", reason={"code": "paused", "text": "paused by request"}),
                fared("b", "paused", changed=False),
                fared("c", error={"code": "forbidden", "message": "cannot operate c: it belongs to uid 7"}),
                fared("d", error={"code": "conflict", "message": "cannot pause d: it is stopped"}),
            ]
        }
    }
    done = ctl("pause", "*")
    assert done.stdout == "a: paused (paused by request)\nb: already paused\n"
    assert done.stderr == "cannot operate c: it belongs to uid 7\ncannot pause d: it is stopped\n"
    assert done.returncode == 5


def test_wait_follows_those_that_were_moved(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "stop": lambda args: {
            "workers": [fared("a", "stopping"), fared("b", error={"code": "conflict", "message": "no"})]
        },
        "wait": lambda args: [row("a", "stopped")],
    }
    done = ctl("stop", "*", "--wait", "--timeout", "10")
    assert (done.stdout, done.returncode) == ("a: stopped\n", 1)
    assert fake.args("wait") == [{"select": {"names": ["a"], "labels": {}}, "until": "rest"}]


def test_start_wait_fails_with_the_worker(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "start": lambda args: {"workers": [fared("a", "queued")]},
        "wait": lambda args: [row("a", "failed", reason={"code": "x", "text": "exit code 3"}, exit=ended(3))],
    }
    done = ctl("start", "a", "--wait")
    assert (done.stdout, done.returncode) == ("a: failed (exit code 3)\n", 1)
    assert fake.args("wait")[0]["until"] == "running"


@pytest.mark.parametrize(
    ("exits", "code"),
    [
        ([ended(0)], 0),
        ([ended(3)], 3),
        ([ended(None, "SIGKILL")], 137),
        ([ended(None, "SIGRTMIN+1")], 163),
        ([ended(0, kind="timed_out")], 1),
        ([ended(7, kind="timed_out")], 7),
        ([ended(None, "SIGTERM", kind="timed_out")], 143),
        ([ended(None, kind="could_not_start")], 1),
        ([ended(None, kind="lost")], 1),
        ([None], 1),
        ([ended(0), ended(4), ended(5)], 4),
    ],
)
def test_wait_exits_as_the_worker_did(fake: FakeDaemon, ctl: Ctl, exits: list[object], code: int) -> None:
    fake.answers = {"wait": lambda args: [row(f"w{n}", "failed", exit=one) for n, one in enumerate(exits)]}
    assert ctl("wait", "w*").returncode == code


def test_wait_for_running(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"wait": lambda args: [row("a", exit=ended(9))]}
    done = ctl("wait", "a", "--for", "running")
    assert (done.stdout, done.returncode) == ("a: running\n", 0)


def test_why_speaks_of_those_in_trouble(fake: FakeDaemon, ctl: Ctl) -> None:
    rows = [row("a"), row("b", "failed"), row("c", "backoff"), row("d", "completed")]
    fake.answers = {
        "status": lambda args: rows,
        "why": lambda args: [{"name": name, "sentences": [f"{name} is."], "facts": {}} for name in args["select"]["names"]],
    }  # fmt: skip
    assert ctl("why").stdout == "b:\n  b is.\n\nc:\n  c is.\n"
    rows[1:3] = []
    assert ctl("why").stdout == "no worker is in trouble\n"
    assert ctl("why", "a").stdout == "a:\n  a is.\n"


def test_no_such_worker(fake: FakeDaemon, ctl: Ctl) -> None:
    def missing(args: object) -> object:
        raise ProtocolError("not_found", "cannot find worker: none is called nope")

    fake.answers = {"stop": missing}
    done = ctl("stop", "nope")
    assert (done.returncode, done.stderr) == (4, "cannot find worker: none is called nope\n")
