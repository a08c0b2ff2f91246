"""Budgets through the whole daemon, with real processes: of money, time, output and disk, alone and shared."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually

WRITES = """
import os, sys
sys.stdin = open("go")
for line in sys.stdin:
    os.write(1, b"x" * (int(line) - 1) + b"\\n")
"""
"""Writes as many bytes as it is told by a pipe."""


def why(client: Client, name: str) -> str:
    return " ".join(client.call("why", select={"names": [name]})[0]["sentences"])


def told(client: Client, kind: str) -> list[str]:
    return [item["text"] for item in client.stream("events", select={}, tail=1000) if item["kind"] == kind]


def change(client: Client, **spec: Any) -> None:
    client.call("apply", documents=[{"where": "a test", "base": None, "document": spec}])


def test_a_worker_over_its_budget_of_time_is_stopped_and_stays_so_until_it_is_raised(client: Client) -> None:
    spec = {"name": "w", "command": ["sleep", "1000"], "restart": {"policy": "always", "delay": 0}}
    client.call("submit", spec={**spec, "budgets": {"run_time": "0.5s"}})
    row = client.wait("w")[0]
    assert (row["state"], row["exit"]["kind"], row["due_in"]) == ("failed", "over_budget", None)
    used = r"it has used [\d.]+ s of run time, the budget is 0\.5 s of run time"
    assert re.fullmatch(f"{used}; killed by SIGTERM", row["exit"]["reason"])
    refused = client.verb("start", "w")[0]["error"]
    assert refused["code"] == "conflict"
    assert re.fullmatch(f"cannot start w: {used}; raise it: rdagentctl budget w --raise run_time=…", refused["message"])
    change(client, **spec, budgets={"run_time": "1h"})
    assert client.wait("w", until="running")[0]["state"] == "running"
    assert len(told(client, "budget_warning")) == 1


def test_a_run_that_does_not_report_what_its_budget_needs_is_stopped(client: Client) -> None:
    client.submit("w", "sleep", "1000", budgets={"cost_usd": 5, "within": "0.3s"})
    row = client.wait("w")[0]
    said = "no cost_usd was reported for 0.3 s, and there is a budget of it"
    assert (row["exit"]["kind"], row["exit"]["reason"]) == ("over_budget", f"{said}; killed by SIGTERM")
    assert said in why(client, "w")


@pytest.mark.parametrize("separate", [False, True])
def test_output_is_counted_over_runs_and_crashes_of_the_daemon(
    client: Client, daemon: LiveDaemon, tmp_path: Path, separate: bool
) -> None:
    os.mkfifo(tmp_path / "go")
    spec = {"directory": str(tmp_path), "log": {"separate": separate}, "budgets": {"log_bytes": 100_000}}
    client.submit("w", sys.executable, "-c", WRITES, **spec)
    with (tmp_path / "go").open("w") as pipe:
        print(60_000, file=pipe, flush=True)
        eventually(lambda: len(client.log("w")) == 60_000, "it to be written")
    client.wait("w")
    client.verb("start", "w")
    with (tmp_path / "go").open("w") as pipe:
        print(30_000, file=pipe, flush=True)
        eventually(lambda: told(client, "budget_warning"), "the warning")
        daemon.kill()
        again = daemon.start()
        assert again is not None
        print(9_000, file=pipe, flush=True)
        eventually(lambda: len(again.log("w", run=-1)) == 39_000, "it to be written")
        assert again.worker("w")["state"] == "running"
        print(6_000, file=pipe, flush=True)
        row = again.wait("w")[0]
    assert row["exit"]["kind"] == "over_budget"
    assert row["exit"]["reason"].startswith("it has used 102.5 KiB of output, the budget is 97.7 KiB of output")


def test_what_the_directories_hold_together_is_a_budget(client: Client) -> None:
    fill = 'for where in "$STATE_DIRECTORY" "$CACHE_DIRECTORY"; do dd if=/dev/zero of="$where/f" bs=1M count=2; done'
    most = (4 << 20) - 1  # nothing but the whole is more
    client.submit("w", "sh", "-c", f"{fill}; sleep 1000", state={}, cache={}, budgets={"disk": most})
    row = client.wait("w")[0]
    assert row["exit"]["kind"] == "over_budget"
    assert row["exit"]["reason"].startswith("it has used 4 MiB on disk, the budget is 4 MiB on disk")


def test_disk_needs_a_directory_that_is_measured(client: Client) -> None:
    with pytest.raises(CallError, match=r"budgets\.disk: needs `state` or `cache`"):
        client.submit("w", "true", budgets={"disk": "3M"})


def test_a_group_spends_together_waits_together_and_goes_on_when_it_is_raised(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text('[budgets.group.research]\nrun_time = "1s"\n')
    client = daemon.start("--config", str(config))
    assert client is not None
    spec = {"restart": {"policy": "always", "delay": 0}, "queue": {"group": "research"}}
    for name in ("a", "b"):
        client.submit(name, "sleep", "1000", **spec)
    client.submit("other", "sleep", "1000")
    eventually(lambda: [client.worker(name)["state"] for name in ("a", "b")] == ["queued"] * 2, "both to wait")
    assert client.wait("other", until="running")[0]["state"] == "running"
    assert re.search(
        "waits for a budget: group research has used .* s of run time, the budget is 1 s", why(client, "a")
    )
    assert "raise run_time in [budgets.group.research] of rdagentd.toml" in why(client, "a")
    daemon.kill()
    again = daemon.start("--config", str(config))
    assert again is not None
    assert again.worker("a")["state"] == "queued", "what was spent is kept"
    config.write_text('[budgets.group.research]\nrun_time = "1h"\n')
    again.call("reload")
    assert {row["state"] for row in again.wait("a", "b", until="running")} == {"running"}


def test_the_budget_of_a_day_names_its_end(daemon: LiveDaemon, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text('[budgets.day]\nrun_time = "0.5s"\n')
    client = daemon.start("--config", str(config))
    assert client is not None
    client.submit("a", "sleep", "1000", restart={"policy": "always", "delay": 0})
    eventually(lambda: "it begins anew at 00:00 UTC" in why(client, "a"), "it to wait")


# --- what runs report -------------------------------------------------------------------------------------------------

SPENDS = """
import os, sys, time
go = open("go")
for line in go:
    print("Current Cost: $%s" % line.strip(), flush=True)
