"""Exit codes and outputs of the program as a whole."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from rdagentctl import table
from rdagentd import __version__
from rdagentd.protocol.errors import CODES, EXIT_OF_CODE, ProtocolError
from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Raw, Stream, ended, row


def fared(name: str = "web", state: str = "running", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "want": "up", "reason": None, "changed": True, "error": None, **more}


ACTS = ("start", "stop", "restart", "pause", "resume", "kill", "remove")
CHANGES = {"changes": [{"name": "web", "action": "none", "fields": []}]}
ANSWERS = {
    "submit": {"name": "web", "revision": 1, "state": "starting", "reason": None},
    "apply": CHANGES,
    "reload": CHANGES,
    "status": [row()],
    "show": [{"row": row(), "spec": {"name": "web", "environment": {"A": "s3cret"}}, "runs": [], "revisions": []}],
    "wait": [row(state="completed", exit=ended(0))],
    "usage": [],
    "why": [{"name": "web", "sentences": ["web is running."], "facts": {}}],
    "ping": {"pid": 1, "version": "0.1.0", "uptime": 3.0, "problem": None},
    "version": {"version": "0.1.0", "protocol": 1, "schema": 1, "executor": None},
    "metrics": {"families": [{"name": "x", "kind": "gauge", "help": "h", "labels": [], "samples": [[[], 1]]}]},
    "report": {"measures": {"tokens": 5.0, "step": "testing"}},
    "providers": [],
    "doctor": [{"subject": "state", "state": "ok", "text": "can be written"}],
    "profiles": [{"name": "p", "file": "/p.toml", "about": "a", "extends": [], "parameters": {}, "problem": None}],
    "profile": {
        "name": "p", "file": "/p.toml", "about": "a", "extends": [], "template": {"command": ["x"]}, "spec": None,
        "parameters": {"n": {"about": "how many", "choices": [], "default": 1, "needed": False}},
    },
    "checkpoints": {"name": "web", "next": "2", "checkpoints": [
        {"path": "3", "at": 1e9, "size": 7, "problem": "is cut off", "failures": 0, "present": True},
        {"path": "2", "at": 1e9, "size": 7, "problem": "", "failures": 1, "present": True},
        {"path": "1", "at": 1e9, "size": 7, "problem": None, "failures": 0, "present": False},
    ]},
    "restore_workspace": {"name": "web", "run": "r1", "branch": "refs/heads/main", "commit": "a" * 40, "directory": "/srv/w"},
    "preflight": [{"name": "web", "asked": True, "problems": [], "unmade": None}],
    "logs": Stream([{"offset": 0, "time": 1.0, "data": b"hello\n"}]),
    "events": Stream([{"seq": 1, "at": 1.0, "worker": "web", "run": None, "kind": "k", "text": "t", "by": None, "data": {}}]),
    **{verb: {"workers": [fared()]} for verb in (*ACTS, "signal")},
}  # fmt: skip

LINES = {
    "submit": ["submit", "--", "ls"],
    "run": ["run", "--", "ls"],
    "apply": ["apply", "-"],
    "signal": ["signal", "hup", "web"],
    "report": ["report", "web", "tokens+=5", "step=testing"],
    "completion": ["completion", "bash"],
    "profiles": ["profiles"],
    "profile": ["profile", "show", "p"],
    "preflight": ["preflight", "web"],
    "checkpoints": ["checkpoints", "web"],
    "restore-workspace": ["restore-workspace", "web"],
    "top": ["top", "--once", "--interval", "0.2"],
    **{
        verb: [verb]
        for verb in ("status", "why", "events", "providers", "budget", "metrics", "ping", "doctor", "version", "reload")
    },
    **{
        verb: [verb, "web"]
        for verb in ["show", "logs", "analyse", "wait", "start", "stop", "restart", "pause", "resume", "kill", "remove"]
    },
}


def answer_all(fake: FakeDaemon) -> None:
    def answer(value: Any) -> Any:
        return lambda args: value

    fake.answers = {op: answer(value) for op, value in ANSWERS.items()}


@pytest.mark.parametrize("verb", [command.name for command in table.COMMANDS])
def test_every_command_works_and_speaks_json(fake: FakeDaemon, ctl: Ctl, verb: str) -> None:
    answer_all(fake)
    if verb == "run":
        fake.answers["status"] = lambda args: [row(state="completed", exit=ended(0))]
    plain = ctl(*LINES[verb])
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout
    assert "s3cret" not in plain.stdout
    spoken = ctl(*LINES[verb], "--json") if verb not in ("submit", "run") else ctl(verb, "--json", "--", "ls")
    assert (spoken.returncode, spoken.stderr) == (0, "")
    values = [json.loads(line) for line in spoken.stdout.splitlines()]
    assert values


@pytest.mark.parametrize("code", CODES)
def test_error_codes_become_exit_codes(fake: FakeDaemon, ctl: Ctl, code: str) -> None:
    def refuse(args: object) -> object:
        raise ProtocolError(code, f"cannot ping: {code}")

    fake.answers = {"ping": refuse}
    done = ctl("ping")
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_OF_CODE.get(code, 1), "", f"cannot ping: {code}\n")


def test_exit_codes_as_promised() -> None:
    assert EXIT_OF_CODE == {"invalid": 2, "not_found": 4, "forbidden": 5, "unavailable": 69}


def test_usage_goes_to_stderr_and_help_to_stdout(ctl: Ctl) -> None:
    assert (ctl().returncode, ctl().stdout) == (2, "")
    assert "usage: rdagentctl COMMAND" in ctl().stderr
    done = ctl("stop", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rdagentctl stop: ")


def test_a_reader_that_leaves_is_no_error(fake: FakeDaemon, tmp_path: object) -> None:
    many = [{"offset": n * 60_000, "time": 1.0, "data": b"x" * 59_999 + b"\n"} for n in range(50)]
    fake.answers = {"logs": lambda args: Stream(many)}
    client = subprocess.Popen(
        [*CTL, "--socket", fake.path, "logs", "web"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert client.stdout is not None and client.stderr is not None
    client.stdout.read(10)
    client.stdout.close()
    assert client.wait(30) == 141
    assert client.stderr.read() == b""
    client.stderr.close()


def test_a_full_disk_behind_stdout_is_told(fake: FakeDaemon) -> None:
    answer_all(fake)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*CTL, "--socket", fake.path, "ping"], stdout=full, stderr=subprocess.PIPE,
            env=environment(), timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"cannot go on: no space left on device\n")


def test_outputs_that_cannot_show_everything(fake: FakeDaemon) -> None:
    fake.answers = {"status": lambda args: [row(command=["naïve"])]}
    done = subprocess.run(
        [*CTL, "--socket", fake.path, "status"], capture_output=True, timeout=30, check=False,
        env=environment(PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii"),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"na?ve" in done.stdout
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *CTL, "--socket", fake.path, "status"],
        timeout=30,
        env=environment(),
        check=False,
    )
    assert closed.returncode == 0


def test_version_tells_its_own_without_a_daemon(ctl: Ctl) -> None:
    done = ctl("version")
    assert done.returncode == 69
    assert done.stdout == f"rdagentctl  {__version__} (protocol 1)\n"


def test_dashed_version_needs_no_daemon(ctl: Ctl) -> None:
    assert (ctl("--version").stdout, ctl("--version").returncode) == (f"rdagentctl {__version__}\n", 0)


def test_a_daemon_in_trouble_says_so_to_ping(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"ping": lambda args: {"pid": 1, "version": "0", "uptime": 1.0, "problem": "disk full"}}
    done = ctl("ping")
    assert (done.returncode, done.stderr) == (1, "but it cannot keep what it promises: disk full\n")


def test_the_socket_option_wins(fake: FakeDaemon, ctl: Ctl) -> None:
    answer_all(fake)
    assert ctl("ping", "--socket", fake.path, RDAGENTD_SOCKET="/nowhere").returncode == 0
    assert ctl("ping", RDAGENTD_SOCKET="/nowhere").returncode == 69


def test_a_silent_daemon_does_not_hang_wait(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"wait": lambda args: Raw(b"", stay=True), "status": lambda args: [row()]}
    done = ctl("wait", "web", "--timeout", "0.1")
    assert (done.returncode, done.stderr) == (1, "cannot wait any longer: 0s are over, but web is running\n")


@pytest.mark.parametrize("option", ["--until", "--for"])
def test_wait_until_healthy(fake: FakeDaemon, ctl: Ctl, option: str) -> None:
    fake.answers = {"wait": lambda args: [row("db", health="healthy", ready=True)]}
    done = ctl("wait", "db", option, "healthy")
    assert (done.returncode, done.stdout) == (0, "db: running\n")
    assert fake.args("wait") == [{"select": {"names": ["db"], "labels": {}}, "until": "healthy"}]
    fake.answers = {"wait": lambda args: [row("db", "failed", health=None, ready=False, exit=ended(3))]}
    done = ctl("wait", "db", option, "ready")
    assert (done.returncode, done.stdout) == (1, "db: failed\n")


def test_who_waits_in_vain_for_health_is_told_who_lacks_it(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {
        "wait": lambda args: Raw(b"", stay=True),
        "status": lambda args: [row("a", health="healthy"), row("b", health="starting")],
    }
    done = ctl("wait", "a", "b", "--until", "healthy", "--timeout", "0.1")
    assert done.returncode == 1 and "but b is starting" in done.stderr and "a is" not in done.stderr
