"""Daemon and executor are killed while agents spend and resume: each cent counts once, each run begins where it should."""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import account
from tests.chaos.test_executor_killed import kill, pid_of_executor
from tests.harness import LiveDaemon, marked

FULL = os.environ.get("RDAGENTD_CHAOS") == "full"
KILLS = 100 if FULL else 10
AGENTS = 12
STEPS = 150 if FULL else 40
FOREVER = 10**9
BUDGET = 0.5
PRICE = 0.01


def spec(directory: Path, name: str, steps: int, budget: float) -> dict[str, Any]:
    (directory / name).mkdir()
    program = [sys.executable, "-S", str(Path(__file__).with_name("agent.py")), str(directory / name), str(steps)]
    return {
        "name": name,
        "command": program,
        "directory": str(directory / name),
        "environment": {"CHAOS": str(directory)},
        "restart": {"policy": "on-failure", "delay": 0, "retries": 1000, "breaker": {"failures": 0}},
        "checkpoints": {
            "files": "{step:int}.json", "order": ["step"], "verify": "json", "keep": 0, "resume": [*program, "{checkpoint}"],
        },
        "reporters": [{"source": "log", "measure": "cost_usd", "pattern": "spent ${number}", "add": True}],
        "budgets": {"cost_usd": budget},
        "stop": {"grace": 0.3},
    }  # fmt: skip


@pytest.mark.crash
@pytest.mark.timeout(1500)
def test_sums_are_exact_and_every_run_begins_where_it_should(
    daemon: LiveDaemon, tmp_path: Path, seeded: random.Random
) -> None:
    """Of the executor's deaths the daemon hears by itself, at times only after one of its own."""
    began = time.monotonic()
    config = tmp_path / "rdagentd.toml"
    config.write_text("keep_runs = 1_000_000\nlog_level = 'warning'\n")
    directory = tmp_path / f"own-{seeded.random()}"
    directory.mkdir()
    thrifty = [f"thrifty-{number}" for number in range(AGENTS)]
    greedy = [f"greedy-{number}" for number in range(AGENTS // 3)]
    client = daemon.start("--config", str(config))
    assert client is not None
    for name in thrifty:
        client.call("submit", spec=spec(directory, name, STEPS, 1e6))
    for name in greedy:
        client.call("submit", spec=spec(directory, name, FOREVER, BUDGET))
    executor = pid_of_executor(client, daemon)
    for _ in range(KILLS):
        select.select([], [], [], seeded.uniform(0, 0.5))
        whom = seeded.choice(("daemon", "daemon", "executor", "both"))
        if whom != "daemon":
            kill(executor)
        if whom != "executor":
            daemon.kill()
            client = daemon.start("--config", str(config))
            assert client is not None
        executor = pid_of_executor(client, daemon, 0 if whom == "daemon" else executor)
    client.socket.settimeout(600)
    rows = {row["name"]: row for row in client.wait(*thrifty, *greedy)}
    assert not marked(f"CHAOS={directory}")
    assert {rows[name]["state"] for name in thrifty} == {"completed"}
    assert {(rows[name]["state"], rows[name]["reason"]["code"]) for name in greedy} == {("failed", "over_budget")}
    told = Counter({name: client.log(name).count(b"spent $0.01\n") for name in rows})
    for name, row in rows.items():
        assert row["cost_usd"] == pytest.approx(told[name] * PRICE, abs=1e-9), name
    assert all(told[name] >= BUDGET / PRICE for name in greedy)
    runs, back = 0, 0
    for name in rows:
        one, other = begins(daemon, directory, name)
        runs, back = runs + one, back + other
    assert runs > len(rows) and back
    print(
        f"{KILLS} kills, {runs} runs, of which {back} began from another than the newest whole checkpoint, "
        f"{sum(told.values())} reports, {time.monotonic() - began:.0f} s"
    )


def begins(daemon: LiveDaemon, directory: Path, name: str) -> tuple[int, int]:
    """Compares where each run began with the rule: the newest that is whole, of this life, from which no two runs have failed
    without a newer one.

    Returns how many runs there were, and how many began from another than the newest that is whole.
    """
    ends = {run["id"]: run["exit"] for run in account.history(daemon.state / "state.db", name)}
    failures: Counter[tuple[str, int]] = Counter()
    former: set[tuple[str, int]] = set()
    runs = back = 0
    for line in (directory / name / "account").read_text().splitlines():
        one = json.loads(line)
        found = sorted(one["whole"].items(), reverse=True)
        if found and not failures[found[0]]:
            failures.clear()  # it got on meanwhile
        rule = next((path for path, at in found if (path, at) not in former and failures[path, at] < 2), None)
        assert one["began"] == rule, f"{name}: run {one['run']} began from {one['began']}, not {rule}: {found[:3]}"
        if rule is None:
            former |= set(found)
        elif ends[one["run"]]["kind"] != "lost":
            failures[rule, one["whole"][rule]] += 1
        runs, back = runs + 1, back + (bool(found) and rule != found[0][0])
    return runs, back
