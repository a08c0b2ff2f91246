"""Agents that die, hang or destroy their work, and what they go on from: real processes, a real daemon."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually
from tests.look.conftest import FILES, Trace
from tests.look.test_snapshot import Tree

AGENT = """
import hashlib, hmac, json, os, pickle, signal, sys, time
MAGIC, KEY = b"RDAGENT_SIGNED_PICKLE_V1\\n", open("key", "rb").read()
STEPS = ("direct_exp_gen", "coding", "running", "feedback", "record")
def load(path):
    data = open(path, "rb").read()
    digest, payload = data[len(MAGIC):len(MAGIC) + 32], data[len(MAGIC) + 32:]
    if not hmac.compare_digest(digest, hmac.new(KEY, payload, hashlib.sha256).digest()):
        sys.exit("UntrustedArtifactError")
    return pickle.loads(payload)
path = sys.argv[2] if sys.argv[1:2] == ["--path"] else None
with open("begins", "a") as file:
    file.write((os.path.relpath(path) if path else "the beginning") + "\\n")
loop, step = load(path) if path else (0, -1)
steps, end = json.load(open("plan"))[open("begins").read().count("\\n") - 1]
for _ in range(steps):
    loop, step = (loop + 1, 0) if step == 4 else (loop, step + 1)
    os.makedirs(f"trace/__session__/{loop}", exist_ok=True)
    payload = pickle.dumps((loop, step))
    newest = f"trace/__session__/{loop}/{step}_{STEPS[step]}"
    with open(newest, "wb") as file:
        file.write(MAGIC + hmac.new(KEY, payload, hashlib.sha256).digest() + payload)
if end == "truncate":
    os.truncate(newest, os.path.getsize(newest) - 1)
if end == "link":
    os.rename("trace/__session__", "../moved")
    os.symlink(os.path.abspath("../moved"), "trace/__session__")
if end == "sleep":
    print("asleep", flush=True)
    time.sleep(1000)
if isinstance(end, int):
    sys.exit(end)
