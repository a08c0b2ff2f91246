"""A thousand workers: shown, stopped, adopted, queued. Figures are printed; deadlines are generous."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import Client, LiveDaemon, alive, marked

COUNT = 1000
SLOTS = 4
PATIENCE = 300.0
"""Seconds for one answer."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints how long it took."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.2f} s")


def submit_all(client: Client, specs: list[dict[str, object]]) -> None:
    """All at once, answers afterwards."""
    for request in [client.send("submit", spec=spec) for spec in specs]:
        client.answer(request)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousand_running_workers(daemon: LiveDaemon) -> None:
    client = daemon.start()
    assert client is not None
    client.socket.settimeout(PATIENCE)
    mark = f"{os.getpid()}.{time.monotonic_ns()}"
    with timed(f"{COUNT} workers submitted and running"):
        submit_all(client, [
            {"name": f"w{number:04}", "command": ["sleep", "1000"], "environment": {"SCALE": mark},
             "restart": {"policy": "always"}, "labels": {"parity": "odd" if number % 2 else "even"}}
            for number in range(COUNT)
        ])  # fmt: skip
        rows = client.wait("*", until="running")
    pids = {row["name"]: row["run"]["pid"] for row in rows}
    assert {row["state"] for row in rows} == {"running"} and len(set(pids.values())) == COUNT
    with timed("status"):
        rows = client.status()
    assert {row["name"]: row["run"]["pid"] for row in rows} == pids
    assert len(client.call("status", select={"labels": {"parity": "odd"}})) == COUNT // 2

    daemon.kill()
    assert all(map(alive, pids.values()))
    with timed("daemon killed, started again, all adopted"):
        client = daemon.start()
        assert client is not None
        client.socket.settimeout(PATIENCE)
        rows = client.wait("*", until="running")
    assert {row["name"]: row["run"]["pid"] for row in rows} == pids
    assert {(row["state"], row["restarts"], row["attempt"]) for row in rows} == {("running", 0, 1)}

    with timed("all stopped"):
        answers = client.verb("stop", "*")
        assert {answer["error"] for answer in answers} == {None} and len(answers) == COUNT
        rows = client.wait("*")
    assert {(row["state"], row["exit"]["signal"]) for row in rows} == {("stopped", "SIGTERM")}
    assert marked(f"SCALE={mark}") == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousand_queued_workers(daemon: LiveDaemon, tmp_path: Path) -> None:
    """Each worker takes a line in a file when it begins and when it ends: never more than the slots, highest priority first."""
    config = tmp_path / "rdagentd.toml"
    config.write_text(f"[groups.few]\nslots = {SLOTS}\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    client.socket.settimeout(PATIENCE)
    book = tmp_path / "book"
    script = 'echo "+ $0" >>"$1"; echo "- $0" >>"$1"'
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    holders = [f"holder-{number}" for number in range(SLOTS)]
    for name in holders:  # they hold all slots until everybody else stands in the queue
        client.submit(name, "sh", "-c", 'read -r line <"$0"', str(gate), queue={"group": "few", "priority": 1000})
    client.wait(*holders, until="running")
    priorities = {f"q{number:04}": (number * 7919) % 10 for number in range(COUNT)}
    with timed(f"{COUNT} workers queued"):
        submit_all(client, [
            {"name": name, "command": ["sh", "-c", script, name, str(book)], "queue": {"group": "few", "priority": priority}}
            for name, priority in priorities.items()
        ])  # fmt: skip
    rows = client.status("q*")
    assert {(row["state"], row["reason"]["code"]) for row in rows} == {("queued", "slot")}
    with timed(f"{COUNT} runs, {SLOTS} at a time"), gate.open("w") as line:
        line.write(SLOTS * "\n")
        line.flush()
        rows = client.wait("*")
    assert {(row["state"], row["exit"]["code"]) for row in rows if row["name"] in priorities} == {("completed", 0)}

    lines = [line.split() for line in book.read_text().splitlines()]
    running, most = set(), 0
    for sign, name in lines:
        running.add(name) if sign == "+" else running.remove(name)
        most = max(most, len(running))
    assert most <= SLOTS
    runs = {entry["spec"]["name"]: entry["runs"] for entry in client.call("show", select={"names": ["q*"]})}
    assert {len(history) for history in runs.values()} == {1}
    begun = sorted(priorities, key=lambda name: runs[name][0]["id"])
    expected = sorted(priorities, key=lambda name: (-priorities[name], name))
    assert begun == expected, "runs did not begin by priority, and then in the order of submission"
