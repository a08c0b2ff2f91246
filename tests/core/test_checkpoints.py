"""Which checkpoint a run goes on from, and when it begins at the beginning."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.checkpoints import choose, wanted
from rdagentd.model.budgets import Budgets
from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Found, Snapshot, filled
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Policy, Restart
from rdagentd.model.stall import Action, Signal, Stall
from rdagentd.model.worker import State

from .world import KILLED, PERSON, World, code, kinds, refusal, stories

RESUME = ("/bin/agent", "--path", "{checkpoint}", "--in={directory}")
HAS = Checkpoints("{loop:int}", ("loop",), resume=RESUME)
AGAIN = Restart(Policy.ON_FAILURE, delay=0.0, retries=99)
OLD, MIDDLE, NEW = (Checkpoint(str(loop), 10**18 + loop, 100) for loop in (1, 2, 3))


def whole(*checkpoints: Checkpoint) -> list[Found]:
    return [Found(one, "") for one in checkpoints]


TORN = Found(NEW, "is cut off")


@pytest.mark.parametrize(
    ("found", "setbacks", "chosen", "kept", "text"),
    [
        ([], (), None, (), "starts from the beginning: there is no checkpoint"),
        (whole(NEW, OLD), (), NEW, (), "goes on from 3"),
        ([TORN, *whole(MIDDLE, OLD)], (), MIDDLE, (), "goes on from 2 (3 is cut off)"),
        ([TORN], (), None, (), "starts from the beginning: 3 is cut off"),
        (whole(NEW, OLD), (NEW,), NEW, (NEW,), "goes on from 3"),
        (whole(NEW, OLD), (NEW, NEW), OLD, (NEW, NEW), "goes on from 1 (3 has failed 2 times)"),
        (whole(NEW, MIDDLE, OLD), (NEW, NEW, MIDDLE, MIDDLE), OLD, (NEW, NEW, MIDDLE, MIDDLE),
         "goes on from 1 (3 has failed 2 times; 2 has failed 2 times)"),
        (whole(NEW), (NEW, NEW), None, (), "starts from the beginning: 3 has failed 2 times"),
        (whole(NEW, OLD), (OLD, OLD), NEW, (), "goes on from 3"),
        ([Found(NEW, None), *whole(OLD)], (), OLD, (), "goes on from 1"),
    ],
)  # fmt: skip
def test_the_newest_that_is_whole_and_did_not_fail_twice(
    found: list[Found], setbacks: tuple[Checkpoint, ...], chosen: Checkpoint | None, kept: Any, text: str
) -> None:
    choice = choose(found, setbacks)
    assert (choice.checkpoint, choice.setbacks, choice.text) == (chosen, kept, text)


def test_as_many_must_be_looked_into_as_may_be_passed_over() -> None:
    assert [wanted(setbacks) for setbacks in ((), (NEW,), (NEW, NEW), (NEW, NEW, OLD, OLD))] == [1, 1, 2, 3]


def test_the_path_and_the_directory_are_filled_in() -> None:
    assert filled(RESUME, "/srv/w", NEW) == ("/bin/agent", "--path", "/srv/w/3", "--in=/srv/w")


def agent(**fields: Any) -> World:
    world = World()
    world.submit(**{"checkpoints": HAS, "restart": AGAIN, "timeout": None, **fields})
    return world


def begun(world: World) -> Checkpoint | None:
    """Where the run that is started now begins."""
    run = world.worker().run
    assert run is not None and run.prepared
    world.started()
    return run.checkpoint


def test_a_first_start_is_from_the_beginning_and_a_restart_by_policy_from_the_newest() -> None:
    world = agent()
    assert begun(world) is None
    effects = world.exited(KILLED)
    assert "Prepare" in kinds(effects) and "Spawn" not in kinds(effects)
    assert world.worker().state is State.STARTING
    effects = world.prepared(*whole(NEW, OLD))
    assert kinds(effects) == "Story SaveRun Spawn Save" and stories(effects) == ["resumes"]
    assert begun(world) == NEW


def test_what_was_chosen_is_kept_before_the_executor_is_asked_and_asked_for_again_after_a_crash() -> None:
    world = agent()
    world.started()
    world.exited(KILLED)
    again = world(ev.ExecutorConnected(True))
    assert [type(effect) for effect in again] == [fx.Ready, fx.Prepare]
    assert [type(effect) for effect in world(ev.ExecutorConnected(False))] == [fx.Ready, fx.Prepare], (
        "an executor that forgot was not asked either"
    )
    effects = world.prepared(*whole(NEW))
    (saved,) = [effect.run for effect in effects if isinstance(effect, fx.SaveRun)]
    (spawned,) = [effect.worker.run for effect in effects if isinstance(effect, fx.Spawn)]
    assert saved == spawned and saved.checkpoint == NEW
    assert world.prepared(*whole(OLD)) == [], "told twice"
    again = world(ev.ExecutorConnected(True))
    assert [effect.worker.run for effect in again if isinstance(effect, fx.Spawn)] == [saved]


def test_the_same_failing_twice_goes_back_one_more_and_getting_on_forgets_that() -> None:
    world = agent()
    world.started()
    began = []
    for found in ((OLD,), (OLD,), (MIDDLE, OLD), (MIDDLE, OLD), (MIDDLE, OLD), (MIDDLE, OLD), (MIDDLE, OLD), (NEW,)):
        world.exited(code(1))
        world.prepared(*whole(*found))
        began.append(begun(world))
    assert began == [OLD, OLD, MIDDLE, MIDDLE, OLD, OLD, None, NEW]


@pytest.mark.parametrize(
    "ended",
    [
        Exit(ExitKind.LOST, reason="lost"),
        Exit(ExitKind.COULD_NOT_START, stage="exec", reason="could not start"),
    ],
)
def test_an_end_that_the_checkpoint_has_no_part_in_does_not_count(ended: Exit) -> None:
    world = agent()
    world.started()
    for _ in range(4):
        world.exited(ended)
        world.prepared(*whole(NEW, OLD))
        assert begun(world) == NEW


@pytest.mark.parametrize(("errors", "setbacks"), [(0, (NEW,)), (20, ())])
def test_a_failure_while_its_provider_is_out_does_not_count_either(
    errors: int, setbacks: tuple[Checkpoint, ...]
) -> None:
    world = agent(providers=("openai",))
    world.started()
    world.exited(code(1))
    world.prepared(*whole(NEW, OLD))
    assert begun(world) == NEW
    world.reported(values={"provider_errors": errors})
    world.exited(code(1))
    assert world.worker().setbacks == setbacks


@pytest.mark.parametrize(("raised", "prepares"), [({}, True), ({"command": ("/bin/other",)}, False)])
def test_who_was_stopped_for_its_budget_goes_on_from_its_checkpoint_once_that_is_raised(
    raised: dict[str, Any], prepares: bool
) -> None:
    world = agent(budgets=Budgets(cost_usd=1.0))
    world.started()
    world.exited(code(1))
    world.prepared(*whole(NEW, OLD))
    assert begun(world) == NEW
    world.reported(values={"cost_usd": 1.5})
    world.exited(KILLED)
    assert (world.worker().state, world.worker().setbacks) == (State.FAILED, ())
    _, text = refusal(world.resume())
    assert text.startswith("cannot resume w: it has used $1.50, the budget is $1.00; raise it")
    fields = {"checkpoints": HAS, "restart": AGAIN, "timeout": None, **raised}
    effects = world.change(budgets=Budgets(cost_usd=5.0), **fields)
    assert ("Prepare" in kinds(effects)) == prepares


@pytest.mark.parametrize("ill", ["stalled", "unhealthy"])
def test_a_restart_after_a_stall_or_for_ill_health_goes_on_from_the_checkpoint(ill: str) -> None:
    world = agent(stall=Stall(900.0, (Signal.REPORT,), Action.RESTART), watchdog=30.0)
    world.started()
    if ill == "unhealthy":
        world.silence()
    else:
        world.silent()
        world(ev.Examined("w", world.run(), 0.0, 0))
        world(ev.Pictured("w", world.run(), {}))
    assert "Prepare" in kinds(world.exited(KILLED))
    run = world.worker().run
    assert run is not None and not run.prepared


def test_a_person_starts_at_the_beginning_and_resumes_from_the_newest() -> None:
    world = agent()
    world.started()
    world.stop()
    world.exited(KILLED)
    assert "Prepare" in kinds(world.resume())
    world.prepared(*whole(NEW))
    assert begun(world) == NEW
    world.restart()
    assert "Spawn" in kinds(world.exited(KILLED))
    assert begun(world) is None
    world.stop()
    world.exited(KILLED)
    assert "Spawn" in kinds(world.start())
    assert begun(world) is None


def test_a_start_that_ends_the_backoff_goes_on() -> None:
    world = agent(restart=Restart(Policy.ON_FAILURE, delay=50.0))
    world.started()
    world.exited(code(1))
    assert world.worker().state is State.BACKOFF
    assert "Prepare" in kinds(world.start())


def test_a_daemon_that_was_stopped_with_its_workers_goes_on_with_them() -> None:
    world = agent()
    world.started()
    world(ev.DrainRequested())
    world.exited(KILLED)
    assert world.worker().life is not None and world.worker().setbacks == ()
    world.engine.draining = False
    assert "Prepare" in kinds(world(ev.ExecutorConnected(True)))


def test_a_changed_spec_goes_on() -> None:
    world = agent()
    world.started()
    world.change(checkpoints=HAS, restart=AGAIN, command=("/bin/other",))
    assert "Prepare" in kinds(world.exited(KILLED))


def test_after_a_success_there_is_nothing_to_go_on_with() -> None:
    world = agent(restart=Restart(Policy.ALWAYS, delay=0.0))
    world.started()
    world.now += 100
    assert "Spawn" in kinds(world.exited(code(0)))


def test_where_none_is_left_a_new_life_begins() -> None:
    world = agent()
    world.started()
    world.exited(code(1))
    effects = world.prepared(TORN)
    assert [effect.text for effect in effects if isinstance(effect, fx.Story)] == [
        "starts from the beginning: 3 is cut off"
    ]
    assert world.worker().life is None
    assert begun(world) is None
    assert world.worker().life == 5e8 - 0.05


def test_who_cannot_go_on_from_anything_is_refused_and_so_is_a_checkpoint_for_what_runs() -> None:
    world = agent(checkpoints=None)
    world.started()
    asked = ev.ResumeRequested("w", PERSON, "3")
    assert refusal(world(asked))[1] == "cannot resume w from a checkpoint: it is running; stop it first"
    world.pause()
    assert refusal(world(asked))[0] == "conflict"
    world.resume()
    world.stop()
    world.exited(KILLED)
    assert (
        refusal(world.resume())[1]
        == "cannot resume w: it is stopped, and has no checkpoints.resume to go on by; start it"
    )


def test_the_one_that_a_person_chose_is_taken_once() -> None:
    world = agent()
    world.started()
    world.stop()
    world.exited(KILLED)
    world(ev.ResumeRequested("w", PERSON, "1"))
    assert world.worker().chosen == "1"
    world.prepared(*whole(OLD))
    assert begun(world) == OLD and world.worker().chosen is None


def test_one_that_waits_in_the_queue_may_be_told_where_to_begin() -> None:
    world = agent()
    world.started()
    world.stop()
    world.exited(KILLED)
    world.slots(default=0)
    world.start()
    assert world.worker().life is None
    world(ev.ResumeRequested("w", PERSON, "1"))
    assert (world.worker().state, world.worker().chosen, world.worker().life) == (State.QUEUED, "1", 0.0)


@pytest.mark.parametrize("ask", [World.stop, World.kill])
def test_one_that_is_stopped_while_it_is_prepared_never_starts(ask: Any) -> None:
    world = agent()
    world.started()
    world.exited(KILLED)
    run = world.run()
    ask(world)
    assert world.worker().state is State.STOPPING
    effects = world.prepared(*whole(NEW))
    assert "Spawn" not in kinds(effects)
    worker = world.worker()
    assert worker.state is State.STOPPED and worker.run is not None and worker.run.id == run
    assert worker.run.exit is not None and worker.run.exit.reason.startswith("never started")


def test_what_was_asked_for_already_is_not_given_up_for_a_late_word() -> None:
    world = agent()
    world.started()
    world.exited(KILLED)
    world.prepared(*whole(NEW))
    world.stop()
    assert world.prepared(*whole(NEW)) == []
    assert world.worker().state is State.STOPPING


def test_a_work_tree_is_kept_before_every_start() -> None:
    world = agent(checkpoints=None, snapshot=Snapshot(git=True))
    assert world.worker().run is not None and not world.worker().run.prepared  # type: ignore[union-attr]
    effects = world(ev.Prepared("w", world.run(), None))
    assert kinds(effects) == "SaveRun Spawn Save"