"""
COST = [{"source": "log", "measure": "cost_usd", "pattern": "Current Cost: ${number}", "add": True}]


def spending(tmp_path: Path, name: str = "w", **spec: Any) -> dict[str, Any]:
    place = tmp_path / name
    place.mkdir()
    os.mkfifo(place / "go")
    return {
        "name": name, "command": [sys.executable, "-c", SPENDS], "directory": str(place), "reporters": COST, **spec,
    }  # fmt: skip


def test_what_it_costs_is_exact_over_crashes_of_the_daemon_and_of_the_worker(
    client: Client, daemon: LiveDaemon, tmp_path: Path
) -> None:
    """Reports while nobody listens, a daemon killed in between, a worker killed in between: each cent counts once."""
    spec = spending(tmp_path, budgets={"cost_usd": 1.00}, restart={"policy": "always", "delay": 0})
    client.call("submit", spec=spec)
    client.wait("w", until="running")
    go = (tmp_path / "w" / "go").open("w")
    for number in range(3):
        print("0.01", file=go, flush=True)
        eventually(lambda: (client.worker("w")["cost_usd"] or 0) >= 0.01 * (number + 1) - 1e-9, "the report")  # noqa: B023
    daemon.kill()
    for _ in range(10):
        print("0.03", file=go, flush=True)
    again = daemon.start()
    assert again is not None
    eventually(lambda: again.worker("w")["cost_usd"] == 0.33, "what was said meanwhile to be counted")
    first = again.worker("w")["run"]["id"]
    print("0.20", file=go, flush=True)
    again.verb("signal", "w", signal="SIGKILL")
    go.close()
    eventually(lambda: again.worker("w")["run"]["id"] != first and again.worker("w")["state"] == "running", "a new run")
    with (tmp_path / "w" / "go").open("w") as go:
        before = again.worker("w")["cost_usd"]
        assert before in (0.33, 0.53)  # the last line may not have been written before it was killed
        print("0.47", file=go, flush=True)
        print("0.30", file=go, flush=True)
        row = again.wait("w")[0]
    assert row["exit"]["kind"] == "over_budget"
    assert row["cost_usd"] == pytest.approx(before + 0.77)
    assert len(told(again, "over_budget")) == 1


def test_a_runaway_is_stopped_within_one_report(client: Client, tmp_path: Path) -> None:
    spec = spending(tmp_path, budgets={"cost_usd": 0.50})
    client.call("submit", spec=spec)
    client.wait("w", until="running")
    with (tmp_path / "w" / "go").open("w") as go:
        total = 0.0
        while client.worker("w")["state"] == "running" and total < 5:
            total = round(total + 0.09, 2)
            print("0.09", file=go, flush=True)
            eventually(lambda: (client.worker("w")["cost_usd"] or 0) >= total - 1e-9, "the report")  # noqa: B023
            eventually(lambda: total <= 0.5 or client.worker("w")["state"] != "running", "it to be stopped")  # noqa: B023
        row = client.wait("w")[0]
    assert row["cost_usd"] == 0.54
    assert row["exit"]["reason"].startswith("it has used $0.54, the budget is $0.50")
    assert told(client, "budget_warning") == ["it has used $0.45, the budget is $0.50 (90%)"]


def test_what_a_group_spends_survives_the_removal_of_who_spent_it(daemon: LiveDaemon, tmp_path: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text("[budgets.group.default]\ncost_usd = 1.00\n[budgets.owner.root]\ncost_usd = 100\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    for name, cost in (("a", "0.60"), ("b", "0.50")):
        client.call("submit", spec=spending(tmp_path, name))
        client.wait(name, until="running")
        with (tmp_path / name / "go").open("w") as go:
            print(cost, file=go, flush=True)
            eventually(lambda: client.worker(name)["cost_usd"], "the report")  # noqa: B023
        client.wait(name)
        client.verb("remove", name)
        daemon.kill()
        client = daemon.start("--config", str(config))
        assert client is not None
    client.submit("c", "sleep", "1000", budgets={"cost_usd": 0})
    assert client.worker("c")["state"] == "queued"
    assert "group default has used $1.10, the budget is $1.00" in why(client, "c")
