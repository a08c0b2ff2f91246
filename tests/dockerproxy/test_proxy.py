"""The program: what the daemon says to it, twice, and after a restart."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rdagentd.dockerproxy.rules import from_wire, to_wire
from rdagentd.protocol.frames import MAX_FRAME, Decoder, pack
from tests.dockerproxy.fake import KNOWN, FakeEngine, rules

RULES = to_wire(rules(uid=os.geteuid(), gid=os.getegid()))


class Program:
    """`rdagentd docker-proxy` in a directory, and a connection to it."""

    def __init__(self, directory: Path, engine: Path) -> None:
        self.directory = directory
        self.control = directory / "control.sock"
        self.engine = engine
        self._decoder = Decoder(MAX_FRAME)
        self.start()

    def start(self) -> None:
        """Starts it and connects."""
        self.control.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rdagentd", "docker-proxy", "--engine", str(self.engine), "--socket", str(self.control),
             "--runtime-dir", str(self.directory / "run"), "--state-dir", str(self.directory / "state"),
             "--daemon-uid", str(os.geteuid())],
            stderr=subprocess.PIPE, text=True, umask=0o027,
        )  # fmt: skip
        assert self.process.stderr is not None
        assert " listening on " in self.process.stderr.readline()
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(60)
        self.connection.connect(str(self.control))

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.close()

    def close(self) -> int:
        """Ends it; its exit code."""
        self.connection.close()
        self.process.terminate()
        with self.process:
            return self.process.wait(30)

    def ask(self, **request: Any) -> Any:
        """One request; the result, or the error's message."""
        self.connection.sendall(pack({"id": 1, **request}))
        while not (found := self._decoder.feed(self.connection.recv(65536))):
            pass
        assert found[0]["id"] == 1
        return found[0]["result"] if found[0]["ok"] else found[0]["error"]["message"]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program with an engine that records."""
    engine = FakeEngine(tmp_path / "engine.sock")
    started = Program(tmp_path, engine.path)
    yield started
    if started.process.returncode is None:
        started.close()
    engine.close()


def speaks(path: str) -> bool:
    """Whether somebody answers at a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        client.sendall(b"GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_run_gets_a_socket_of_its_own_that_only_its_user_can_open(program: Program) -> None:
    path = program.ask(op="open", run="run-1", rules=RULES)["socket"]
    assert path == str(program.directory / "run/run-1/docker.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert [stat.S_IMODE(os.stat(program.directory / place).st_mode) for place in ("run", "run/run-1")] == [0o755] * 2
    assert stat.S_IMODE(os.stat(program.control).st_mode) == 0o600
    assert speaks(path)


def test_open_and_close_can_be_said_twice(program: Program) -> None:
    first = program.ask(op="open", run="run-1", rules=RULES)
    assert program.ask(op="open", run="run-1", rules=RULES) == first
    other = program.ask(op="open", run="run-1", rules={**RULES, "memory": 1})
    assert other == first
    assert speaks(first["socket"])
    assert program.ask(op="hello")["runs"] == ["run-1"]
    assert program.ask(op="close", run="run-1") == {}
    assert program.ask(op="close", run="run-1") == {}
    assert not speaks(first["socket"])
    assert program.ask(op="hello")["runs"] == []


def test_the_cgroup_of_a_run_is_named_as_the_engines_driver_wants_it(program: Program) -> None:
    given = {name: value for name, value in RULES.items() if name != "cgroup_parent"}
    for driver, parent in (("cgroupfs", "/rdagentd/run-1"), ("systemd", "rdagentd-run-1.slice")):
        KNOWN["/info"]["CgroupDriver"] = driver
        program.ask(op="open", run="run-1", rules=given)
        kept = json.loads((program.directory / "state/runs.json").read_text())
        assert kept["run-1"]["rules"]["cgroup_parent"] == parent
    KNOWN["/info"]["CgroupDriver"] = "cgroupfs"


def test_it_says_whether_the_engine_is_there_and_opens_nothing_without(program: Program) -> None:
    assert program.ask(op="hello")["problem"] is None
    program.engine.unlink()
    assert program.ask(op="hello")["problem"].startswith("cannot reach the Docker engine at ")
    said = program.ask(op="open", run="run-1", rules={**RULES, "cgroup_parent": ""})
    assert said.startswith("cannot reach the Docker engine at ")
    assert program.ask(op="hello")["runs"] == []


def test_a_daemon_is_told_its_own_runs(program: Program) -> None:
    for run, owner in (("run-1", "/var/lib/rdagentd"), ("run-2", "/tmp/try")):
        program.ask(op="open", run=run, rules={**RULES, "owner": owner})
    assert program.ask(op="hello", owner="/tmp/try")["runs"] == ["run-2"]
    assert program.ask(op="hello")["runs"] == ["run-1", "run-2"]


def test_the_rules_survive_the_program(program: Program) -> None:
    path = program.ask(op="open", run="run-1", rules=RULES)["socket"]
    program.ask(op="open", run="run-2", rules=RULES)
    program.ask(op="close", run="run-2")
    program.kill()
    assert not speaks(path)
    program.start()
    assert program.ask(op="hello")["runs"] == ["run-1"]
    assert speaks(path)
    assert program.close() == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"op": "frobnicate", "run": "a"}, "cannot do 'frobnicate'"),
        ({"op": None}, "cannot do None"),
        ({"op": "open", "run": "../a", "rules": RULES}, "cannot use run '../a'"),
        ({"op": "open", "run": "", "rules": RULES}, "cannot use run ''"),
        ({"op": "open", "run": "a"}, "cannot read rules: a map is expected"),
        (
            {"op": "open", "run": "a", "rules": {**RULES, "memory": "4G"}},
            "cannot read rules: memory must be int | None",
        ),
        ({"op": "open", "run": "a", "rules": {**RULES, "extra": 1}}, "cannot read rules: 'extra' is not known"),
        ({"op": "open", "run": "a", "rules": {"worker": "w"}}, "cannot read rules: "),
        ({"op": "pause", "run": "nobody"}, "cannot find run nobody: open it first"),
        ({"op": "end", "run": "a", "grace": -1}, "cannot end run a: grace must be seconds"),
    ],
)
def test_what_is_not_understood_is_told_and_changes_nothing(
    program: Program, request_: dict[str, Any], message: str
) -> None:
    assert program.ask(**request_).startswith(message)
    assert program.ask(op="hello")["runs"] == []


def test_an_end_that_the_engine_does_not_answer_can_be_asked_for_again(program: Program) -> None:
    program.ask(op="open", run="run-1", rules=RULES)
    program.engine.unlink()
    assert program.ask(op="end", run="run-1", grace=0).startswith("cannot reach the Docker engine at ")
    assert program.ask(op="hello")["runs"] == ["run-1"]


def test_rules_come_back_as_they_were() -> None:
    given = rules(binds=("/a", "/b"), log_options={"a": "b"})
    assert from_wire(to_wire(given)) == given
    assert from_wire({**to_wire(given), "memory": None}) == replace(given, memory=None)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text("{")
    command = [sys.executable, "-m", "rdagentd", "docker-proxy", "--socket", str(tmp_path / "c")]
    places = ["--runtime-dir", str(tmp_path / "run"), "--state-dir", str(tmp_path)]
    ended = subprocess.run([*command, *places], check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "runs.json" in ended.stderr
    assert "move it away" in ended.stderr
