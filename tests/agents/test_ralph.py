"""Ralph 1.2.3 itself, as a worker of its profile, with agents that are shell scripts. It exits with 0 whatever happened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents.install import installed
from tests.harness import Client, eventually, marked

pytestmark = [pytest.mark.agents, pytest.mark.slow, pytest.mark.timeout(3000)]

PATIENCE = 900.0

CONFIG = """\
agent: auto
agent_priority: [qchat]
prompt_file: PROMPT.md
completion_promise: "LOOP_COMPLETE"
adapters:
  claude: {enabled: false}
  kiro: {enabled: false}
  gemini: {enabled: false}
  acp: {enabled: false}
"""
"""Only what RALPH_QCHAT_COMMAND names: the bundled claude would be called in its place when it fails."""

SUCCEEDS = """\
n=$(($(cat turns 2>/dev/null || echo 0) + 1)); echo $n > turns
if [ $n -lt 2 ]; then echo "read the task, and wrote down what is to be done"; else echo LOOP_COMPLETE; fi
"""
FAILS = "echo no model answers >&2; exit 1\n"
HANGS = "echo thinking; exec sleep 100000\n"
RUNS_ON = """\
n=$(($(cat turns 2>/dev/null || echo 0) + 1)); echo $n > turns
head -c 300 /dev/urandom | od -An -tx1
"""
"""Never done, and never says the same."""
REPEATS = "echo the tests fail, I will fix them now and run them again\n"
LEAVES = "sleep 100000 & echo started a server in the background, done with this turn\n"
"""The child keeps the pipe to Ralph open, which waits for its end."""

GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "user"), ("EMAIL", "user@example.org"))
}


@pytest.fixture(scope="module")
def ralph() -> Path:
    return installed("ralph-orchestrator-1.2.3") / "bin" / "ralph"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository with two commits of the user's: HEAD~1 is there to be gone back to."""
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "PROMPT.md").write_text("# Task\nDo it.\n")
    (place / "ralph.yml").write_text(CONFIG)
    git(place, "init", "-q")
    for text in ("first", "user work"):
        (place / "work.txt").write_text(text)
        git(place, "add", "-A")
        git(place, "commit", "-qm", text)
    return place


