"""The daemon and the executor die; nothing is forgotten, nothing is started twice, nothing is left without an owner."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import Client, LiveDaemon, alive, eventually, marked


def rows(client: Client, *names: str) -> list[tuple[str, int, int]]:
    return [(row["name"], row["run"]["pid"], row["restarts"]) for row in client.wait(*names, until="running")]


def test_workers_outlive_the_daemon_and_what_happened_meanwhile_is_known(
    daemon: LiveDaemon, client: Client, tmp_path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    client.submit("stays", "/bin/sleep", "1000", restart={"policy": "always"})
    client.submit("ends", "/bin/sh", "-c", f"echo before; read x < {go}; echo after; exit 9")
    ends, stays = rows(client, "ends", "stays")
    daemon.kill()
    go.write_text("\n")
    eventually(lambda: not alive(ends[1]), "the worker to end")
    again = daemon.start()
    assert again is not None
    assert rows(again, "stays") == [stays]
    (row,) = again.wait("ends")
    assert row["exit"]["code"] == 9 and row["state"] == "failed"
    assert again.log("ends") == b"before\nafter\n"


def test_a_stop_that_was_under_way_goes_on(daemon: LiveDaemon, client: Client) -> None:
    command = ("/bin/sh", "-c", "trap 'sleep 0.3; exit 6' TERM; echo ready; while :; do sleep 0.05; done")
    client.submit("w", *command, stop={"grace": "1h"})
    request = client.send("logs", name="w", follow=True)
    assert client.receive()["item"]["data"] == b"ready\n" and request
    client.verb("stop", "w")
    daemon.kill()
    again = daemon.start()
    assert again is not None
    (row,) = again.wait("w")
    assert (row["state"], row["want"], row["exit"]["code"]) == ("stopped", "down", 6)


def test_who_waits_is_told_of_an_end_when_it_is_on_disk(daemon: LiveDaemon, client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    client.submit("w", "/bin/sh", "-c", f"read x < {go}; exit 9")
    client.wait("w", until="running")
    with closing(sqlite3.connect(daemon.state / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing else is written meanwhile
        go.write_text("\n")
        eventually(lambda: client.worker("w")["state"] == "failed", "the end to be seen")
        asked = client.send("wait", select={"names": ["w"]}, until="rest")
        client.call("ping")
        daemon.kill()
        with pytest.raises(OSError):
            client.answer(asked)
    again = daemon.start()
    assert again is not None
    assert again.wait("w")[0]["exit"]["code"] == 9


def test_an_executor_that_dies_takes_nothing_with_it_unseen(daemon: LiveDaemon, client: Client) -> None:
    again = {"policy": "on-failure", "delay": "10ms"}
    client.submit("again", "/bin/sh", "-c", "setsid sleep 1000 & exec sleep 1000", restart=again)
    client.submit("once", "/bin/sleep", "1000")
    old = {row["name"]: row["run"] for row in client.wait("again", "once", until="running")}
    (executor,) = daemon.executors
    os.kill(executor, signal.SIGKILL)
    (row,) = client.wait("once")
    assert (row["state"], row["exit"]["kind"]) == ("failed", "lost")
    row = eventually(
        lambda: (r := client.worker("again"))["state"] == "running" and r["run"]["id"] != old["again"]["id"] and r,
        "a restart",
    )
    assert row["restarts"] == 1
    for run in old.values():
        assert marked(f"RDAGENTD_RUN={run['id']}") == []
    (shown,) = client.call("show", select={"names": ["again"]})
    assert shown["runs"][-1]["exit"]["kind"] == "lost"
    daemon.client()  # notes the new executor, so that it is ended
    assert len(daemon.executors) == 2


def test_both_die(daemon: LiveDaemon, client: Client) -> None:
    client.submit("w", "/bin/sleep", "1000", restart={"policy": "always", "delay": "10ms"})
    (row,) = client.wait("w", until="running")
    daemon.kill()
    (executor,) = daemon.executors
    os.kill(executor, signal.SIGKILL)
    again = daemon.start()
    assert again is not None
    found = eventually(lambda: (r := again.worker("w"))["restarts"] == 1 and r["state"] == "running" and r, "a restart")
    assert found["run"]["id"] != row["run"]["id"]
    assert marked(f"RDAGENTD_RUN={row['run']['id']}") == []


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("point", ["before-commit", "after-commit", "before-ask-spawn", "before-send-ack"])
def test_exactly_one_run_happens_wherever_the_daemon_dies(
    daemon: LiveDaemon, tmp_path: Path, point: str, nth: int
) -> None:
    """A daemon that dies at its nth pass through a point, with one worker under way; then one that does not."""
    started = tmp_path / "started"
    client = daemon.start()
    assert client is not None
    daemon.kill()
    daemon.start(env={"RDAGENTD_FAILPOINTS": f"{point}:{nth}:kill"}, ready=False)
    promised = 0
    try:
        client = daemon.client()
        for number in range(nth):  # points that are passed once for each worker
            client.submit(f"w{number}", "/bin/sh", "-c", f"echo w{number} >> {started}; exit {number + 3}")
            promised = number + 1
        for number in range(nth):
            client.wait(f"w{number}")
        client.close()
        assert daemon.wait() == -signal.SIGKILL
    except (AssertionError, ConnectionError):
        assert daemon.process is not None
        assert daemon.process.wait(20) == -signal.SIGKILL, "it dies at the point, and of nothing else"
    again = daemon.start()
    assert again is not None
    names = [row["name"] for row in again.status()]
    assert names[:promised] == [f"w{number}" for number in range(promised)], "what was answered is kept"
    for number, name in enumerate(names):
        (row,) = again.wait(name)
        assert row["exit"]["code"] == number + 3, row
        assert (row["restarts"], row["attempt"]) == (0, 1)
    lines = sorted(started.read_text().split()) if started.exists() else []
    assert lines == names, "each ran once, and none that was not kept"
    assert list((daemon.state / "executor").iterdir())
