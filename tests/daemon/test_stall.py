"""Stalls of real processes: some hang, one computes, one writes, one is paused, one is started again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, LiveDaemon, eventually

AFTER = 2.0
LONG = 2 * AFTER
"""For those that get on: a busy machine may keep them from it for a while."""

HANGS = """
import socket, subprocess, sys
there = socket.create_server(("127.0.0.1", 0))
mine = socket.create_connection(there.getsockname())
subprocess.Popen(["sleep", "1000"])
print("the last words", flush=True)
mine.recv(1)
"""

COMPUTES = "while True: pass"
AT_FIRST = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): pass\ntime.sleep(1000)"
KEEPS = """
import pathlib, time
for number in range(12):
    pathlib.Path(f"{number}.cp").write_text("x")
    time.sleep(0.5)
time.sleep(1000)
"""
WRITES = "import time\nwhile True: print('on', flush=True); time.sleep(0.2)"


def stories(client: Client, name: str) -> list[dict[str, Any]]:
    return [
        item
        for item in client.stream("events", select={"names": [name]}, tail=1000)
        if item["kind"] in ("stalled", "unstalled")
    ]


def hang(client: Client, name: str, **stall: Any) -> None:
    client.submit(name, sys.executable, "-c", HANGS, stall={"after": AFTER, **stall})


def test_who_hangs_is_told_of_with_a_picture_and_runs_on(client: Client) -> None:
    spec = {"name": "w", "command": [sys.executable, "-c", HANGS]}
    client.call("submit", spec=spec)
    eventually(lambda: client.log("w") == b"the last words\n", "it to come to where it hangs")
    change = {**spec, "stall": {"after": AFTER}}
    client.call("apply", documents=[{"where": "a test", "base": None, "document": change}])
    (story,) = eventually(lambda: stories(client, "w"), "the stall")
    assert story["text"] == "stalled: no output, report, checkpoint or CPU time for 2 s"
    picture = story["data"]
    assert "trouble" not in picture
    assert picture["lines"] == ["the last words"]
    pid = client.worker("w")["run"]["pid"]
    assert picture["processes"][0]["pid"] == pid
    assert [process["command"] for process in picture["processes"][1:]] == ["sleep 1000"]
    (mine,) = [one for one in picture["connections"] if "to" in one and one["pid"] == pid and one["from"] != one["to"]][
        :1
    ]
    assert mine["state"] == "established"
    assert mine["to"].startswith("127.0.0.1:")
    assert client.worker("w")["state"] == "running"


def test_who_computes_or_writes_is_not_stalled_and_who_is_paused_neither(client: Client, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    client.submit("busy", sys.executable, "-c", COMPUTES, stall={"after": LONG}, nice=5)
    client.submit("loud", sys.executable, "-c", WRITES, stall={"after": LONG, "signals": ["output"]})
    client.submit("paused", sys.executable, "-c", AT_FIRST, str(quiet), stall={"after": AFTER})
    client.wait("paused", until="running")
    client.verb("pause", "paused")
    quiet.touch()
    hang(client, "first")
    hang(client, "second")
    for name in ("first", "second"):
        eventually(lambda name=name: stories(client, name), f"{name} to stall")
    client.verb("restart", "second")
    eventually(lambda: len({item["run"] for item in stories(client, "second")}) == 2, "it to stall again")
    assert stories(client, "paused") == []
    client.verb("resume", "paused")
    eventually(lambda: stories(client, "paused"), "it to stall now that it may run")
    assert [stories(client, name) for name in ("busy", "loud")] == [[], []]  # by now they had their time


@pytest.mark.slow
def test_who_writes_checkpoints_and_nothing_else_is_not_stalled_before_it_stops_to(
    client: Client, tmp_path: Path
) -> None:
    client.submit(
        "w", sys.executable, "-c", KEEPS, directory=str(tmp_path), checkpoints={"files": "*.cp"},
        stall={"after": LONG, "signals": ["checkpoint"]},
    )  # fmt: skip
    eventually(lambda: stories(client, "w"), "the stall")
    assert len(list(tmp_path.glob("*.cp"))) == 12


def test_who_is_started_again_after_a_stall_is_told_why(client: Client) -> None:
    client.submit("w", sys.executable, "-c", HANGS, stall={"after": AFTER, "action": "restart"}, restart={"delay": 0.1})
    eventually(lambda: stories(client, "w"), "the stall")
    eventually(lambda: client.worker("w")["attempt"] >= 2, "the next attempt")
    client.wait("w", until="running")  # then its end is on disk
    ended = client.call("show", select={"names": ["w"]})[0]["runs"][-1]["exit"]
    assert ended["kind"] == "stalled"
    assert ended["reason"].startswith("stalled: no output, report, checkpoint or CPU time for 2 s; killed by SIG")


def test_who_is_to_be_stopped_stays_stopped_and_a_crash_of_the_daemon_changes_nothing(
    client: Client, daemon: LiveDaemon
) -> None:
    client.submit("w", sys.executable, "-c", HANGS, restart="always", stall={"after": AFTER, "action": "stop"})
    client.wait("w", until="running")
    daemon.kill()
    again = daemon.start()
    assert again is not None
    row = again.wait("w")[0]
    assert (row["state"], row["exit"]["kind"]) == ("failed", "stalled")
    assert len(stories(again, "w")) == 1