def git(place: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=place, env={**GIT, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def submit(client: Client, ralph: Path, workspace: Path) -> Callable[..., dict[str, Any]]:
    def submit(agent: str, given: dict[str, Any], **spec: Any) -> dict[str, Any]:
        program = workspace.parent / "agent"
        program.write_text("#!/bin/sh\n" + agent)
        program.chmod(0o755)
        values = {"program": str(ralph), "memory": "unlimited", **given}
        path = f"{ralph.parent}:/usr/bin:/bin"
        variables = {"RALPH_QCHAT_COMMAND": str(program), "PATH": path, **GIT}
        raw = {
            "name": "ralph",
            "profile": "ralph",
            "set": values,
            "directory": str(workspace),
            "environment": variables,
        }
        told: dict[str, Any] = client.call("submit", spec={"restart": "never", **raw, **spec})
        return told

    return submit


def ended(client: Client) -> dict[str, Any]:
    client.socket.settimeout(PATIENCE)
    return client.wait("ralph")[0]


def test_success_is_completed(client: Client, submit: Callable[..., dict[str, Any]]) -> None:
    told = submit(SUCCEEDS, {"iterations": 5})
    assert not any("does not start" in warning for warning in told["warnings"]), told
    row = ended(client)
    said = client.log("ralph").decode()
    assert (row["state"], row["exit"]["kind"], row["exit"]["code"], row["exit"]["outcome"]) == (
        "completed", "code", 0, "completed",
    ), said[-3000:]  # fmt: skip
    assert row["exit"]["reason"] == "exited with code 0, and completed: its agent kept the completion promise"
    assert said.count("=== RALPH ITERATION") == 2


def test_an_agent_that_fails_is_a_failure_although_ralph_calls_it_success(
    client: Client, submit: Callable[..., dict[str, Any]]
) -> None:
    submit(FAILS, {"iterations": 2})
    row = ended(client)
    assert "Ralph Orchestrator completed successfully" in client.log("ralph").decode()
    assert (row["state"], row["exit"]["kind"], row["exit"]["code"]) == ("failed", "code", 0)
    assert row["exit"]["reason"] == "exited with code 0, but failed: not one iteration succeeded"


def test_the_users_commit_that_ralphs_recovery_destroyed_is_restored(
    client: Client, submit: Callable[..., dict[str, Any]], workspace: Path
) -> None:
    """Its fourth failure in a row is followed by git reset --hard HEAD~1."""
    before = git(workspace, "rev-parse", "HEAD")
    submit(FAILS, {"iterations": 4, "checkpoint_interval": 100})
    ended(client)
    assert git(workspace, "log", "-1", "--format=%s") == "first" and (workspace / "work.txt").read_text() == "first"
    restored = client.call("restore_workspace", name="ralph")
    assert git(workspace, "rev-parse", "HEAD") == before, restored
    assert (workspace / "work.txt").read_text() == "user work"


def test_an_agent_that_hangs_is_a_stall(client: Client, submit: Callable[..., dict[str, Any]]) -> None:
    submit(HANGS, {"stall_after": "8s"})
    row = ended(client)
    assert (row["state"], row["exit"]["kind"]) == ("failed", "stalled")
    assert "8 s" in row["exit"]["reason"]
    assert not marked(f"RDAGENTD_RUN={row['run']['id']}")


def test_an_endless_loop_ends_by_its_budget_of_iterations(
    client: Client, submit: Callable[..., dict[str, Any]]
) -> None:
    submit(RUNS_ON, {"iterations": 50}, budgets={"iterations": 2})
    row = ended(client)
    said = client.log("ralph").decode()
    assert (row["state"], row["exit"]["kind"]) == ("failed", "over_budget"), said[-3000:]
    assert "iterations" in row["exit"]["reason"] and "2" in row["exit"]["reason"]
    assert said.count("=== RALPH ITERATION") <= 3


def test_an_endless_loop_that_says_the_same_is_a_failure(client: Client, submit: Callable[..., dict[str, Any]]) -> None:
    submit(REPEATS, {"iterations": 50})
    row = ended(client)
    assert (row["state"], row["exit"]["kind"], row["exit"]["outcome"]) == ("failed", "code", "failed")
    assert row["exit"]["reason"] == "exited with code 0, but failed: its agent says the same again and again"


def test_its_own_limit_is_a_failure(client: Client, submit: Callable[..., dict[str, Any]]) -> None:
    submit(RUNS_ON, {"iterations": 2})
    row = ended(client)
    assert row["state"] == "failed"
    assert (
        row["exit"]["reason"]
        == "exited with code 0, but failed: it reached a limit of its own before its task was done"
    )


def test_grandchildren_that_hold_its_pipe_end_with_the_stall(
    client: Client, submit: Callable[..., dict[str, Any]]
) -> None:
    submit(LEAVES, {"stall_after": "8s"})
    row = ended(client)
    assert (row["state"], row["exit"]["kind"]) == ("failed", "stalled")
    assert not marked(f"RDAGENTD_RUN={row['run']['id']}")


def test_grandchildren_that_hold_its_pipe_end_with_a_stop(
    client: Client, submit: Callable[..., dict[str, Any]]
) -> None:
    submit(LEAVES, {}, stop={"grace": "3s"})
    eventually(lambda: b"=== RALPH ITERATION 1" in client.log("ralph"), "the first iteration", PATIENCE)
    run = client.worker("ralph")["run"]["id"]
    eventually(lambda: any("sleep" in name for name in _programs(run)), "the grandchild", PATIENCE)
    client.verb("stop", "ralph")
    row = ended(client)
    assert (row["state"], row["want"]) == ("stopped", "down")
    assert not marked(f"RDAGENTD_RUN={row['run']['id']}")


def _programs(run: str) -> list[str]:
    """What lives of it."""
    found = []
    for pid in marked(f"RDAGENTD_RUN={run}"):
        try:
            found.append(Path(f"/proc/{pid}/comm").read_text())
        except OSError:
            continue
    return found
