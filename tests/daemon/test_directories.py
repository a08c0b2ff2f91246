"""A worker's own directories from submit to `why`: kept, measured, swept, and a reason to stop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness import Client, LiveDaemon, eventually

FILL = 'mkfifo go; echo ready; cat go; dd if=/dev/zero of="$STATE_DIRECTORY/file" bs=1M count=3 2>/dev/null; sleep 1000'


@pytest.fixture
def state(daemon: LiveDaemon) -> Path:
    return daemon.state / "workers"


def kinds(client: Client, name: str) -> list[str]:
    return [item["kind"] for item in client.stream("events", select={"names": [name]}, tail=100)]


def test_what_is_kept_is_there_for_the_next_run(client: Client, state: Path) -> None:
    script = 'cat "$STATE_DIRECTORY/notes"; echo "$RDAGENTD_RUN" >>"$STATE_DIRECTORY/notes"'
    client.submit("w", "sh", "-c", script, state={}, isolation="strict" if os.geteuid() else "none")
    first = client.wait("w")[0]["run"]["id"]
    client.verb("start", "w")
    second = client.wait("w")[0]["run"]["id"]
    assert (state / "w" / "state" / "notes").read_text() == f"{first}\n{second}\n"
    assert client.log("w", run=second).decode() == f"{first}\n"


def test_a_run_that_fills_its_directory_is_stopped_and_why_names_size_and_quota(
    client: Client, tmp_path: Path, daemon: LiveDaemon
) -> None:
    """Also by a daemon that did not start it."""
    quota = (3 << 20) - 1  # nothing but the whole is more
    spec = {"state": {"quota": quota}, "directory": str(tmp_path), "restart": "always"}
    client.submit("w", "sh", "-c", FILL, **spec)
    client.wait("w", until="running")
    eventually(lambda: client.log("w") == b"ready\n", "the program to be ready")
    daemon.kill()
    again = daemon.start()
    assert again is not None
    (tmp_path / "go").write_text("")
    row = again.wait("w")[0]
    assert (row["state"], row["exit"]["kind"]) == ("failed", "over_quota")
    said = "its state directory holds 3 MiB, its quota is 3 MiB"
    assert row["exit"]["reason"] == f"{said}; killed by SIGTERM"
    told = " ".join(again.call("why", select={"names": ["w"]})[0]["sentences"])
    assert said in told and "raise `state.quota`" in told


def test_a_run_that_inherits_too_much_is_stopped_at_once(client: Client, state: Path) -> None:
    client.submit("w", "true", state={})
    client.wait("w")
    (state / "w" / "state" / "file").write_bytes(b"x" * (3 << 20))
    change = {"name": "w", "command": ["sleep", "1000"], "state": {"quota": "2M"}}
    client.call("apply", documents=[{"where": "a test", "base": None, "document": change}])
    client.verb("start", "w")
    assert client.wait("w")[0]["exit"]["kind"] == "over_quota"


def test_what_was_not_used_for_long_goes_from_the_cache(client: Client, state: Path) -> None:
    client.submit("w", "sleep", "1000", cache={"age": "1h"})
    client.wait("w", until="running")
    cache = state / "w" / "cache"
    for name, used in (("old", 1), ("new", None)):
        (cache / name).write_text("x")
        if used is not None:
            os.utime(cache / name, (used, used))
    client.verb("restart", "w")
    eventually(lambda: not (cache / "old").exists(), "the cache to be swept")
    assert (cache / "new").exists()
    eventually(lambda: "swept" in kinds(client, "w"), "it to be told")


def test_what_they_hold_is_told_while_the_worker_runs(client: Client) -> None:
    script = 'dd if=/dev/zero of="$STATE_DIRECTORY/file" bs=1M count=1 2>/dev/null; sleep 1000'
    client.submit("w", "sh", "-c", script, state={}, cache={})
    client.wait("w", until="running")

    def used() -> dict[str, int] | None:
        answers = client.call("usage", select={"names": ["w"]})  # none, if the executor takes its time
        told: dict[str, int] = answers[0]["usage"]["disk"] if answers else {}
        return told if told.get("state", 0) >= 1 << 20 else None

    assert eventually(used, "the file to be counted").keys() == {"state", "cache"}
