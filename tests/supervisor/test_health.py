"""The watchdog is fed while the daemon works, and only then."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from rdagentd.core import events as ev
from rdagentd.model.spec import Spec
from rdagentd.supervisor import health
from rdagentd.supervisor.health import StatusTeller, Watchdog, status_line, watchdog_interval
from tests.supervisor.fakes import Shell, in_shell


def test_a_daemon_that_works_feeds_the_watchdog() -> None:
    async def test(shell: Shell) -> None:
        told: list[str] = []
        watchdog = Watchdog(shell.supervisor, told.append, 5.0)
        for _ in range(3):
            assert watchdog.tick() is None
            watchdog.pong()
        assert told == ["WATCHDOG=1"] * 3
        assert shell.diary.count(("ping",)) == 3

    in_shell(test)


def test_an_executor_that_is_silent_stops_it_until_it_answers() -> None:
    async def test(shell: Shell) -> None:
        told: list[str] = []
        watchdog = Watchdog(shell.supervisor, told.append, 5.0)
        watchdog.tick()
        assert watchdog.tick() == "the executor does not answer"
        watchdog.pong()
        assert watchdog.tick() is None
        assert len(told) == 2

    in_shell(test)


def test_an_executor_that_is_away_is_no_reason_to_restart_the_daemon() -> None:
    async def test(shell: Shell) -> None:
        shell.driver.known = None
        watchdog = Watchdog(shell.supervisor, lambda state: None, 5.0)
        assert [watchdog.tick() for _ in range(3)] == [None] * 3

    in_shell(test)


def test_a_batch_that_waits_for_the_database_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        told: list[str] = []
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now)
        shell.store.hold = True
        asked = shell.supervisor.ask(ev.SubmitRequested(Spec("w", ("true",)), 0))
        await shell.turns()
        watchdog = Watchdog(shell.supervisor, told.append, 5.0)
        assert watchdog.tick() is None
        watchdog.pong()
        now += 6
        problem = watchdog.tick()
        assert problem and "has not answered for 6 s" in problem
        monkeypatch.undo()
        watchdog.pong()
        shell.store.settle()
        await asked
        assert watchdog.tick() is None
        assert len(told) == 2

    in_shell(test)


def test_a_dead_writer_stops_it() -> None:
    async def test(shell: Shell) -> None:
        told: list[str] = []
        shell.store.is_alive = False
        assert Watchdog(shell.supervisor, told.append, 5.0).tick() == "the state database's writer has died"
        assert told == []

    in_shell(test)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_interval_is_half_of_what_systemd_waits(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval(environ) == expected


def test_the_status_line_counts_and_tells_trouble() -> None:
    async def test(shell: Shell) -> None:
        assert status_line(shell.supervisor) == "idle"
        await shell.submit("one")
        await shell.submit("two")
        await shell.submit("three", start=False)
        assert status_line(shell.supervisor) == "2 running"
        shell.driver.known = None
        shell.supervisor.store_error = "disk full"
        assert status_line(shell.supervisor) == "2 running, cannot write its state, no executor"
        await shell.submit("docked", docker_socket=True)
        assert status_line(shell.supervisor).endswith("no executor, the Docker proxy cannot be reached")

    in_shell(test)


def test_the_status_is_told_once_for_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shell: Shell) -> None:
        monkeypatch.setattr(health, "_STATUS_INTERVAL", 0.0)
        told: list[str] = []
        teller = StatusTeller(shell.supervisor, told.append)
        for _ in range(5):
            teller.changed()
        await shell.turns()
        teller.changed()
        await asyncio.sleep(0.001)
        await shell.turns()
        assert told == ["STATUS=idle"]

    in_shell(test)
