"""The daemon is killed again and again while workers start, stop, fail, restart and log."""

from __future__ import annotations

import os
import random
import select
import time
from pathlib import Path

import pytest

from tests.chaos import account
from tests.chaos.driver import PAD, Driver
from tests.harness import LiveDaemon, eventually, executors_of, marked

FULL = os.environ.get("RDAGENTD_CHAOS") == "full"
KILLS = 220 if FULL else 14
WORKERS = 50


@pytest.mark.crash
@pytest.mark.timeout(1500)
def test_nothing_is_lost_doubled_or_left(daemon: LiveDaemon, tmp_path: Path, seeded: random.Random) -> None:
    began = time.monotonic()
    directory = tmp_path / "own"
    directory.mkdir()
    config = tmp_path / "rdagentd.toml"
    config.write_text("keep_runs = 1_000_000\nkeep_events = 100_000_000\nlog_level = 'warning'\n")
    mark = f"{os.getpid()}.{seeded.random()}"
    driver = Driver(daemon, directory, WORKERS, random.Random(seeded.random()), mark)
    try:
        driver.start()
        for _ in range(KILLS):
            daemon.start("--config", str(config), ready=False)
            _live_a_while(daemon, driver, seeded)
            daemon.kill()
            driver.connected.clear()
        client = daemon.start("--config", str(config))
        assert client is not None
        eventually(driver.connected.is_set, "the driver to connect")
    finally:
        driver.leave()
    driver.check(client)
    client.call("stop", select={"names": ["*"]})
    client.wait("*")
    assert marked(f"CHAOS={mark}") == [], "processes are left after all was stopped"
    accounts = account.Accounts(client, daemon.state / "state.db")
    for row in client.status():
        _compare(accounts, driver, row["name"])
    assert executors_of(daemon.state) == daemon.executors, "an executor too many"
    assert daemon.terminate() == 0
    eventually(lambda: executors_of(daemon.state) == set(), "the executor, which has hung up, to be gone")
    print(
        f"{KILLS} kills, {driver.answered} commands answered, {driver.lost} answers lost, {accounts.figures}, "
        f"{time.monotonic() - began:.0f} s"
    )


def _live_a_while(daemon: LiveDaemon, driver: Driver, rng: random.Random) -> None:
    """A quarter of the kills come while the daemon starts."""
    starting = rng.random() < 0.25
    if not starting:
        eventually(lambda: driver.connected.is_set() or driver.failure, "the driver to connect")
    assert driver.failure is None, driver.failure
    select.select([], [], [], rng.uniform(0, 0.6))
    assert daemon.process is not None and daemon.process.poll() is None, daemon.said()


def _compare(accounts: account.Accounts, driver: Driver, name: str) -> None:
    worker = next(worker for worker in driver.workers if worker.name == name)
    command = accounts.client.call("show", select={"names": [name]})[0]["spec"]["command"]
    own = account.own_runs(driver.directory, name)
    now = {run: one for run, one in own.items() if len(command) > 1 and one.generation == int(command[3])}
    account.compare(accounts, name, now, PAD, worker.signals | {"SIGTERM", "SIGKILL"})
    accounts.figures.removed += len(own) - len(now)
    known = {run["id"] for run in account.history(accounts.database, name)}
    assert not (own.keys() - now.keys()) & known, f"{name}: runs from before its removal"
