"""What a run tells of its life: signs of life, readiness, more time to end."""

from __future__ import annotations

import pytest

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.model.run import ExitKind
from rdagentd.model.worker import State, Then

from .world import KILLED, World, code, done, kinds, stories


def watched(world: World, watchdog: float = 20.0) -> None:
    world.live(watchdog=watchdog)


def test_a_run_that_gives_no_sign_of_life_is_ended_as_unhealthy_and_restarted() -> None:
    world = World()
    watched(world)
    assert world.worker().watchdog_at == world.now + 20
    assert stories(world.silence()) == ["unhealthy"]
    assert (world.worker().state, world.worker().watchdog_at) == (State.STOPPING, None)
    world.exited(KILLED)
    run = world.worker().run
    assert run is not None and run.exit is not None
    assert run.exit.kind is ExitKind.UNHEALTHY
    assert run.exit.reason == "gave no sign of life for 20 s (WATCHDOG=1 to $NOTIFY_SOCKET); killed by SIGKILL"
    assert world.worker().state is State.BACKOFF


def test_each_sign_of_life_winds_the_watchdog_and_costs_no_write() -> None:
    world = World()
    watched(world)
    late = world.worker().watchdog_at
    world.now += 15
    assert kinds(world.notified(WATCHDOG="1")) == "Arm"
    assert world.worker().watchdog_at == world.now + 20
    assert world.silence(at=late) == []
    assert world.worker().state is State.RUNNING


def test_a_run_without_a_watchdog_may_give_signs_as_it_likes() -> None:
    world = World()
    world.live()
    assert world.notified(WATCHDOG="1") == []
    assert world.notified(WATCHDOG="trigger") == []


def test_who_says_that_it_is_not_well_is_ended_at_once() -> None:
    world = World()
    watched(world)
    world.notified(WATCHDOG="trigger")
    world.exited(code(1))
    run = world.worker().run
    assert run is not None and run.exit is not None
    assert (run.exit.kind, run.exit.reason) == (
        ExitKind.UNHEALTHY,
        "said that it is not well (WATCHDOG=trigger); exited with code 1",
    )


def test_a_paused_run_gives_no_signs_and_has_the_whole_time_afterwards() -> None:
    world = World()
    watched(world)
    world.pause()
    assert world.worker().watchdog_at is None
    world.now += 1000
    world.resume()
    assert world.worker().watchdog_at == world.now + 20


@pytest.mark.parametrize("ending", [World.stop, World.kill, World.restart])
def test_a_run_that_is_being_ended_has_no_watchdog(ending: object) -> None:
    world = World()
    watched(world)
    ending(world)  # type: ignore[operator]
    assert world.worker().watchdog_at is None


def test_who_ends_by_itself_and_says_so_has_no_watchdog() -> None:
    world = World()
    watched(world)
    world.notified(READY="1")
    world.notified(STOPPING="1")
    assert (world.worker().says_ready, world.worker().watchdog_at) == (False, None)
    assert world.notified(STOPPING="1", READY="1", WATCHDOG="1") == []


def test_nobody_is_ended_for_signs_that_nobody_could_hear() -> None:
    world = World()
    watched(world)
    world(ev.ExecutorLost())
    assert world.silence() == []
    world.now += 100
    held = ev.Held("w", world.run(), 42, 4242, 5e8)
    world(ev.ExecutorConnected(True, (held,)))
    assert (world.worker().state, world.worker().watchdog_at) == (State.RUNNING, world.now + 20)
    world.silence()
    assert world.worker().state is State.STOPPING


def test_ready_is_told_once_a_run_and_forgotten_with_it() -> None:
    world = World()
    world.live()
    assert world.worker().says_ready is None
    assert stories(world.notified(READY="1")) == ["told"]
    assert world.worker().says_ready is True
    assert world.notified(READY="1") == []
    world.restart()
    world.exited()
    assert (world.worker().state, world.worker().says_ready) == (State.STARTING, None)


def test_who_needs_more_time_to_end_gets_it() -> None:
    world = World()
    world.live()
    world.stop()
    world.due()
    assert world.worker().step == 1
    world.now += 8
    (arm,) = done(world.notified(EXTEND_TIMEOUT_USEC="60000000"))
    assert isinstance(arm, fx.Arm)
    assert world.worker().due == arm.at == world.now + 60
    assert world.notified(EXTEND_TIMEOUT_USEC="60000000") == []
    assert "Kill" in kinds(world.due())
    assert world.notified(EXTEND_TIMEOUT_USEC="60000000") == []


def test_never_less_than_it_has() -> None:
    world = World()
    world.live()
    world.stop()
    due = world.worker().due
    world.notified(EXTEND_TIMEOUT_USEC="1")
    assert world.worker().due == due


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "9" * 400, "٣"])
def test_what_is_no_number_of_microseconds_is_passed_over(value: str) -> None:
    world = World()
    world.live()
    world.stop()
    due = world.worker().due
    world.notified(EXTEND_TIMEOUT_USEC=value)
    assert world.worker().due == due


def test_a_limit_is_a_limit_whoever_asks_for_more_time() -> None:
    world = World()
    world.live()
    world.limit()
    assert (world.worker().state, world.worker().cause) == (State.STOPPING, ExitKind.TIMED_OUT)
    assert world.notified(EXTEND_TIMEOUT_USEC="60000000") == []


def test_words_of_a_run_that_is_over_are_dropped() -> None:
    world = World()
    world.live()
    run = world.run()
    world.restart()
    world.exited()
    world.started()
    assert world.worker().then is Then.REST
    assert world.notified(run=run, READY="1") == []
    assert world.worker().says_ready is None
