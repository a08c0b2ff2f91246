"""Stalls: what is one, what is none, and what follows; nobody is looked at before it was silent."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.stall import PATIENCE
from rdagentd.model.run import ExitKind
from rdagentd.model.spec import Policy, Restart
from rdagentd.model.stall import Action, Signal, Stall
from rdagentd.model.worker import State

from .world import World, code, stories

AFTER = 900.0


def living(stall: Stall | None = None, **fields: Any) -> World:
    world = World()
    world.live(**{"timeout": None, "stall": stall or Stall(AFTER), **fields})
    return world


def look(
    world: World, cpu: float = 0.0, log: int = 0, idle: float | None = None, checkpoint: float | None = None
) -> list[fx.Effect]:
    """The deadline comes, the driver is asked, and tells this."""
    effects = world.silent()
    assert [type(effect) for effect in effects if isinstance(effect, fx.Examine)] == [fx.Examine]
    return world(ev.Examined("w", world.run(), cpu, log, idle, checkpoint))


def until_stalled(world: World, cpu: float = 0.0, log: int = 0) -> float:
    """Nothing more happens; the time at which that is found."""
    for _ in range(20):
        effects = look(world, cpu, log)
        if any(isinstance(effect, fx.Picture) for effect in effects):
            return world.now
    raise AssertionError("never stalled")


def picture(world: World) -> list[fx.Effect]:
    return world(ev.Pictured("w", world.run(), {"lines": ["waiting"]}))


def test_a_run_without_any_sign_of_life_is_stalled_after_that_time() -> None:
    world = living()
    assert until_stalled(world) == pytest.approx(1000.0 + AFTER)
    effects = picture(world)
    (story,) = [effect for effect in effects if isinstance(effect, fx.Story)]
    assert (story.kind, story.text, story.data) == (
        "stalled",
        "stalled: no output, report, checkpoint or CPU time for 900 s",
        {"lines": ["waiting"]},
    )
    assert world.worker().state is State.RUNNING
    assert world.worker().quiet.stalled  # type: ignore[union-attr]


def test_a_report_that_tells_something_new_moves_the_deadline_and_nothing_is_asked() -> None:
    world = living()
    for number in range(50):
        world.now += 200.0
        effects = world.reported(values={"step": f"step {number}"})
        assert not [effect for effect in effects if isinstance(effect, fx.Examine)]
        assert world.worker().stall_due > world.now  # type: ignore[operator]
    before = world.worker().stall_due
    world.now += 100.0
    world.reported(values={"step": "step 49"})
    assert world.worker().stall_due == before, "the same again is no sign of life"


@pytest.mark.parametrize(
    ("tells", "signals"),
    [
        ({"cpu": 100.0}, (Signal.CPU,)),
        ({"log": 5}, (Signal.OUTPUT,)),
        ({"cpu": 100.0}, tuple(Signal)),
        ({"log": 5, "idle": 10.0}, tuple(Signal)),
        ({"checkpoint": 10.0}, (Signal.CHECKPOINT,)),
    ],
)
def test_who_writes_or_computes_is_not_stalled(tells: dict[str, Any], signals: tuple[Signal, ...]) -> None:
    world = living(Stall(AFTER, signals))
    for turn in range(1, 50):
        effects = look(
            world, **{key: value * (1 if key in ("idle", "checkpoint") else turn) for key, value in tells.items()}
        )
        assert not [effect for effect in effects if isinstance(effect, fx.Picture)]
    assert world.now >= 1000.0 + 10 * AFTER


@pytest.mark.parametrize(
    ("signals", "tells"), [((Signal.REPORT,), {"cpu": 1e6, "log": 1}), ((Signal.OUTPUT, Signal.REPORT), {"cpu": 1e6})]
)
def test_what_is_not_chosen_is_no_sign_of_life(signals: tuple[Signal, ...], tells: dict[str, Any]) -> None:
    world = living(Stall(AFTER, signals))
    look(world, **tells)
    assert world.worker().quiet.stalled  # type: ignore[union-attr]
    assert world.now == pytest.approx(1000.0 + AFTER)


def test_a_stall_is_found_at_most_a_quarter_late() -> None:
    world = living()
    look(world, cpu=200.0)  # busy until just now, as far as anybody knows
    assert until_stalled(world, cpu=200.0) <= 1000.0 + 0.25 * AFTER + AFTER + 1e-6
    world = living()
    world.now += 100.0
    world.reported(values={"tokens": 1})
    assert until_stalled(world) == pytest.approx(1100.0 + AFTER)


def test_a_checkpoint_counts_from_when_it_was_written_and_an_old_one_is_none() -> None:
    world = living(Stall(AFTER, (Signal.CHECKPOINT,)))
    look(world, checkpoint=300.0)
    look(world, checkpoint=300.0 + AFTER - 300.0)
    assert world.worker().quiet.stalled  # type: ignore[union-attr]
    assert world.now == pytest.approx(1000.0 + 2 * AFTER - 300.0)


def test_who_says_that_it_wrote_a_checkpoint_gets_on() -> None:
    world = living(Stall(AFTER, (Signal.CHECKPOINT,)))
    world.now += 500
    assert world.notified(X_RDAGENT_CHECKPOINT="trace/3") != []
    assert until_stalled(world) == pytest.approx(1500.0 + AFTER)
    picture(world)
    assert stories(world.notified(X_RDAGENT_CHECKPOINT="trace/4")) == ["unstalled"]
    deaf = living(Stall(AFTER, (Signal.OUTPUT,)))
    assert deaf.notified(X_RDAGENT_CHECKPOINT="trace/3") == []


def test_paused_time_does_not_count() -> None:
    world = living()
    world.now += 300.0
    world.pause()
    assert world.worker().stall_due is None
    world.now += 10_000.0
    world.resume()
    assert until_stalled(world) == pytest.approx(1000.0 + AFTER + 10_000.0)


@pytest.mark.parametrize("step", ["look", "picture"])
def test_an_answer_that_never_comes_stops_nothing(step: str) -> None:
    world = living()
    if step == "look":
        world.silent()
        at = world.now
        effects = world.silent()  # a minute later
        assert world.now == at + PATIENCE
        assert any(isinstance(effect, fx.Examine) for effect in effects)
    else:
        until_stalled(world)
        at = world.now
        assert stories(world.silent()) == ["stalled"]
        assert world.now == at + PATIENCE


def test_a_stalled_run_that_gets_on_again_says_so() -> None:
    world = living()
    until_stalled(world)
    picture(world)
    assert stories(look(world)) == [], "told once"
    assert stories(look(world, log=10)) == ["unstalled"]
    assert not world.worker().quiet.stalled  # type: ignore[union-attr]
    world.reported(values={"tokens": 1})
    until_stalled(world, log=10)


@pytest.mark.parametrize(
    ("action", "policy", "state"),
    [
        (Action.RESTART, Policy.NEVER, State.BACKOFF),
        (Action.RESTART, Policy.ALWAYS, State.BACKOFF),
        (Action.STOP, Policy.ALWAYS, State.FAILED),
        (Action.STOP, Policy.NEVER, State.FAILED),
    ],
)
def test_the_policy_follows_the_warning(action: Action, policy: Policy, state: State) -> None:
    world = living(Stall(AFTER, action=action), restart=Restart(policy, delay=5.0))
    until_stalled(world)
    effects = picture(world)
    assert stories(effects) == ["stalled"]
    assert [effect.signal for effect in effects if isinstance(effect, fx.Signal)] == ["SIGINT"]
    world.exited(code(0))
    worker = world.worker()
    assert worker.run is not None
    assert worker.run.exit is not None
    assert worker.run.exit.kind is ExitKind.STALLED
    assert worker.state is state
    assert worker.quiet is None


def test_restarts_for_stalls_come_to_an_end() -> None:
    world = living(Stall(AFTER, action=Action.RESTART), restart=Restart(Policy.NEVER, delay=0.0, retries=2))
    for _ in range(2):
        until_stalled(world)
        picture(world)
        world.exited(code(0))
        world.started()
    until_stalled(world)
    picture(world)
    world.exited(code(0))
    assert world.worker().state is State.FAILED


def test_a_spec_may_begin_and_end_to_watch_a_run_that_is_under_way() -> None:
    world = World()
    world.live(timeout=None)
    assert world.worker().quiet is None
    world.now += 5000.0
    world.change(timeout=None, stall=Stall(10.0, (Signal.REPORT,)))
    assert world.worker().stall_due == world.now + 10.0
    world.change(timeout=None)
    assert world.worker().stall_due is None


def test_a_daemon_that_comes_after_a_crash_watches_on() -> None:
    world = living()
    world.now += 100.0
    look(world)
    kept = list(world.engine.workers.values())
    later = World(connected=False)
    later.now = world.now
    effects = later.engine.restore(kept, later.now, rebooted=False)
    assert fx.Arm("w", ev.Timer.STALL, kept[0].stall_due or 0.0) in effects
    later(ev.ExecutorConnected(True, (ev.Held("w", "r1", 42, 4242, 5e8),)))
    assert until_stalled(later) == pytest.approx(1000.0 + AFTER)
