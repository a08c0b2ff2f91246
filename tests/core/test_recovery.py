"""After a crash, a restart or a reboot: what was kept against what the executor holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.model.run import ExitKind
from rdagentd.model.spec import Policy, Restart
from rdagentd.model.worker import State, Want, Worker

from .world import STOP, World, code, done, kinds, put, stories

STATE, LIMIT = ev.Timer.STATE, ev.Timer.LIMIT
NEVER = Restart(Policy.NEVER)


def successor(world: World, now: float | None = None, rebooted: bool = False) -> tuple[World, list[fx.Effect]]:
    """A new engine over what the old one knew, and what taking it up led to."""
    after = World(connected=False)
    after.now = world.now if now is None else now
    return after, after.engine.restore(list(world.engine.workers.values()), after.now, rebooted)


def held(run: str = "r1", pid: int | None = 42, frozen: bool = False, worker: str = "w") -> ev.Held:
    return ev.Held(worker, run, pid, 4242, 5e8, frozen, {"out": 10})


def connect(
    world: World, *runs: ev.Held, same_epoch: bool = True, exited: frozenset[str] = frozenset()
) -> list[fx.Effect]:
    effects = world(ev.ExecutorConnected(same_epoch, runs, exited))
    assert effects[0] == fx.Ready()
    return effects[1:]


@pytest.mark.parametrize("state", State)
def test_restore_arms_what_was_armed_and_changes_nothing(state: State) -> None:
    world = World()
    put(state, world)
    after, effects = successor(world)
    assert after.engine.workers == world.engine.workers
    worker = world.worker()
    armed = [(STATE, worker.due), (LIMIT, worker.deadline)]
    assert effects == [fx.Arm("w", timer, at) for timer, at in armed if at is not None]
    assert dict(after.engine.queue.slot_holders()) == dict(world.engine.queue.slot_holders())
    assert after.engine.queue.waiting() == world.engine.queue.waiting()


def test_places_in_the_queue_outlive_the_daemon() -> None:
    world = World({"default": 0})
    for name in ("z", "a"):
        world.submit(name)
    after, _ = successor(world)
    after.slots(default=1)
    after.submit("b")
    connect(after)
    assert [after.worker(name).state for name in "zab"] == [State.STARTING, State.QUEUED, State.QUEUED]


# --- with the executor's memory ---------------------------------------------------------------------------------------


def test_a_running_one_is_adopted_without_a_word() -> None:
    world = World()
    world.live()
    after, _ = successor(world)
    before = after.worker()
    assert connect(after, held()) == []
    assert after.worker() is before


def test_one_that_started_meanwhile_is_running() -> None:
    world = World()
    world.submit()
    after, _ = successor(world)
    assert kinds(connect(after, held())) == "SaveRun Story Save Arm"
    assert (after.worker().state, after.worker().run.pid) == (State.RUNNING, 42)  # type: ignore[union-attr]


def test_one_whose_exec_is_under_way_stays_starting() -> None:
    world = World()
    world.submit()
    after, _ = successor(world)
    assert connect(after, held(pid=None)) == []
    assert after.worker().state is State.STARTING


def test_an_end_that_follows_is_waited_for() -> None:
    world = World()
    world.live(restart=NEVER)
    after, _ = successor(world)
    assert connect(after, exited=frozenset({"r1"})) == []
    assert after.worker().state is State.RUNNING
    after.exited(code(7))
    assert after.worker().run.exit == code(7)  # type: ignore[union-attr]


def test_one_that_was_never_asked_for_is_asked_for_again_with_its_id() -> None:
    world = World()
    world.submit()
    after, _ = successor(world)
    assert connect(after) == [fx.Spawn(world.worker())]
    assert after.run() == "r1"


@pytest.mark.parametrize(("ask", "state"), [(World.stop, State.STOPPED), (World.restart, State.STARTING)])
def test_one_that_was_stopped_before_it_was_asked_for_never_ran(ask: Callable[[World], object], state: State) -> None:
    world = World()
    world.submit()
    ask(world)
    after, _ = successor(world)
    effects = connect(after)
    ended = next(effect.run.exit for effect in effects if isinstance(effect, fx.SaveRun))
    assert ended is not None
    assert (ended.kind, ended.reason.split(":")[0]) == (ExitKind.LOST, "never started")
    assert after.worker().state is state


def test_one_that_is_gone_from_a_memory_that_knew_it_is_lost() -> None:
    world = World()
    world.live(restart=NEVER)
    after, _ = successor(world)
    assert stories(connect(after)) == ["exited", "failed"]
    assert after.worker().run.exit.kind is ExitKind.LOST  # type: ignore[union-attr]


# --- with another memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_nobody_can_know_whether_it_ran(started: bool) -> None:
    world = World()
    world.submit(restart=Restart(Policy.ALWAYS, delay=0.0))
    if started:
        world.started()
    after, _ = successor(world)
    effects = connect(after, same_epoch=False)
    ends = [e.run.exit.kind for e in effects if isinstance(e, fx.SaveRun) and e.run.exit is not None]
    assert ends == [ExitKind.LOST]
    spawned = [effect.worker.run for effect in effects if isinstance(effect, fx.Spawn)]
    assert len(spawned) == 1
    assert spawned[0] is not None
    assert spawned[0].id != "" and world.run() == "r1"
    assert after.worker().restarts == 1


# --- fencing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.RUNNING])
def test_what_nobody_owns_is_ended(state: State) -> None:
    world = World()
    put(state, world)
    own = [held()] if state is State.RUNNING else []
    effects = connect(world, *own, held("r9"), held("r8", worker="nobody"))
    assert done(effects) == [fx.Kill("r9"), fx.Kill("r8")]
    assert stories(effects) == ["fenced", "fenced"]
    assert world.exited(code(0), run="r9") == [fx.Ack("r9")]


# --- saying it again --------------------------------------------------------------------------------------------------


def _steps(*steps: Callable[[World], object]) -> World:
    world = World()
    world.live()
    for step in steps:
        step(world)
    return world


def _shorter_ladder(world: World) -> None:
    world.change(stop=STOP.__class__(()))


def _longer_ladder(world: World) -> None:
    world.change(stop=STOP.__class__(("SIGHUP",) * 9))


@pytest.mark.parametrize(
    ("steps", "frozen", "expected"),
    [
        ((), False, []),
        ((), True, [fx.Thaw("r1")]),
        ((World.pause,), True, []),
        ((World.pause,), False, [fx.Freeze("r1")]),
        ((World.stop,), False, [fx.Signal("r1", "SIGINT")]),
        ((World.pause, World.stop), True, [fx.Signal("r1", "SIGINT"), fx.Thaw("r1")]),
        ((World.stop, World.due), False, [fx.Signal("r1", "SIGTERM")]),
        ((World.stop, World.due, World.due), False, [fx.Kill("r1")]),
        ((World.kill,), False, [fx.Kill("r1")]),
        ((World.kill, _longer_ladder), False, [fx.Kill("r1")]),
        ((World.stop, World.due, _shorter_ladder), False, []),
    ],
)
def test_the_wish_is_said_again(steps: Any, frozen: bool, expected: list[fx.Effect]) -> None:
    world, _ = successor(_steps(*steps))
    assert connect(world, held(frozen=frozen)) == expected


# --- reboot -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("state", [State.STOPPED, State.COMPLETED])
def test_only_always_comes_back_by_itself_after_a_stop(policy: Policy, state: State) -> None:
    world = World()
    world.live(restart=Restart(policy))
    if state is State.STOPPED:
        world.stop()
    world.exited(code(0))
    before = world.worker().state
    after, effects = successor(world, now=5.0, rebooted=True)
    if policy is Policy.ALWAYS and state is State.STOPPED:
        assert (after.worker().state, after.worker().want) == (State.QUEUED, Want.UP)
        assert fx.Save(after.worker()) in effects
        assert "Spawn" in kinds(connect(after))
    else:
        assert after.worker().state is before


def test_what_was_never_started_is_not_started_by_a_reboot() -> None:
    world = World()
    world.submit(start=False, restart=Restart(Policy.ALWAYS))
    after, _ = successor(world, now=5.0, rebooted=True)
    assert after.worker().state is State.STOPPED


@pytest.mark.parametrize(
    ("state", "due"),
    [(State.BACKOFF, 5.0), (State.STOPPING, 5.0), (State.FAILED, 105.0), (State.RUNNING, None)],
)
def test_deadlines_begin_anew_with_the_clock(state: State, due: float | None) -> None:
    world = World()
    put(state, world)
    after, effects = successor(world, now=5.0, rebooted=True)
    worker: Worker = after.worker()
    assert (worker.due, worker.deadline, worker.ends) == (due, None, ())
    assert [effect for effect in effects if isinstance(effect, fx.Arm)] == ([fx.Arm("w", STATE, due)] if due else [])


def test_what_ran_when_the_machine_went_down_follows_its_policy() -> None:
    world = World()
    world.submit("job", restart=NEVER)
    world.submit("service", restart=Restart(Policy.UNLESS_STOPPED, delay=3.0))
    for name in ("job", "service"):
        world.started(name)
    after, _ = successor(world, now=5.0, rebooted=True)
    connect(after, same_epoch=False)
    assert (after.worker("job").state, after.worker("service").state) == (State.FAILED, State.BACKOFF)
    assert after.worker("service").due == 8.0


# --- rows that cannot be read -----------------------------------------------------------------------------------------


def test_an_unreadable_worker_is_shown_as_failed_and_only_removed() -> None:
    world = World(connected=False)
    world.engine.restore_unreadable([("w", "cannot read its spec")])
    assert world.worker().state is State.FAILED
    assert stories(connect(world, held())) == ["left"]
    (refused,) = world.start()
    assert isinstance(refused, fx.Refused)
    assert refused.code == "conflict"
    assert world.exited(code(0), run="r1") == []  # not acknowledged: it is told again when the row has been mended
    assert fx.Forget("w") in world.remove()
