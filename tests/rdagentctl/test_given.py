"""The spec that a command line stands for, judged by the daemon's own decoder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rdagentctl.failure import UsageError
from rdagentctl.given import spec
from rdagentctl.parse import parse
from rdagentctl.table import SPEC
from rdagentd.config.spec import decode_spec
from rdagentd.model.requests import Requests
from rdagentd.model.spec import Policy, Rlimit


def given(*words: str, profile: dict[str, Any] | None = None) -> dict[str, Any]:
    arguments = parse(["submit", *words])
    assert arguments is not None
    return spec(arguments, profile or {})


def test_a_command_alone_takes_only_directory_and_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("SECRET", "x")
    assert given("--", "ls", "-l") == {
        "command": ["ls", "-l"],
        "directory": str(tmp_path),
        "environment": {"PATH": "/bin"},
    }


def test_every_option_leads_to_a_field_that_the_daemon_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", "own")
    line = (
        "--name w --directory sub --env A=1=2 --env MINE --env-file vars --limit nofile=4096 --limit cpu_time=1h:2h "
        "--request memory=2G --request gpus=1 "
        "--restart on-failure --retries 3 --delay 2s --timeout 1h --kill-after 5 --stop-signal INT --stop-signal TERM "
        "--stop-interval 1 --grace 7 --user root --group root --umask 077 --nice 5 --queue-group gpu --priority 9 "
        "--label team=a --log-cap 1M --log-separate --set restart.factor=2 --set labels.a.b=c"
    )
    words = line.split()
    used = {word for word in words if word.startswith("--")}
    assert used == {option.flag for option in SPEC} - {"--profile"}
    decoded = decode_spec({**given(*words, "--", "sh")})
    assert (decoded.name, decoded.directory) == ("w", str(tmp_path / "sub"))
    assert decoded.environment == {"A": "1=2", "MINE": "own", "PATH": os.environ["PATH"]}
    assert decoded.environment_file == (str(tmp_path / "vars"),)
    assert decoded.limits.nofile == Rlimit(4096, 4096)
    assert decoded.limits.cpu_time == Rlimit(3600, 7200)
    assert decoded.requests == Requests(memory=2 << 30, gpus=1)
    restart, stop = decoded.restart, decoded.stop
    assert (restart.policy, restart.retries, restart.delay, restart.factor) == (Policy.ON_FAILURE, 3, 2.0, 2.0)
    assert (stop.signals, stop.interval, stop.grace) == (("SIGINT", "SIGTERM"), 1.0, 7.0)
    assert (decoded.timeout, decoded.kill_after, decoded.nice, decoded.umask) == (3600.0, 5.0, 5, 0o077)
    assert (decoded.user, decoded.group) == ("root", "root")
    assert (decoded.queue.group, decoded.queue.priority) == ("gpu", 9)
    assert decoded.labels == {"team": "a", "a.b": "c"}
    assert (decoded.log.cap, decoded.log.separate) == (1 << 20, True)


def test_set_takes_toml_values_and_else_text() -> None:
    made = given("--set", "restart.success_codes=[0, 3]", "--set", "name=plain text", "--set", 'user="7"', "--", "ls")
    assert made["restart"] == {"success_codes": [0, 3]}
    assert (made["name"], made["user"]) == ("plain text", "7")


def test_path_may_be_given() -> None:
    assert given("--env", "PATH=/x", "--", "ls")["environment"] == {"PATH": "/x"}


def test_what_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(UsageError, match="cannot pass --env NOT_THERE: you have no such variable"):
        given("--env", "NOT_THERE", "--", "ls")
    with pytest.raises(UsageError, match="cannot read --set restart: FIELD=VALUE is expected"):
        given("--set", "restart", "--", "ls")
    with pytest.raises(UsageError, match=r"cannot set name\.x: name is already set"):
        given("--name", "a", "--set", "name.x=1", "--", "ls")
