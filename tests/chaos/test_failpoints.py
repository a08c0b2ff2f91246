"""Death at every boundary: of the daemon round commit, spawn and ack; of the executor round spawn, exit record and ack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import account
from tests.chaos.account import PROGRAM
from tests.harness import DEADLINE, CallError, Client, LiveDaemon, eventually, marked

PAD = 100

WORKERS: dict[str, tuple[str, str, str]] = {
    "ends": ("1", "0", "never"),
    "fails": ("1", "7", "never"),
    "again": ("0", "3", "on-failure"),
    "stays": ("-1", "0", "always"),
}
"""Bursts, exit code, policy. `again` is restarted twice."""


def spec(name: str, directory: Path) -> dict[str, Any]:
    bursts, code, policy = WORKERS[name]
    return {
        "name": name,
        "command": ["sh", PROGRAM, str(directory), "0", bursts, code, "obey"],
        "environment": {"PAD": str(PAD), "PAUSE": "0.05", "CHAOS": str(directory)},
        "restart": {"policy": policy, "delay": 0.05, "retries": 2},
    }


def submit_all(client: Client, directory: Path) -> None:
    """All workers that are not there yet, each in a request of its own."""
    there = {row["name"] for row in client.status()}
    for name in WORKERS:
        if name not in there:
            client.call("submit", spec=spec(name, directory))


def finish(client: Client, directory: Path, database: Path, lost: bool) -> None:
    """Everything comes to its end as if nothing had happened, and both accounts agree. lost: runs may have been."""
    submit_all(client, directory)
    client.wait("ends", "fails", "again")
    client.wait("stays", until="running")
    client.verb("stop", "stays")
    rows = {row["name"]: row for row in client.wait("*")}
    assert marked(f"CHAOS={directory}") == []
    accounts = account.Accounts(client, database)
    for name in WORKERS:
        own = account.own_runs(directory, name)
        history = account.history(database, name)
        if any(run["exit"]["kind"] == "lost" for run in history):
            assert lost, f"{name}: {history}"
            continue
        account.compare(accounts, name, own, PAD, {"SIGTERM"} if name == "stays" else set())
    if not lost:
        assert [rows[name]["exit"]["code"] for name in ("ends", "fails", "again")] == [0, 7, 3]
        assert [rows[name]["restarts"] for name in WORKERS] == [0, 0, 2, 0]


# --- the daemon -------------------------------------------------------------------------------------------------------


DAEMON_POINTS = {
    "before-commit": (1, 2, 4, 9),
    "after-commit": (1, 2, 4, 9),
    "before-ask-spawn": (1, 3, 6),
    "before-send-ack": (1, 3, 5),
}
"""At which passes. The workers have six spawns and five exits while nobody stops them."""


@pytest.mark.crash
@pytest.mark.parametrize(
    ("point", "count"), [(point, count) for point, counts in DAEMON_POINTS.items() for count in counts]
)
def test_daemon_dies(daemon: LiveDaemon, tmp_path: Path, point: str, count: int) -> None:
    directory = tmp_path / "own"
    directory.mkdir()
    daemon.start(env={"RDAGENTD_FAILPOINTS": f"{point}:{count}:kill"}, ready=False)
    with_death(daemon, directory)
    client = daemon.start()
    assert client is not None
    finish(client, directory, daemon.state / "state.db", lost=False)


def with_death(daemon: LiveDaemon, directory: Path) -> None:
    """Asks for all workers, as far as the daemon lives; it must die of itself."""
    try:
        client = daemon.connect()
        submit_all(client, directory)
    except (ConnectionError, AssertionError, CallError):
        pass
    assert daemon.process is not None
    assert daemon.process.wait(DEADLINE) == -signal.SIGKILL, daemon.said()


@pytest.mark.crash
def test_log_of_a_removed_worker_is_not_inherited(daemon: LiveDaemon) -> None:
    """The daemon dies when the removal is kept and the executor was not asked yet."""
    client = daemon.start(env={"RDAGENTD_FAILPOINTS": "before-forget:1:kill"})
    assert client is not None
    client.submit("w", "echo", "old")
    client.wait("w")
    with pytest.raises(OSError):
        client.verb("remove", "w")
    client = daemon.start()
    assert client is not None
    assert client.status() == []
    client.submit("w", "echo", "new")
    client.wait("w")
    assert client.log("w") == b"new\n"
    daemon.kill()
    client = daemon.start()
    assert client is not None
    assert client.log("w") == b"new\n", "the log of the new worker was removed in place of the old one's"


# --- the executor -----------------------------------------------------------------------------------------------------


@pytest.fixture
def executor(daemon: LiveDaemon) -> Iterator[Any]:
    """Starts executors that the daemon finds, as a child of ours."""
    started = []

    def start(points: str) -> subprocess.Popen[bytes]:
        daemon.state.mkdir()
        path = daemon.state / "executor.sock"
        places = ("--state-dir", daemon.state, "--log-dir", daemon.state / "logs", "--socket", path)
        with daemon.errors.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "rdagentd.executor", *map(str, places)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "RDAGENTD_FAILPOINTS": points},
            )
        started.append(process)
        eventually(path.exists, "the executor to listen")
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)


EXECUTOR_POINTS = {
    "before-spawn": False,
    "after-spawn": True,
    "before-exit-record": True,
    "after-exit-record": True,
    "before-ack": True,
    "after-ack": True,
}
"""Whether other runs can be alive, and so be lost, when the executor dies there for the first time."""


@pytest.mark.crash
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("point", EXECUTOR_POINTS)
def test_executor_dies(daemon: LiveDaemon, executor: Any, tmp_path: Path, point: str, count: int) -> None:
    directory = tmp_path / "own"
    directory.mkdir()
    first = executor(f"{point}:{count}:kill")
    client = daemon.start()
    assert client is not None
    submit_all(client, directory)
    assert first.wait(DEADLINE) == -signal.SIGKILL
    eventually(
        lambda: (client.call("version")["executor"] or {}).get("pid") not in (None, first.pid), "another executor"
    )
    daemon.executors.add(client.call("version")["executor"]["pid"])
    finish(client, directory, daemon.state / "state.db", lost=EXECUTOR_POINTS[point] or count > 1)


@pytest.mark.crash
@pytest.mark.parametrize("point", ["after-exit-record", "before-ack", "after-ack"])
def test_exit_survives_the_executor(daemon: LiveDaemon, executor: Any, point: str) -> None:
    """What was recorded is told by the next one, once."""
    first = executor(f"{point}:1:kill")
    client = daemon.start()
    assert client is not None
    client.submit("w", "sh", "-c", "echo said; exit 7")
    row = client.wait("w")[0]
    assert first.wait(DEADLINE) == -signal.SIGKILL
    assert (row["exit"]["kind"], row["exit"]["code"]) == ("code", 7)
    assert client.log("w", run=-1) == b"said\n"
    exits = [item for item in client.stream("events", select={"names": ["w"]}) if item["kind"] == "exited"]
    assert len(exits) == 1
