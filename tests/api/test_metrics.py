"""Metrics of a real daemon: workers that run, end, restart, wait, are paused and go; and one without an executor."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdagentd import __version__
from rdagentd.config.metrics import WorkerFamily
from tests.harness import DEADLINE, Client, LiveDaemon, eventually

CONFIG = "[groups.narrow]\nslots = 1\n"
SLEEP = ("/bin/sleep", "1000")


@pytest.fixture(scope="module")
def host() -> Iterator[LiveDaemon]:
    """A daemon with a group of one slot."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveDaemon(Path(directory))
        (live.state.parent / "rdagentd.toml").write_text(CONFIG)
        try:
            live.start("--config", str(live.state.parent / "rdagentd.toml"))
            yield live
        finally:
            live.close()


def scrape(client: Client) -> dict[str, Any]:
    """By family the values by label values; those without labels as they are."""
    told = {}
    for family in client.call("metrics")["families"]:
        samples = {tuple(labels): value for labels, value in family["samples"]}
        assert all(len(labels) == len(family["labels"]) for labels in samples)
        told[family["name"]] = samples if family["labels"] else samples.get(())
    return told


def of(told: dict[str, Any], worker: str) -> dict[str, Any]:
    """What is told of one worker, by the name of the family without its prefix; and by its own label where it has one."""
    found = {}
    for family in WorkerFamily:
        for (name, _group, *own), value in told[family].items():
            if name == worker:
                found[" ".join((family.removeprefix("rdagentd_worker_"), *own))] = value
    return found


def running(client: Client, name: str, *command: str, **spec: object) -> None:
    client.submit(name, *(command or SLEEP), **spec)
    client.wait(name, until="running")


def test_the_daemon_tells_of_itself_and_of_its_host(client: Client, host: LiveDaemon) -> None:
    cpu = "rdagentd_process_cpu_seconds_total"  # the executor's is left out where it takes too long to answer
    told = eventually(lambda: len((found := scrape(client))[cpu]) == 2 and found, "the executor's word")
    assert told["rdagentd_build_info"] == {(__version__,): 1}
    assert time.time() - 600 < told["rdagentd_start_time_seconds"] <= time.time()
    assert set(told["rdagentd_process_cpu_seconds_total"]) == {("daemon",), ("executor",)}
    assert all(cpu > 0 for cpu in told["rdagentd_process_cpu_seconds_total"].values())
    assert all(1 << 20 < memory < 1 << 30 for memory in told["rdagentd_process_resident_memory_bytes"].values())
    assert told["rdagentd_driver_up"]["process",] == told["rdagentd_store_up"] == 1
    for name in ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent"):
        assert 0 <= told[name] <= 100
    before = told["rdagentd_connections"]
    other = host.connect()
    other.call("ping")
    assert scrape(client)["rdagentd_connections"] == before + 1 <= told["rdagentd_connections_max"]


def test_a_worker_is_told_from_its_start_to_its_removal(client: Client) -> None:
    before = time.time()
    # What is found is told by the next scrape, so the first of these worker is looked at twice.
    running(client, "lives", "/bin/sh", "-c", "echo hello; exec sleep 1000")
    eventually(lambda: client.log("lives") == b"hello\n", "the output")
    scrape(client)
    one = eventually(lambda: (found := of(scrape(client), "lives")).get("log_bytes_total") and found, "what it uses")
    assert one["state running"] == 1 and one["restarts_total"] == 0
    assert (
        before - 1 <= one["run_start_time_seconds"] <= one["last_activity_timestamp_seconds"] + 0.1 <= time.time() + 1
    )
    assert one["log_bytes_total"] == len("hello\n") and one["tasks"] == 1
    assert 0 < one["memory_bytes"] < 1 << 30 and 0 <= one["cpu_seconds_total"] < 60
    client.verb("pause", "lives")
    one = eventually(lambda: (found := of(scrape(client), "lives")).get("state paused") and found, "the pause")
    assert "state running" not in one and one["tasks"] == 1
    client.verb("resume", "lives")
    client.verb("kill", "lives")
    client.wait("lives")
    # What is counted is on disk; a worker is told as it is a moment earlier.
    one = eventually(lambda: (found := of(scrape(client), "lives")).get("exits_total signal") and found, "its end")
    assert one["state stopped"] == one["exits_total signal"] == 1
    assert one["log_bytes_total"] == len("hello\n"), "it stays"
    assert not {"tasks", "memory_bytes", "run_start_time_seconds", "last_activity_timestamp_seconds"} & one.keys()
    client.verb("remove", "lives")
    assert of(scrape(client), "lives") == {}


def test_ends_restarts_and_events_are_counted(client: Client) -> None:
    before = scrape(client)
    client.submit("fails", "/bin/sh", "-c", "exit 3", restart={"policy": "on-failure", "retries": 2, "delay": "1ms"})
    client.wait("fails")
    client.submit("missing", "/no/such/program")
    client.wait("missing")
    exited = before["rdagentd_events_total"].get(("exited",), 0) + 4
    after = eventually(
        lambda: (told := scrape(client))["rdagentd_events_total"].get(("exited",)) == exited and told, "four ends"
    )
    grown = {
        (family, *labels): value - before[family].get(labels, 0)
        for family in ("rdagentd_exits_total", "rdagentd_events_total")
        for labels, value in after[family].items()
        if value != before[family].get(labels, 0)
    }
    assert grown["rdagentd_exits_total", "code"] == 3 and grown["rdagentd_exits_total", "could_not_start"] == 1
    assert grown["rdagentd_events_total", "exited"] == 4 and grown["rdagentd_events_total", "submitted"] == 2
    assert after["rdagentd_restarts_total"] - before["rdagentd_restarts_total"] == 2
    one = of(after, "fails")
    assert (one["state failed"], one["restarts_total"], one["exits_total code"]) == (1, 2, 3)
    assert after["rdagentd_workers"]["failed",] == before["rdagentd_workers"]["failed",] + 2


