"""Agents that cannot be had here, by programs that behave as they were measured to: their profiles deal with each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, eventually, marked

HERE = Path(__file__).parent
UNBOUND = {"memory": "unlimited"}
"""There may be no cgroup here that could bound it."""


def submit(client: Client, profile: str, given: dict[str, Any], *command: object, **spec: Any) -> dict[str, Any]:
    raw = {
        "name": "w",
        "profile": profile,
        "set": {**UNBOUND, **given},
        "command": [str(word) for word in command],
        **spec,
    }
    told: dict[str, Any] = client.call("submit", spec=raw)
    return told


def listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# --- astron-agent -----------------------------------------------------------------------------------------------------

ASTRON = {"source": str(HERE), "python": sys.executable, "swap": "unlimited", "cpu": "unlimited", "nofile": 512}


def test_what_a_wrapper_leaves_behind_ends_with_its_run_so_the_next_one_has_the_port(client: Client, port: int) -> None:
    here = {"directory": str(HERE)}
    submit(client, "astron-agent", {**ASTRON, "port": port}, sys.executable, HERE / "wrapper.py", port, **here)
    for _ in range(2):
        eventually(lambda: listens(port), "the server to listen")
        assert status_of(f"http://127.0.0.1:{port}/health") == 404
        assert status_of(f"http://127.0.0.1:{port}/openapi.json") == 200
        before = client.worker("w")["run"]["id"]
        client.verb("restart", "w")
        eventually(lambda was=before: client.worker("w")["run"]["id"] != was, "the next run")
    eventually(lambda: listens(port), "the server to listen")
    eventually(lambda: client.log("w").count(b"Uvicorn running") == 3, "it to say so")
    client.verb("stop", "w")
    last = client.wait("w")[0]["run"]["id"]
    assert not listens(port) and not marked(f"RDAGENTD_RUN={last}")
    assert client.log("w").count(b"Uvicorn running") == 3


def test_a_port_that_somebody_else_has_is_a_reason_and_no_restart_storm(client: Client, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        here = {"directory": str(HERE), "restart": "never"}
        told = submit(
            client, "astron-agent", {**ASTRON, "port": port}, sys.executable, HERE / "wrapper.py", port, **here
        )
        text = f"port {port} is taken; free it, or choose another"
        assert f"does not start as things are: {text}" in told["warnings"]
        row = client.wait("w")[0]
    assert (row["exit"]["kind"], row["exit"]["stage"]) == ("could_not_start", "preflight")
    assert text in row["reason"]["text"] and client.log("w") == b""


def test_default_passwords_of_its_variables_are_refused(client: Client, tmp_path: Path, port: int) -> None:
    (tmp_path / "env").write_text("MYSQL_PASSWORD=root123\nMINIO_SECRET_KEY=minioadmin\n")
    given = {**ASTRON, "port": port, "env_file": str(tmp_path / "env")}
    found = client.call("preflight", spec={"profile": "astron-agent", "set": {**UNBOUND, **given}})[0]
    assert found["problems"] == [
        "MINIO_SECRET_KEY is a default that everybody knows; choose another",
        "MYSQL_PASSWORD is a default that everybody knows; choose another",
    ]


# --- TradingAgents-CN -------------------------------------------------------------------------------------------------


def test_a_worker_finishes_its_task_after_it_was_asked_to_stop(client: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    secrets = dict.fromkeys(("JWT_SECRET", "MONGODB_PASSWORD", "REDIS_PASSWORD"), "one of our own")
    given = {"part": "worker", "source": str(tmp_path), "python": sys.executable}
    submit(client, "tradingagents-cn", given, sys.executable, HERE / "queue_worker.py", fifo, environment=secrets)
    eventually(lambda: b"task taken" in client.log("w"), "the task to be taken")
    client.verb("stop", "w")
    assert client.worker("w")["state"] == "stopping"
    eventually(lambda: b"asked to stop" in client.log("w"), "it to be asked")
    fifo.write_text("done\n")
    row = client.wait("w")[0]
    assert (row["state"], row["exit"]["kind"], row["exit"]["code"]) == ("stopped", "code", 0)
    assert b"task done" in client.log("w")


def test_its_defaults_are_refused_before_anything_starts(client: Client, tmp_path: Path) -> None:
    given = {"part": "backend", "source": str(tmp_path), "python": sys.executable}
    secrets = {"JWT_SECRET": "change-me-in-production", "MONGODB_PASSWORD": "tradingagents123"}
    submit(client, "tradingagents-cn", given, "/bin/true", environment=secrets, restart="never")
    row = client.wait("w")[0]
    assert row["exit"]["stage"] == "preflight" and row["state"] == "failed"
    for text in ("REDIS_PASSWORD is missing", "JWT_SECRET is a default", "MONGODB_PASSWORD is a default"):
        assert text in row["reason"]["text"]
    assert "tradingagents123" not in str(client.call("why", select={"names": ["w"]}))


# --- Ralph 2.x --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ralph2(tmp_path: Path) -> Path:
    program = tmp_path / "ralph"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/ralph2.py "$@"\n')
    program.chmod(0o755)
    who = ("-c", "user.name=user", "-c", "user.email=user@example.org")
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        (*who, "commit", "-qm", "work"),
    ):  # its work tree is kept before each start
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return program


@pytest.mark.parametrize(
    ("code", "state", "reason", "runs"),
    [
        (0, "completed", "completed", 1),
        (1, "failed", "retries_exhausted", 2),
        (2, "failed", "stop_code", 1),
        (3, "completed", "completed", 2),
        (130, "failed", "stop_code", 1),
    ],
)
def test_each_exit_code_of_ralph_2_leads_where_it_says(
    client: Client, tmp_path: Path, ralph2: Path, code: int, state: str, reason: str, runs: int
) -> None:
    (tmp_path / "code").write_text(str(code))
    spec = {
        "name": "w", "profile": "ralph2", "set": {**UNBOUND, "program": str(ralph2)}, "directory": str(tmp_path),
        "restart": {"retries": 1, "delay": 0.01},
    }  # fmt: skip
    warnings = client.call("submit", spec=spec)["warnings"]
    assert not any("does not start" in warning for warning in warnings), warnings
    row = client.wait("w")[0]
    assert (row["state"], row["reason"]["code"]) == (state, reason)
    assert client.log("w").count(b"loop over, run --no-tui") == runs


# --- TradingAgents ----------------------------------------------------------------------------------------------------


def test_an_analysis_that_was_killed_goes_on_at_its_last_step(client: Client) -> None:
    key = {"environment": {"OPENAI_API_KEY": "sk-of-nobody"}, "restart": {"delay": 0.01}}
    given = {"ticker": "AAPL", "date": "2026-01-31", "python": sys.executable}
    command = (sys.executable, HERE / "steps.py", "AAPL", "2026-01-31", 9, 7)
    submit(client, "tradingagents", given, *command, **key)
    row = client.wait("w")[0]
    assert (row["state"], row["restarts"]) == ("completed", 1)
    steps = [line for line in client.log("w").decode().splitlines() if line.startswith("step")]
    assert steps == [f"step {number}" for number in range(1, 10)]
    assert b"Resuming from step 7 for AAPL on 2026-01-31" in client.log("w")
