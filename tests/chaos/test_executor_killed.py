"""The executor is killed: its runs are lost, nothing of them lives on, and their policies decide what follows."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import account
from tests.chaos.account import PROGRAM
from tests.harness import Client, LiveDaemon, alive, end_process, eventually, marked

KILLS = 25 if os.environ.get("RDAGENTD_CHAOS") == "full" else 5
PAD = 200
POLICIES = {"always": 8, "unless-stopped": 4, "on-failure": 4, "never": 2}


def specs(directory: Path) -> list[dict[str, Any]]:
    """Workers that stay, each with a child in a session of its own that holds the worker's lock."""
    manners = ("obey", "trap", "ignore")
    return [
        {
            "name": f"{policy}-{number}",
            "command": ["sh", PROGRAM, str(directory), "0", "-1", "0", manners[number % 3], "leave"],
            "environment": {"PAD": str(PAD), "PAUSE": "0.1", "CHAOS": str(directory)},
            "restart": {"policy": policy, "delay": 0, "retries": 1000, "breaker": {"failures": 0}},
            "stop": {"grace": 0.3},
        }
        for policy, count in POLICIES.items()
        for number in range(count)
    ]


def pid_of_executor(client: Client, daemon: LiveDaemon, other_than: int = 0) -> int:
    """The executor that the daemon is connected to."""

    def found() -> int:
        facts = client.call("version")["executor"]
        return facts["pid"] if facts and facts["pid"] != other_than else 0

    pid: int = eventually(found, "an executor")
    daemon.executors.add(pid)
    return pid


def kill(pid: int) -> None:
    """SIGKILL to an executor of ours."""
    pidfd = os.pidfd_open(pid)
    assert b"rdagentd.executor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def is_over(client: Client, name: str, run: str) -> bool:
    """Whether a worker has another run, or rests."""
    row = client.worker(name)
    return row["run"]["id"] != run or row["state"] == "failed"


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_runs_are_lost_and_restarted(daemon: LiveDaemon, tmp_path: Path, seeded: random.Random) -> None:
    """Their own lock tells if a run begins while anything of an earlier one is alive. Every third time the daemon dies too."""
    directory = tmp_path / "own"
    directory.mkdir()
    client = daemon.start()
    assert client is not None
    for spec in specs(directory):
        client.call("submit", spec=spec)
    names = [spec["name"] for spec in specs(directory)]
    client.wait(*names, until="running")
    executor = pid_of_executor(client, daemon)
    lost = set()
    for number in range(KILLS):
        before = {row["name"]: row for row in client.status() if row["state"] == "running"}
        eventually(lambda: all(len(account.own_runs(directory, n)) for n in names), "all to have begun")
        kill(executor)
        if number % 3 == 2:
            daemon.kill()
            client = daemon.start()
            assert client is not None
        executor = pid_of_executor(client, daemon, executor)
        for name, row in before.items():
            eventually(partial(is_over, client, name, row["run"]["id"]), f"the end of {name}")
            lost.add(row["run"]["id"])
        stays = [name for name in names if not name.startswith("never")]
        rows = client.wait(*stays, until="running")
        assert {row["state"] for row in rows} == {"running"}, rows
        assert {row["restarts"] for row in rows} == {number + 1}
    never = client.status("never-*")
    assert {(row["state"], row["exit"]["kind"], row["reason"]["code"]) for row in never} == {
        ("failed", "lost", "never_restarted")
    }
    client.verb("stop", *names)
    client.wait(*names)
    assert marked(f"CHAOS={directory}") == []
    check_history(client, directory, names, lost)
    print(f"{KILLS} kills of the executor, {len(lost)} runs lost")


def check_history(client: Client, directory: Path, names: list[str], lost: set[str]) -> None:
    """Every run lost in the killing is `lost` in the history, and no other; its output is whole as far as it was taken."""
    for name in names:
        own = account.own_runs(directory, name)
        runs = client.call("show", select={"names": [name]})[0]["runs"]
        assert own.keys() <= {run["id"] for run in runs}, name
        whole = b""
        for run in reversed(runs):
            assert (run["exit"]["kind"] == "lost") == (run["id"] in lost), (name, run)
            text = client.log(name, run=run["id"])
            assert text == account.expected(run["id"], text.count(b"\n"), PAD), (name, run["id"], text[-300:])
            assert run["id"] in own or not text
            whole += text
        assert client.log(name) == whole, name


@pytest.mark.crash
def test_what_hides_is_found_by_the_next_executor(daemon: LiveDaemon, tmp_path: Path) -> None:
    """A daemon without environment, session or parent that would tell whose it is."""
    script = "import os, sys, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0)\n"
    script += "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(1000)"
    pid = tmp_path / "pid"
    client = daemon.start()
    assert client is not None
    client.submit("w", "sh", "-c", f'env -i python3 -S -c "{script}" {pid}; sleep 1000', restart={"policy": "never"})
    hidden = int(eventually(lambda: pid.exists() and pid.read_text(), "the hidden process"))
    executor = pid_of_executor(client, daemon)
    kill(executor)
    row = client.wait("w")[0]
    try:
        assert row["exit"]["kind"] == "lost"
        assert not alive(hidden)
    finally:
        end_process(hidden, str(pid).encode())
        pid_of_executor(client, daemon, executor)