def test_requests_are_counted_and_timed(client: Client) -> None:
    before = scrape(client)
    client.call("ping")
    with contextlib.suppress(Exception):
        client.call("show", select={"names": ["nobody"]})
    with contextlib.suppress(Exception):
        client.call("no-such-operation")
    list(client.stream("events"))
    after = scrape(client)
    counted = {
        labels: count - before["rdagentd_requests_total"].get(labels, 0)
        for labels, count in after["rdagentd_requests_total"].items()
        if count != before["rdagentd_requests_total"].get(labels, 0)
    }
    assert counted == {
        ("ping", "ok"): 1, ("show", "not_found"): 1, ("unknown", "invalid"): 1, ("events", "ok"): 1, ("metrics", "ok"): 1,
    }  # fmt: skip
    ping = after["rdagentd_request_duration_seconds"]["ping",]
    counts = [count for _, count in ping["buckets"]]
    assert counts == sorted(counts) and counts[-1] >= 1 and ping["sum"] > 0
    assert ("events",) not in after["rdagentd_request_duration_seconds"]


def test_who_waits_for_a_slot_is_told_by_group(client: Client) -> None:
    running(client, "holds", queue={"group": "narrow"})
    client.submit("waits", *SLEEP, queue={"group": "narrow"})
    eventually(lambda: client.worker("waits")["state"] == "queued", "it to wait")
    told = scrape(client)
    assert told["rdagentd_queue_length"]["narrow",] == 1
    assert told["rdagentd_slots"]["narrow",] == told["rdagentd_slots_used"]["narrow",] == 1
    assert told["rdagentd_worker_state"]["waits", "narrow", "queued"] == 1
    client.verb("kill", "holds", "waits")


def test_a_reload_bounds_the_series(client: Client, host: LiveDaemon) -> None:
    for number in range(4):
        client.call("submit", spec={"name": f"rest-{number}", "command": ["/bin/true"]}, start=False)
    running(client, "zz-runs")
    config = host.state.parent / "rdagentd.toml"
    try:
        config.write_text(f'{CONFIG}[metrics]\nworkers = 1\nleave_out = ["{WorkerFamily.TASKS}"]\n')
        client.call("reload")
        told = scrape(client) | {WorkerFamily.TASKS: None}
        assert len({name for name, *_ in told["rdagentd_worker_state"]}) == 1
        everybody = len(client.status())
        assert told["rdagentd_workers_untold"] == everybody - 1
        assert sum(told["rdagentd_workers"].values()) == everybody
        assert WorkerFamily.TASKS not in {family["name"] for family in client.call("metrics")["families"]}
    finally:
        config.write_text(CONFIG)
        client.call("reload")
        client.verb("kill", "zz-runs")
    assert scrape(client)["rdagentd_workers_untold"] == 0


def test_counters_begin_anew_with_the_daemon_and_workers_run_on(tmp_path: Path) -> None:
    live = LiveDaemon(tmp_path)
    try:
        client = live.start()
        assert client is not None
        running(client, "stays", restart={"policy": "always", "delay": 0})
        first = client.worker("stays")["run"]["pid"]
        subprocess.run(["kill", "-9", str(first)], check=True)
        eventually(
            lambda: client.worker("stays")["restarts"] == 1 and client.worker("stays")["run"]["pid"], "a restart"
        )
        client.wait("stays", until="running")
        live.kill()
        client = live.start()
        assert client is not None
        told = scrape(client)
        assert told["rdagentd_restarts_total"] == told["rdagentd_exits_total"]["signal",] == 0
        one = of(told, "stays")
        assert one["state running"] == one["restarts_total"] == 1, "of the worker itself it is known"
        assert one["tasks"] == 1, "the first scrape waits for it"
    finally:
        live.close()


def test_a_daemon_without_an_executor_tells_so(tmp_path: Path) -> None:
    (tmp_path / "rdagentd.toml").write_text("")
    places = {
        "state-dir": "state",
        "log-dir": "logs",
        "socket": "s",
        "executor-socket": "none",
        "config": "rdagentd.toml",
    }
    options = [word for key, name in places.items() for word in (f"--{key}", str(tmp_path / name))]
    daemon = subprocess.Popen([sys.executable, "-m", "rdagentd", "serve", *options], stderr=subprocess.DEVNULL)
    try:
        client = eventually(lambda: _connected(tmp_path / "s"), "the daemon to listen")
        client.submit("waits", "/bin/true")
        told = scrape(client)
        assert told["rdagentd_driver_up"] == {("process",): 0}
        assert set(told["rdagentd_process_cpu_seconds_total"]) == {("daemon",)}
        assert told["rdagentd_workers"]["queued",] == told["rdagentd_queue_length"]["default",] == 1
        client.close()
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE)


def _connected(path: Path) -> Client | None:
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        return Client(path)
    return None
