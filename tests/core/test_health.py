"""Health: when a run is asked, what counts, and what follows."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.health import QUICK, Schedule, schedule
from rdagentd.model.health import Check, Health, HealthCheck, OnFailure, Probe
from rdagentd.model.run import ExitKind
from rdagentd.model.spec import Policy, Restart, Spec
from rdagentd.model.worker import State, Then, Worker

from .world import KILLED, PERSON, World, code, kinds, stories

TCP = "127.0.0.1:80"
SCHEDULES = st.builds(
    lambda begin, settles, interval, phase: Schedule(begin, begin + settles, interval, phase),
    st.floats(0, 1e7), st.floats(0, 1e4), st.floats(0.1, 86400), st.floats(0, 0.999999),
)  # fmt: skip


def live(**fields: Any) -> World:
    """A running worker that is asked every 10 s, and is unhealthy after 2 failures."""
    world = World()
    world.live(health=HealthCheck(**{"tcp": TCP, "interval": 10.0, "retries": 2, **fields}))
    return world


def settled(**fields: Any) -> World:
    """The same, healthy."""
    world = live(**fields)
    world.checked(True)
    assert world.worker().health is Health.HEALTHY
    return world


def verdict(world: World) -> tuple[Health, bool, int]:
    worker = world.worker()
    return worker.health, worker.ready, worker.failures


# --- when -------------------------------------------------------------------------------------------------------------


@given(SCHEDULES, st.floats(-100, 2e4))
def test_the_next_time_is_later_and_within_an_interval(plan: Schedule, passed: float) -> None:
    now = plan.begin + passed
    at = plan.after(now)
    step = min(QUICK, plan.interval) if now < plan.settles else plan.interval
    latest = max(now, plan.begin) + step if at < plan.settles else max(now, plan.settles) + plan.interval
    assert now < at <= math.nextafter(latest, math.inf) + 1e-6


@given(SCHEDULES, st.floats(0, 2e4))
def test_the_time_does_not_depend_on_who_asks_when(plan: Schedule, passed: float) -> None:
    now = plan.begin + passed
    at = plan.after(now)
    assert plan.after((now + at) / 2) in (at, plan.after(at))


def test_a_thousand_workers_that_start_at_once_are_not_asked_at_once() -> None:
    spec = Spec("w", ("x",), health=HealthCheck(tcp=TCP))
    seconds = [0] * 30
    for number in range(1000):
        worker = Worker(f"w{number}", spec, 0, state=State.RUNNING, health=Health.HEALTHY)
        plan = schedule(worker, Check.HEALTH)
        assert plan is not None
        seconds[int(plan.after(0.0))] += 1
    assert min(seconds) > 10 and max(seconds) < 66, seconds


def test_until_it_is_well_it_is_asked_more_often() -> None:
    world = live(interval=30.0)
    (probe, arm) = world.probe()
    assert isinstance(probe, fx.Probe) and isinstance(arm, fx.Arm)
    assert world.now - 1000.0 < QUICK
    assert arm.at - world.now == pytest.approx(QUICK)
    (_, arm) = [effect for effect in world.checked(True) if isinstance(effect, fx.Arm | fx.Story)]
    assert isinstance(arm, fx.Arm) and arm.at - world.now <= 30.0
    (_, arm) = world.probe()
    assert isinstance(arm, fx.Arm) and arm.at - world.now == pytest.approx(30.0)


def test_a_probe_that_finds_what_is_known_writes_nothing() -> None:
    world = settled()
    assert kinds(world.probe()) == "Probe Arm"
    assert world.checked(True) == []


def test_only_a_run_that_runs_is_asked() -> None:
    world = settled()
    at = world.now + 10
    assert kinds(world.pause()) == "Freeze Story Save Disarm Disarm"
    assert world.probe(at=at) == []
    assert kinds(world.resume()) == "Thaw Story Save Arm Arm"
    assert kinds(world.stop()) == "Story Signal Save Arm Disarm Disarm"
    assert world.probe(at=at) == []
    world.exited(KILLED)
    assert world.probe(at=at) == []
    assert world.worker().health is Health.NONE


def test_an_answer_of_a_run_that_is_over_is_dropped() -> None:
    world = settled()
    old = world.run()
    world.exited(code(1))
    world.due()
    world.started()
    assert world.run() != old
    assert world.checked(True, run=old) == []
    assert world.worker().health is Health.STARTING


def test_a_daemon_that_comes_back_asks_when_the_old_one_would_have() -> None:
    world = settled(interval=30.0)
    (_, arm) = world.probe()
    assert isinstance(arm, fx.Arm)
    world.checked(False)
    later = World(connected=False)
    later.now = world.now + 65.0
    restored = later.engine.restore([world.worker()], later.now, rebooted=False)
    (again,) = [effect for effect in restored if isinstance(effect, fx.Arm) and effect.timer is ev.Timer.HEALTH]
    assert again.at == pytest.approx(arm.at + 60.0)
    assert verdict(later) == (Health.HEALTHY, True, 1), "nothing is forgotten"


# --- what counts ------------------------------------------------------------------------------------------------------


def test_failures_in_the_start_period_do_not_count_before_the_first_success() -> None:
    world = live(start_period=60.0)
    for _ in range(5):
        world.now += 11.9
        assert world.checked(False) == []
    world.now += 1.0
    world.checked(False)
    assert verdict(world) == (Health.STARTING, False, 1)
    assert stories(world.checked(False)) == ["unhealthy"]


def test_after_a_success_in_the_start_period_they_count() -> None:
    world = live(start_period=60.0)
    assert stories(world.checked(True, "HTTP 200")) == ["healthy"]
    world.checked(False)
    assert stories(world.checked(False)) == ["unhealthy"]


def test_without_a_start_period_the_first_interval_is_one() -> None:
    """Docker asks for the first time after an interval; who asks earlier must not be stricter for that."""
    world = live(retries=1)
    world.now += 9.9
    assert world.checked(False) == []
    world.now += 0.2
    assert stories(world.checked(False)) == ["unhealthy"]


def test_a_success_in_between_begins_the_count_anew() -> None:
    world = settled()
    for _ in range(4):
        world.checked(False)
        assert verdict(world) == (Health.HEALTHY, True, 1)
        world.checked(True)
        assert verdict(world) == (Health.HEALTHY, True, 0)


def test_a_pause_is_no_time_to_be_well_in() -> None:
    world = live(start_period=60.0)
    world.now += 50.0
    world.pause()
    assert world.checked(False) == []
    world.now += 1000.0
    world.resume()
    world.now += 59.0
    assert world.checked(False) == []
    assert verdict(world) == (Health.STARTING, False, 0)


# --- what follows -----------------------------------------------------------------------------------------------------


def fail(world: World) -> list[fx.Effect]:
    world.checked(False)
    return world.checked(False)


def test_an_unhealthy_run_is_ended_and_its_policy_decides() -> None:
    world = settled()
    told = fail(world)
    assert stories(told) == ["unhealthy"]
    assert fx.Signal(world.run(), "SIGINT") in told
    worker = world.worker()
    assert (worker.state, worker.cause) == (State.STOPPING, ExitKind.UNHEALTHY)
    world.exited(KILLED)
    worker = world.worker()
    assert worker.run is not None and worker.run.exit is not None and worker.reason is not None
    assert (worker.state, worker.run.exit.kind, worker.health) == (State.BACKOFF, ExitKind.UNHEALTHY, Health.NONE)
    assert worker.run.exit.reason == "unhealthy: connection refused (2 failures in a row); killed by SIGKILL"
    assert worker.reason.text.startswith(worker.run.exit.reason)


def test_a_worker_that_is_never_well_runs_into_the_breaker() -> None:
    world, codes = live(), []
    for _ in range(2):
        world.now += 11.0
        fail(world)
        world.exited(KILLED)
        reason = world.worker().reason
        codes.append(reason.code if reason else "")
        world.due()
        world.started()
    assert codes == ["backoff", "breaker_open"]


@pytest.mark.parametrize("policy", Policy)
def test_stop_is_the_end_whatever_the_policy(policy: Policy) -> None:
    world = World()
    check = HealthCheck(tcp=TCP, retries=1, on_failure=OnFailure.STOP)
    world.live(health=check, restart=Restart(policy))
    world.checked(True)
    world.checked(False)
    assert world.worker().then is Then.FAIL
    world.exited(KILLED)
    worker = world.worker()
    assert worker.reason is not None
    assert (worker.state, worker.reason.code, worker.due) == (State.FAILED, "unhealthy", None)
    assert worker.reason.text.endswith("; its spec says that it is not started again then")
    world.start()
    assert world.worker().state is State.STARTING


def test_a_person_who_starts_or_stops_it_meanwhile_is_heard() -> None:
    for ask, state in ((World.start, State.STARTING), (World.stop, State.STOPPED)):
        world = settled(on_failure=OnFailure.STOP)
        fail(world)
        ask(world)
        world.exited(KILLED)
        assert world.worker().state is state


def test_none_only_tells_and_it_may_recover() -> None:
    world = settled(on_failure=OnFailure.NONE)
    assert kinds(fail(world)) == "Story Save"
    assert verdict(world) == (Health.UNHEALTHY, False, 2)
    assert world.checked(False) == [], "what is known is not written again"
    assert stories(world.checked(True)) == ["healthy"]
    assert verdict(world) == (Health.HEALTHY, True, 0)


# --- readiness --------------------------------------------------------------------------------------------------------


def ready(world: World, ok: bool) -> list[fx.Effect]:
    return world.checked(ok, check=Check.READY)


def test_readiness_is_apart_from_health() -> None:
    world = live(ready=Probe(tcp=TCP, retries=2, interval=10.0))
    world.checked(True)
    assert verdict(world) == (Health.HEALTHY, False, 0)
    assert stories(ready(world, True)) == ["ready"]
    ready(world, False)
    assert world.worker().ready, "one failure of two"
    assert stories(ready(world, False)) == ["unready"]
    assert verdict(world) == (Health.HEALTHY, False, 0)
    assert world.worker().state is State.RUNNING
    assert ready(world, False) == []
    assert stories(ready(world, True)) == ["ready"]


def test_what_is_asked_for_readiness_alone_has_no_health() -> None:
    world = World()
    world.live(health=HealthCheck(ready=Probe(tcp=TCP)))
    assert verdict(world) == (Health.NONE, False, 0)
    assert world.checked(False) == []
    ready(world, True)
    assert verdict(world) == (Health.NONE, True, 0)


def test_who_is_not_asked_is_ready_when_it_runs() -> None:
    world = World()
    world.submit()
    assert not world.worker().ready
    assert kinds(world.started()) == "SaveRun Story Save Arm"
    assert verdict(world) == (Health.NONE, True, 0)
    world.pause()
    assert not world.worker().ready


# --- a changed spec ---------------------------------------------------------------------------------------------------


def test_a_changed_check_needs_no_new_run_and_begins_anew() -> None:
    world = settled()
    run = world.run()
    world.checked(False)
    world.change(health=HealthCheck(tcp="127.0.0.1:81"))
    assert (world.run(), world.worker().state, verdict(world)) == (run, State.RUNNING, (Health.STARTING, False, 0))
    assert kinds(world.change(health=None)) == "SaveSpec Story Save Disarm"
    assert verdict(world) == (Health.NONE, True, 0)
    assert world.checked(False) == []


def test_a_check_that_is_changed_before_the_program_runs_counts_from_then_on() -> None:
    world = World()
    world.submit()
    world.change(health=HealthCheck(tcp=TCP))
    assert world.worker().health is Health.NONE
    world.started()
    assert world.worker().health is Health.STARTING


def test_a_drain_does_not_wait_for_health() -> None:
    world = settled()
    world(ev.DrainRequested())
    assert world.worker().state is State.STOPPING
    assert world(ev.StartRequested("w", PERSON)) != []
