"""What the engine makes of events: lists of effects."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.model.container import Container, DriverName, Way
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Breaker, Policy, Queue, Restart, Spec, Stop
from rdagentd.model.worker import State, Then, Want

from .world import KILLED, PERSON, STOP, World, a_spec, code, done, kinds, put, refusal, stories

STATE, LIMIT = ev.Timer.STATE, ev.Timer.LIMIT
NEVER, ALWAYS = Restart(Policy.NEVER), Restart(Policy.ALWAYS, delay=5.0)


def reason(world: World) -> str:
    found = world.worker().reason
    return found.code if found else ""


# --- submit -----------------------------------------------------------------------------------------------------------


def test_submit_keeps_the_spec_and_the_intent_before_it_asks_for_the_run() -> None:
    world = World()
    effects = world.submit()
    assert kinds(effects) == "SaveSpec Story Save Story Save SaveRun Spawn Save"
    spawn = next(effect for effect in effects if isinstance(effect, fx.Spawn))
    assert spawn.worker.run == next(effect.run for effect in effects if isinstance(effect, fx.SaveRun))
    assert (spawn.worker.owner, spawn.worker.attempt, world.worker().state) == (PERSON, 1, State.STARTING)


def test_submit_without_start_only_keeps() -> None:
    world = World()
    assert kinds(world.submit(start=False)) == "SaveSpec Story Save"
    assert (world.worker().state, world.worker().want, reason(world)) == (State.STOPPED, Want.DOWN, "submitted")


def test_a_name_is_given_once() -> None:
    world = World()
    world.submit()
    assert refusal(world.submit()) == (
        "conflict",
        "cannot submit w: a worker of that name exists; use apply to change it, or another name",
    )


def test_max_workers() -> None:
    world = World(limit=1)
    world.submit("a")
    assert refusal(world.submit("b")) == (
        "over_capacity",
        "cannot submit b: 1 workers exist (max_workers); remove some first",
    )
    world.remove(force=True, name="a")
    world.exited(KILLED, "a")
    assert kinds(world.submit("b")).startswith("SaveSpec")


ASKS: list[Callable[[World], list[fx.Effect]]] = [
    World.start, World.stop, World.restart, World.pause, World.resume, World.kill, World.remove, World.change,
    lambda world: world.signal("SIGHUP"),
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKS)
def test_who_is_not_there_is_not_found(ask: Callable[[World], list[fx.Effect]]) -> None:
    assert refusal(ask(World())) == ("not_found", "cannot find worker w: no worker of that name")


def test_refusals_name_the_state() -> None:
    world = World()
    world.submit(start=False)
    assert refusal(world.pause()) == ("conflict", "cannot pause w: it is stopped")
    assert refusal(world.signal("SIGHUP")) == ("conflict", "cannot signal w: it is stopped")
    world.start()
    text = "cannot remove w: it is starting; stop it first, or use --force"
    assert refusal(world.remove()) == ("conflict", text)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_started_keeps_the_process_and_arms_the_limit_from_the_launch() -> None:
    world = World()
    world.submit(timeout=60.0)
    world.now += 7
    effects = world.started()
    assert done(effects) == [fx.Arm("w", LIMIT, 1060.0)]
    run = world.worker().run
    assert run is not None
    assert (run.pid, run.start_ticks, run.started_at, run.log_start) == (42, 4242, 5e8, {"out": 10})
    assert fx.SaveRun(run) in effects


def test_the_time_in_which_an_image_was_fetched_is_not_the_container_s() -> None:
    world = World()
    world(ev.ExecutorConnected(True, driver=DriverName.DOCKER))
    world.submit(timeout=60.0, driver=DriverName.DOCKER, container=Container("image"))
    world.now += 600
    effects = world(ev.RunStarted("w", world.run(), 42, 4242, 5e8, {"out": 10}, "c0ffee"))
    assert done(effects) == [fx.Arm("w", LIMIT, 1660.0)]


def test_an_end_is_kept_then_acknowledged() -> None:
    world = World()
    world.live(restart=NEVER)
    effects = world.exited(code(0))
    assert done(effects) == [fx.Ack("r1"), fx.Disarm("w", LIMIT)]
    run = world.worker().run
    assert run is not None
    assert (run.exit, run.ended_at, run.log_end) == (code(0), 6e8, {"out": 20})
    assert fx.SaveRun(run) in effects
    assert stories(effects) == ["exited", "completed"]


@pytest.mark.parametrize("live", [False, True])
def test_what_ends_before_it_is_known_to_have_started_has_ended(live: bool) -> None:
    world = World()
    world.submit(restart=NEVER)
    if live:
        world.started()
    world.exited(code(1))
    assert world.started(run="r1") == []
    assert world.worker().state is State.FAILED


def test_doubled_and_late_events_change_nothing() -> None:
    world = World()
    world.live(restart=ALWAYS)
    assert world.started() == []
    world.exited(code(1))
    world.due()
    assert (world.run(), world.worker().state) == ("r2", State.STARTING)
    assert world.started(run="r1") == []
    assert world.exited(code(0), run="r1") == [fx.Ack("r1")]
    assert world(ev.RunExited("nobody", "r0", code(0))) == [fx.Ack("r0")]
    assert world(ev.RunStarted("nobody", "r0", 1, 2, 3.0)) == []
    assert world.worker().state is State.STARTING


def test_a_late_start_is_dropped_while_the_next_run_waits() -> None:
    world = World()
    world.live(restart=ALWAYS)
    world.slots(default=0)
    world.exited(code(1))
    world.due()
    assert world.worker().state is State.QUEUED
    assert world.started() == []


def test_a_deadline_that_was_moved_is_dropped() -> None:
    world = World()
    world.live(timeout=60.0)
    old = world.worker().deadline
    assert old is not None
    world.change(timeout=90.0)
    assert world.limit(at=old) == []
    assert world.worker().state is State.RUNNING
    world.limit()
    assert world.worker().state is State.STOPPING


# --- stop -------------------------------------------------------------------------------------------------------------


def test_the_stop_ladder() -> None:
    world = World()
    world.live(stop=Stop(("SIGINT", "SIGHUP", "SIGTERM"), interval=2.0, grace=10.0))
    assert done(world.stop()) == [fx.Signal("r1", "SIGINT"), fx.Arm("w", STATE, 1002.0), fx.Disarm("w", LIMIT)]
    assert done(world.due()) == [fx.Signal("r1", "SIGHUP"), fx.Arm("w", STATE, 1004.0)]
    assert done(world.due()) == [fx.Signal("r1", "SIGTERM"), fx.Arm("w", STATE, 1014.0)]
    assert done(world.due()) == [fx.Kill("r1"), fx.Disarm("w", STATE)]
    effects = world.exited(KILLED)
    assert done(effects) == [fx.Ack("r1")]
    assert (world.worker().state, reason(world)) == (State.STOPPED, "stopped")


def test_a_ladder_without_signals_is_grace_and_kill() -> None:
    world = World()
    world.live(stop=Stop((), grace=3.0), timeout=None)
    assert done(world.stop()) == [fx.Arm("w", STATE, 1003.0)]
    assert done(world.due()) == [fx.Kill("r1"), fx.Disarm("w", STATE)]


def test_a_ladder_without_intervals_is_climbed_all_the_same() -> None:
    world = World()
    world.live(stop=Stop(("SIGINT", "SIGTERM"), interval=0.0, grace=0.0), timeout=None)
    assert done(world.stop()) == [fx.Signal("r1", "SIGINT"), fx.Arm("w", STATE, 1000.0)]
    assert done(world.due()) == [fx.Signal("r1", "SIGTERM"), fx.Arm("w", STATE, 1000.0)]
    assert done(world.due()) == [fx.Kill("r1"), fx.Disarm("w", STATE)]


def test_stopping_what_is_paused_signals_first_and_thaws_then() -> None:
    world = World()
    world.live()
    world.pause()
    assert done(world.stop()) == [fx.Signal("r1", "SIGINT"), fx.Thaw("r1"), fx.Arm("w", STATE, 1002.0)]


def test_kill_waits_for_nothing() -> None:
    world = World()
    world.live(restart=ALWAYS)
    assert done(world.kill()) == [fx.Kill("r1"), fx.Disarm("w", LIMIT)]
    world.exited(KILLED)
    assert (world.worker().state, world.worker().want) == (State.STOPPED, Want.DOWN)


@pytest.mark.parametrize("before", [World.stop, World.restart, World.limit])
def test_kill_ends_what_is_stopping_for_good(before: Callable[[World], object]) -> None:
    world = World()
    world.live(restart=ALWAYS)
    before(world)
    assert done(world.kill()) == [fx.Kill("r1"), fx.Disarm("w", STATE)]
    world.exited(KILLED)
    assert (world.worker().state, world.worker().want) == (State.STOPPED, Want.DOWN)


@pytest.mark.parametrize("before", [World.restart, World.limit])
def test_a_stop_counts_for_what_is_stopping_to_come_back(before: Callable[[World], object]) -> None:
    world = World()
    world.live(restart=ALWAYS)
    before(world)
    assert stories(world.stop()) == ["stopping"]
    assert world.stop() == []
    world.exited(code(0))
    assert (world.worker().state, world.worker().want) == (State.STOPPED, Want.DOWN)


def test_stop_before_it_is_known_to_have_started() -> None:
    world = World()
    world.submit()
    world.stop()
    assert kinds(world.started()) == "SaveRun Story Save"
    assert (world.worker().state, world.worker().run.pid) == (State.STOPPING, 42)  # type: ignore[union-attr]


def test_stop_ends_a_backoff_and_the_attempts_of_a_breaker() -> None:
    world = World()
    put(State.BACKOFF, world)
    assert done(world.stop()) == [fx.Disarm("w", STATE)]
    assert world.worker().state is State.STOPPED
    world = World()
    put(State.FAILED, world)
    assert reason(world) == "breaker_open"
    assert done(world.stop()) == [fx.Disarm("w", STATE)]
    assert (world.worker().state, reason(world)) == (State.FAILED, "breaker_stopped")


# --- restart, pause, signal, remove -----------------------------------------------------------------------------------


def test_restart_stops_and_starts_with_a_clean_past() -> None:
    world = World()
    world.live(restart=ALWAYS)
    world.exited(code(1))
    world.due()
    world.started()
    assert world.worker().attempt == 2
    world.restart()
    effects = world.exited(code(0))
    assert [type(effect) for effect in done(effects)] == [fx.Ack, fx.Disarm, fx.Spawn]
    worker = world.worker()
    assert (world.run(), worker.attempt, worker.restarts, worker.ends) == ("r3", 1, 1, ())


def test_start_while_stopping_starts_afterwards() -> None:
    world = World()
    world.live()
    world.stop()
    world.start()
    assert (world.worker().want, world.worker().then) == (Want.UP, Then.START)
    world.exited(code(0))
    assert world.worker().state is State.STARTING


def test_pause_stops_the_clock_of_the_time_limit() -> None:
    world = World()
    world.live(timeout=60.0)
    world.now += 20
    assert done(world.pause()) == [fx.Freeze("r1"), fx.Disarm("w", LIMIT)]
    assert world.worker().time_left == 40.0
    world.now += 1000
    assert done(world.resume()) == [fx.Thaw("r1"), fx.Arm("w", LIMIT, 2060.0)]
    assert world.worker().time_left is None


def test_a_signal_is_passed_on() -> None:
    world = World()
    world.live()
    assert done(world.signal("SIGHUP", "tree")) == [fx.Signal("r1", "SIGHUP", "tree")]


def test_a_signal_that_cannot_arrive_is_refused() -> None:
    world = World()
    world.live()
    world(ev.ExecutorLost())
    text = "cannot signal w: the executor cannot be reached; try again"
    assert refusal(world.signal("SIGHUP")) == ("unavailable", text)


def test_remove_by_force_stops_first() -> None:
    world = World()
    world.live()
    effects = world.remove(force=True)
    assert fx.Signal("r1", "SIGINT") in effects
    assert fx.Forget("w") not in effects
    assert refusal(world.start()) == ("conflict", "cannot start w: it is being removed")
    assert world.stop() == []
    effects = world.exited(code(0))
    assert kinds(effects) == "Ack SaveRun Story Story Forget Disarm"
    assert world.engine.workers == {}


def test_a_removed_name_can_be_given_again() -> None:
    world = World()
    world.submit(start=False)
    assert done(world.remove()) == []
    world.live()
    assert world.worker().revision == 1


# --- the time limit ---------------------------------------------------------------------------------------------------


def test_the_time_limit_uses_kill_after_and_names_the_cause() -> None:
    world = World()
    world.live(restart=NEVER, timeout=60.0, kill_after=3.0, stop=Stop(("SIGTERM",), grace=99.0))
    assert done(world.limit()) == [fx.Signal("r1", "SIGTERM"), fx.Arm("w", STATE, 1063.0), fx.Disarm("w", LIMIT)]
    assert done(world.due()) == [fx.Kill("r1"), fx.Disarm("w", STATE)]
    world.exited(KILLED)
    run = world.worker().run
    assert run is not None
    text = "ran into its time limit of 60 s; killed by SIGKILL"
    assert run.exit == Exit(ExitKind.TIMED_OUT, signal="SIGKILL", reason=text)
    assert (world.worker().state, world.worker().want) == (State.FAILED, Want.UP)


def test_a_run_that_timed_out_is_a_failure_although_it_ended_well() -> None:
    world = World()
    world.live(restart=ALWAYS)
    world.limit()
    world.exited(code(0))
    assert world.worker().state is State.BACKOFF
    run = world.worker().run
    assert run is not None
    assert run.exit is not None
    assert (run.exit.kind, run.exit.code) == (ExitKind.TIMED_OUT, 0)


@pytest.mark.parametrize("policy", [NEVER, ALWAYS])
def test_a_run_that_exceeds_its_quota_is_asked_to_end_and_not_restarted(policy: Restart) -> None:
    world = World()
    world.live(restart=policy, stop=Stop(("SIGINT",), grace=9.0))
    assert done(world.exceeded())[:2] == [fx.Signal("r1", "SIGINT"), fx.Arm("w", STATE, 1009.0)]
    text = "its state directory holds 3 GiB, its quota is 2 GiB"
    assert (world.worker().reason or text).text == text  # type: ignore[union-attr]
    world.exited(code(0))
    worker = world.worker()
    assert worker.run is not None and worker.run.exit is not None and worker.reason is not None
    assert (worker.run.exit.kind, worker.run.exit.reason) == (ExitKind.OVER_QUOTA, f"{text}; exited with code 0")
    assert (worker.state, worker.reason.code, worker.cause_text) == (State.FAILED, "over_quota", "")


def test_a_quota_that_an_earlier_run_exceeded_stops_no_later_one() -> None:
    world = World()
    world.live(restart=ALWAYS)
    assert world.exceeded(run="r0") == []
    assert world.worker().state is State.RUNNING


def test_a_lost_run_is_lost_whatever_was_on_its_way() -> None:
    world = World()
    world.live(restart=NEVER)
    world.limit()
    world.exited(Exit(ExitKind.LOST, reason="lost"))
    assert world.worker().run.exit.kind is ExitKind.LOST  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "paused", "deadline", "left"),
    [
        (60.0, 90.0, False, 1090.0, None),
        (60.0, None, False, None, None),
        (None, 90.0, False, 1090.0, None),
        (60.0, 5.0, False, 1005.0, None),  # over already: it fires at once
        (60.0, 90.0, True, None, 80.0),
        (60.0, 5.0, True, None, 0.0),
        (60.0, None, True, None, None),
        (None, 90.0, True, None, 90.0),
    ],
)
def test_a_changed_limit_counts_at_once(
    old: float | None, new: float | None, paused: bool, deadline: float | None, left: float | None
) -> None:
    world = World()
    world.live(timeout=old)
    world.now += 10
    if paused:
        world.pause()
    world.change(timeout=new)
    assert (world.worker().deadline, world.worker().time_left) == (deadline, left)


# --- a changed spec ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"a": "b"}},
        {"queue": Queue("other", 3)},
        {"restart": ALWAYS},
        {"stop": Stop(("SIGHUP",))},
        {"kill_after": 1.0},
    ],
)
def test_some_fields_count_without_a_new_run(fields: dict[str, object]) -> None:
    world = World()
    world.live()
    assert kinds(world.change(**fields)) == "SaveSpec Story Save"
    assert (world.worker().state, world.worker().revision) == (State.RUNNING, 2)


@pytest.mark.parametrize("fields", [{"command": ("/bin/other",)}, {"environment": {"A": "b"}}, {"nice": 3}])
def test_any_other_needs_a_new_run(fields: dict[str, object]) -> None:
    world = World()
    world.live()
    assert fx.Signal("r1", "SIGINT") in world.change(**fields)
    effects = world.exited(code(0))
    spawn = next(effect for effect in effects if isinstance(effect, fx.Spawn))
    assert spawn.worker.run is not None
    assert (spawn.worker.run.revision, spawn.worker.spec) == (2, a_spec(**fields))


def test_what_rests_unwanted_stays_at_rest() -> None:
    world = World()
    put(State.COMPLETED, world)
    world.stop()
    assert kinds(world.change(nice=1)) == "SaveSpec Story Save"


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_backoff_then_again() -> None:
    world = World()
    world.live(restart=ALWAYS)
    effects = world.exited(code(1))
    assert done(effects) == [fx.Ack("r1"), fx.Arm("w", STATE, 1005.0), fx.Disarm("w", LIMIT)]
    assert (world.worker().state, reason(world)) == (State.BACKOFF, "backoff")
    effects = world.due()
    assert [type(effect) for effect in done(effects)] == [fx.Disarm, fx.Spawn]
    assert (world.worker().attempt, world.worker().restarts) == (2, 1)


def test_the_breaker_opens_and_lets_one_attempt_through() -> None:
    world = World()
    world.live(restart=Restart(Policy.ALWAYS, delay=1.0, breaker=Breaker(1, 600.0, 50.0)), timeout=None)
    effects = world.exited(code(1))
    assert done(effects) == [fx.Ack("r1"), fx.Arm("w", STATE, 1050.0)]
    assert world.worker().state is State.FAILED
    world.due()
    assert (world.worker().state, world.worker().half_open) == (State.STARTING, True)
    world.started()
    world.now += 30
    world.exited(code(0))
    assert (world.worker().state, world.worker().half_open, world.worker().ends) == (State.BACKOFF, False, ())


def test_start_closes_the_breaker() -> None:
    world = World()
    put(State.FAILED, world)
    world.start()
    worker = world.worker()
    assert (worker.state, worker.attempt, worker.ends, worker.half_open) == (State.STARTING, 1, (), False)


# --- the queue --------------------------------------------------------------------------------------------------------


def test_who_waits_is_told_for_what() -> None:
    world = World({"default": 1})
    for name in "abc":
        world.submit(name)
    reasons = [world.engine.waits_for(world.worker(name)) for name in "bc"]
    assert [found.code for found in reasons] == ["slot", "slot"]
    assert [found.text for found in reasons] == [
        "waits for a slot of group default (1 of 1 taken, next in line)",
        "waits for a slot of group default (1 of 1 taken, 1 ahead of it)",
    ]


def test_an_end_lets_the_next_start_in_the_same_turn() -> None:
    world = World({"default": 1})
    world.submit("a", restart=NEVER)
    world.submit("b")
    world.submit("c", queue=Queue(priority=1))
    effects = world.exited(code(0), "a")
    assert [effect.worker.name for effect in effects if isinstance(effect, fx.Spawn)] == ["c"]
    assert world.engine.live() == 1


def test_more_slots_let_more_start() -> None:
    world = World({"default": 0})
    world.submit("a")
    world.submit("b")
    effects = world.slots(default=1)
    assert [effect.worker.name for effect in effects if isinstance(effect, fx.Spawn)] == ["a"]
    assert kinds(world.slots()) == "SaveRun Spawn Save"


def test_nothing_starts_without_the_executor() -> None:
    world = World(connected=False)
    assert "Spawn" not in kinds(world.submit())
    assert world.engine.waits_for(world.worker()).code == "executor"
    assert kinds(world(ev.ExecutorConnected(True))) == "Ready SaveRun Spawn Save"
    assert world(ev.ExecutorLost()) == []
    world.submit("b")
    assert world.worker("b").state is State.QUEUED


# --- draining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "state", "why"),
    [
        (Policy.NEVER, State.STOPPED, "interrupted"),
        (Policy.ON_FAILURE, State.QUEUED, "drained"),
        (Policy.ALWAYS, State.QUEUED, "drained"),
        (Policy.UNLESS_STOPPED, State.QUEUED, "drained"),
    ],
)
def test_drain_stops_all_and_keeps_the_wish(policy: Policy, state: State, why: str) -> None:
    world = World()
    world.live(restart=Restart(policy))
    effects = world(ev.DrainRequested())
    assert done(effects) == [fx.Signal("r1", "SIGINT"), fx.Arm("w", STATE, 1002.0), fx.Disarm("w", LIMIT)]
    world.exited(code(0))
    assert (world.worker().state, world.worker().want, reason(world)) == (state, Want.UP, why)
    if state is State.QUEUED:
        assert world.worker().attempt == 0  # the next one counts as the first: this one did not fail
        assert world.engine.waits_for(world.worker()).code == "draining"


def test_drain_thaws_what_is_paused_and_leaves_what_rests() -> None:
    world = World()
    world.live()
    world.pause()
    world.submit("other", start=False)
    effects = done(world(ev.DrainRequested()))
    assert effects == [fx.Signal("r1", "SIGINT"), fx.Thaw("r1"), fx.Arm("w", STATE, 1002.0)]


@pytest.mark.parametrize(
    ("before", "state"),
    [(World.stop, State.STOPPED), (World.restart, State.QUEUED), (World.limit, State.FAILED)],
)
def test_drain_leaves_alone_what_is_stopping(before: Callable[[World], object], state: State) -> None:
    world = World()
    world.live(restart=NEVER)
    before(world)
    assert world(ev.DrainRequested()) == []
    world.exited(code(0))
    assert world.worker().state is state


def test_start_and_stop_while_draining_are_remembered() -> None:
    world = World()
    world.submit("a", restart=NEVER)
    world.submit("b", restart=ALWAYS)
    world(ev.DrainRequested())
    world.start("a")
    world.stop("b")
    world.exited(code(0), "a")
    world.exited(code(0), "b")
    assert [world.worker(name).state for name in "ab"] == [State.QUEUED, State.STOPPED]


# --- taking back ------------------------------------------------------------------------------------------------------


def test_who_needs_the_proxy_waits_for_it_and_nobody_else_does() -> None:
    world = World({"default": 1}, connected=False)
    world.submit("docked", docker_socket=True)
    world(ev.ProxyChanged(None))
    assert world.worker("docked").state is State.QUEUED, "there is no executor"
    assert world.engine.waits_for(world.worker("docked")).text.startswith("waits for the executor")
    world(ev.ProxyChanged("does not answer"))
    world(ev.ExecutorConnected(True))
    assert world.engine.waits_for(world.worker("docked")).text == "waits for the Docker proxy, which does not answer"
    world.submit("plain")
    assert world.worker("plain").state is State.STARTING
    world.exited(code(0), "plain")
    world(ev.ProxyChanged(None))
    assert world.worker("docked").state is State.STARTING


def test_rollback_leads_back_to_the_mark() -> None:
    world = World({"default": 2})
    world.submit("a")
    world.submit("b")
    world.submit("c")
    before, ledger = dict(world.engine.workers), dict(world.engine.queue.slot_holders())
    world.engine.mark()
    world.started("a")
    world.exited(code(0), "a")
    world.remove(force=True, name="b")
    world.submit("d")
    world.remove(force=True, name="c")
    world(ev.ExecutorLost())
    world(ev.DrainRequested())
    world.engine.rollback()
    assert world.engine.workers == before
    assert dict(world.engine.queue.slot_holders()) == ledger
    assert (set(world.engine.away), world.engine.draining) == ({Way.DOCKER, Way.SOCKET}, False)
    assert world.engine.queue.waiting() == 1


def test_rollback_brings_back_what_was_removed_and_submitted_anew() -> None:
    world = World()
    world.submit(start=False, labels={"first": "yes"})
    before = world.worker()
    world.engine.mark()
    world.remove()
    world.submit()
    world.engine.rollback()
    assert world.engine.workers == {"w": before}


def test_a_worker_is_not_saved_where_nothing_changed() -> None:
    world = World()
    world.live()
    assert world.start() == []
    assert world.worker() == evolve(world.worker())
    assert world.worker().spec.stop == STOP


@pytest.mark.parametrize(
    ("field", "value", "state"),
    [
        ("labels", {"a": "b"}, State.COMPLETED),
        ("queue", Queue("gpu", 3), State.COMPLETED),
        ("timeout", 9.0, State.STARTING),
    ],
)
def test_a_completed_job_starts_anew_with_a_new_spec_but_not_with_new_labels(
    field: str, value: object, state: State
) -> None:
    engine = Engine(iter(map(str, range(9))).__next__)
    engine.handle(ev.ExecutorConnected(False), 0.0)
    spec = Spec("w", ("true",))
    engine.handle(ev.SubmitRequested(spec, 0), 0.0)
    engine.handle(ev.RunExited("w", "0", Exit(ExitKind.CODE, 0, reason="exited with code 0")), 1.0)
    assert engine.workers["w"].state is State.COMPLETED
    engine.handle(ev.SpecChanged("w", evolve(spec, **{field: value}), 0), 2.0)
    assert engine.workers["w"].state is state