os.kill(os.getpid(), signal.SIGKILL)
"""
SESSION = "trace/__session__/"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[LiveDaemon]:
    (tmp_path / "daemon").mkdir()
    live = LiveDaemon(tmp_path / "daemon")
    yield live
    live.close()


class Agent:
    """A worker that does as `plan` says: for each run how many steps, and how it ends."""

    def __init__(self, daemon: LiveDaemon, top: Path) -> None:
        top.mkdir()
        self.trace = Trace(top)
        self.top = top
        (top / "agent.py").write_text(AGENT)
        self.daemon = daemon
        self.client: Client

    def submit(self, *plan: Any, **fields: Any) -> None:
        (self.top / "plan").write_text(json.dumps(plan))
        program = [sys.executable, "agent.py"]
        checkpoints = {
            "files": FILES, "order": ["loop", "step"], "verify": "signed-pickle", "key": "key",
            "resume": [*program, "--path", "{checkpoint}"],
        }  # fmt: skip
        spec: dict[str, Any] = {
            "directory": str(self.top), "restart": {"policy": "on-failure", "delay": 0}, "checkpoints": checkpoints,
        }  # fmt: skip
        client = self.daemon.start()
        assert client is not None
        self.client = client
        self.client.submit("w", *program, **{**spec, **fields})

    def begins(self) -> list[str]:
        return [line.removeprefix(SESSION) for line in (self.top / "begins").read_text().splitlines()]

    def told(self, kind: str) -> list[str]:
        return [event["text"] for event in self.client.stream("events", select={"names": ["w"]}, kinds=[kind])]

    def asleep(self, begun: int) -> None:
        eventually(lambda: (self.top / "begins").exists() and len(self.begins()) == begun, "the agent to begin")
        eventually(lambda: self.client.log("w").count(b"asleep\n") == begun, "it to have saved what it saves")


@pytest.fixture
def agent(daemon: LiveDaemon, tmp_path: Path) -> Agent:
    return Agent(daemon, tmp_path / "agent")


def test_one_that_was_killed_goes_on_where_it_was(agent: Agent) -> None:
    agent.submit([7, "killed"], [3, 0])
    (row,) = agent.client.wait("w")
    assert (row["state"], row["restarts"]) == ("completed", 1)
    assert agent.begins() == ["the beginning", "1/1_coding"]
    assert agent.trace.names()[-1] == f"{SESSION}1/4_record"
    assert row["run"]["checkpoint"] == f"{SESSION}1/1_coding"
    (shown,) = agent.client.call("show", select={"names": ["w"]})
    assert sorted(run["checkpoint"] or "" for run in shown["runs"]) == ["", f"{SESSION}1/1_coding"]
    assert agent.told("resumes") == [f"goes on from {SESSION}1/1_coding"]


def test_a_damaged_newest_falls_back_to_the_one_before(agent: Agent) -> None:
    agent.submit([7, "truncate"], [1, 0])
    assert agent.client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning", "1/0_direct_exp_gen"]
    (told,) = agent.told("resumes")
    assert told.startswith(f"goes on from {SESSION}1/0_direct_exp_gen ({SESSION}1/1_coding its signature does not fit")


def test_the_same_failing_twice_goes_back_one_more(agent: Agent) -> None:
    agent.submit([3, 1], [0, 1], [0, 1], [1, 0])
    assert agent.client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning", "0/2_running", "0/2_running", "0/1_coding"]


def test_where_none_is_left_it_begins_at_the_beginning_and_says_so(agent: Agent) -> None:
    agent.submit([1, "truncate"], [2, 0])
    assert agent.client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning", "the beginning"]
    (told,) = agent.told("resumes")
    assert told.startswith("starts from the beginning: ")


def test_a_link_out_of_its_directory_leads_nowhere(agent: Agent) -> None:
    agent.submit([7, "link"], [0, 0])
    assert agent.client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning", "the beginning"]
    assert agent.told("resumes") == ["starts from the beginning: there is no checkpoint"]


def test_a_start_begins_at_the_beginning_and_resume_goes_on(agent: Agent) -> None:
    agent.submit([7, "sleep"], [0, "sleep"], [0, "sleep"], [2, "sleep"], [0, "sleep"])
    agent.asleep(1)
    with pytest.raises(CallError, match="it is running; stop it first"):
        fared = agent.client.verb("resume", "w", checkpoint=f"{SESSION}0/0_direct_exp_gen")
        raise CallError(fared[0]["error"] | {"details": {}})
    for begun, (verb, args) in enumerate(
        [("resume", {}), ("resume", {"checkpoint": f"{SESSION}0/2_running"}), ("start", {}), ("resume", {})], start=2
    ):
        agent.client.verb("stop", "w")
        agent.client.wait("w")
        (fared,) = agent.client.verb(verb, "w", **args)
        assert fared["error"] is None
        agent.asleep(begun)
    assert agent.begins() == ["the beginning", "1/1_coding", "0/2_running", "the beginning", "0/1_coding"]


def test_a_checkpoint_that_is_damaged_or_none_cannot_be_chosen(agent: Agent) -> None:
    agent.submit([2, "truncate"], restart="never")
    agent.client.wait("w")
    with pytest.raises(
        CallError, match=r"cannot resume w from trace/__session__/0/1_coding: its signature does not fit"
    ):
        agent.client.verb("resume", "w", checkpoint=f"{SESSION}0/1_coding")
    with pytest.raises(CallError, match=r"cannot resume w from \.\./x: there is no such checkpoint"):
        agent.client.verb("resume", "w", checkpoint="../x")


def test_checkpoints_are_listed_with_what_is_wrong_with_them(agent: Agent) -> None:
    agent.submit([7, "truncate"], restart="never")
    agent.client.wait("w")
    told = agent.client.call("checkpoints", name="w")
    assert told["next"] == f"{SESSION}1/0_direct_exp_gen"
    newest, second = told["checkpoints"][:2]
    assert newest["path"] == f"{SESSION}1/1_coding" and "signature" in newest["problem"] and newest["present"]
    assert (second["problem"], second["failures"], len(told["checkpoints"])) == ("", 0, 7)
    command = [sys.executable, "-m", "rdagentctl", "--socket", str(agent.daemon.socket), "checkpoints", "w"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"{SESSION}1/0_direct_exp_gen" in done.stdout and "the next to go on from" in done.stdout


@pytest.mark.parametrize(("point", "nth"), [("before-prepare", 1), ("before-ask-spawn", 2)])
def test_a_daemon_that_crashes_between_look_and_spawn_asks_once_for_the_same(
    agent: Agent, point: str, nth: int
) -> None:
    agent.daemon.start(env={"RDAGENTD_FAILPOINTS": f"{point}:{nth}:kill"}, ready=False)
    start, agent.daemon.start = agent.daemon.start, agent.daemon.client  # type: ignore[method-assign,misc]
    agent.submit([7, "killed"], [3, 0])
    agent.daemon.wait()
    client = start()
    assert client is not None
    agent.client = client
    assert client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning", "1/1_coding"]


def test_an_executor_that_dies_meanwhile_loses_nothing(agent: Agent) -> None:
    """It is killed while it keeps the work tree: the run was never asked for, so it is prepared again."""
    slow = agent.top.parent / "bin"
    slow.mkdir()
    git = shutil.which("git")
    (slow / "git").write_text(
        f'#!/bin/sh\n[ -e {slow}/go ] || {{ echo $$ > {slow}/pid; exec sleep 1000; }}\nexec {git} "$@"\n'
    )
    (slow / "git").chmod(0o755)
    subprocess.run(("git", "init", "-q", str(agent.top)), check=True)
    environment = {"PATH": f"{slow}:{os.environ['PATH']}"}
    agent.submit([7, 0], snapshot={"git": True}, environment=environment)
    eventually(lambda: (slow / "pid").exists() and (slow / "pid").read_text(), "it to be prepared")
    (slow / "go").touch()
    os.kill(agent.client.call("version")["executor"]["pid"], 9)
    assert agent.client.wait("w")[0]["state"] == "completed"
    assert agent.begins() == ["the beginning"]


def test_one_that_is_stopped_while_its_work_is_being_kept_never_starts(agent: Agent) -> None:
    slow = agent.top.parent / "bin"
    slow.mkdir()
    (slow / "git").write_text(f"#!/bin/sh\necho $$ > {slow}/pid\nexec sleep 1000\n")
    (slow / "git").chmod(0o755)
    agent.submit(snapshot={"git": True}, environment={"PATH": f"{slow}:{os.environ['PATH']}"})
    eventually((slow / "pid").exists, "it to be prepared")
    agent.client.verb("stop", "w")
    (row,) = agent.client.wait("w")
    assert (row["state"], row["exit"]["kind"]) == ("stopped", "lost")
    assert row["exit"]["reason"].startswith("never started") and not (agent.top / "begins").exists()


def test_a_torn_database_falls_back_to_the_one_before(agent: Agent) -> None:
    script = agent.top / "agent.sh"
    script.write_text("echo ${1:-start} >> begins; [ $(wc -l < begins) = 2 ] && exit 0; exit 1\n")
    for number, name in enumerate(("old.sqlite", "new.sqlite"), start=2_000_000_000):
        database = sqlite3.connect(agent.top / name)
        database.execute("CREATE TABLE steps (state TEXT)")
        database.executemany("INSERT INTO steps VALUES (?)", [("x" * 500,)] * 100)
        database.commit()
        database.close()
        if name.startswith("new"):
            os.truncate(agent.top / name, 10_000)
        os.utime(agent.top / name, (number, number))
    checkpoints = {"files": "*.sqlite", "verify": "sqlite", "resume": ["sh", "agent.sh", "{checkpoint}"]}
    client = agent.daemon.start()
    assert client is not None
    client.submit("w", "sh", "agent.sh", directory=str(agent.top), restart="on-failure", checkpoints=checkpoints)
    client.wait("w")
    assert agent.begins() == ["start", str(agent.top / "old.sqlite")]


def test_work_that_was_destroyed_is_restored_by_one_command(agent: Agent, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    tree.write("code.py", "2")
    tree.commit("user work")
    tree.write("new.py", "not committed")
    before = tree.state()
    client = agent.daemon.start()
    assert client is not None
    destroy = "git reset -q --hard HEAD~1; rm -f new.py; echo rubbish > rubbish; sleep 1000"
    client.submit("w", "sh", "-c", destroy, directory=str(tree.top), snapshot={"git": True})
    client.wait("w", until="running")
    eventually((tree.top / "rubbish").exists, "the agent to destroy its work")
    with pytest.raises(CallError, match="cannot restore the workspace of w: it is running; stop it first"):
        client.call("restore_workspace", name="w")
    client.verb("kill", "w")
    client.wait("w")
    run = client.worker("w")["run"]["id"]
    assert tree.state() != before
    with pytest.raises(CallError, match=f"there is no snapshot of run r1; there are those of {run}"):
        client.call("restore_workspace", name="w", run="r1")
    command = [sys.executable, "-m", "rdagentctl", "--socket", str(agent.daemon.socket), "restore-workspace", "w"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"{tree.top} is as it was before run {run}: refs/heads/main is {before['head'][:12]} again\n"
    assert tree.state() == before


def test_without_a_snapshot_that_was_asked_for_nothing_starts(agent: Agent) -> None:
    agent.submit([0, 0], snapshot={"git": True}, restart="never")
    (row,) = agent.client.wait("w")
    assert (row["state"], row["exit"]["kind"], row["exit"]["stage"]) == ("failed", "could_not_start", "snapshot")
    assert "not a git repository" in row["exit"]["reason"] and not (agent.top / "begins").exists()
