"""What a run tells of itself is kept with how far it was read; what it spent is kept with its end."""

from __future__ import annotations

from rdagentd.core import effects as fx
from rdagentd.model.measures import Measures, Spent

from .world import World, code, kinds, stories


def test_a_report_is_kept_with_the_run_and_how_far_its_log_was_read() -> None:
    world = World()
    world.live()
    effects = world.reported(values={"progress": 0.5}, added={"cost_usd": 0.25}, log={"out": 64})
    (save,) = [effect for effect in effects if isinstance(effect, fx.SaveRun)]
    assert save.run.measures == Measures(progress=0.5, cost_usd=0.25)
    assert save.run.reading.log == {"out": 64}
    assert world.worker().run == save.run


def test_a_report_that_says_nothing_new_writes_nothing() -> None:
    world = World()
    world.live()
    world.reported(values={"tokens": 5}, log={"out": 64})
    assert kinds(world.reported(values={"tokens": 5}, log={"out": 64})) == ""


def test_a_report_of_a_run_that_is_over_is_dropped() -> None:
    world = World()
    world.live()
    past = world.run()
    world.exited(code(1))
    assert kinds(world.reported(run=past, values={"tokens": 5})) == ""
    world.due()
    assert kinds(world.reported(run=past, values={"tokens": 5})) == ""
    assert world.worker().run.measures == Measures()  # type: ignore[union-attr]


def test_what_cannot_be_taken_counts_an_error_and_the_story_stays_short() -> None:
    world = World()
    world.live()
    told = [world.reported(values={"progress": 7.0, "tokens": float(number)}) for number in range(120)]
    run = world.worker().run
    assert run is not None
    assert (run.reading.errors, run.measures.tokens) == (120, 119)
    assert run.reading.trouble == "cannot take progress 7: it must be between 0 and 1"
    assert [number + 1 for number, effects in enumerate(told) if "misread" in stories(effects)] == [1, 10, 100]


def test_what_runs_spent_adds_up_over_restarts_and_starts_by_people() -> None:
    world = World()
    world.live()
    for tokens in (5, 7):
        world.reported(values={"tokens": tokens}, added={"cost_usd": 0.1})
        world.now += 10
        world.exited(code(1))
        world.start()
        world.started()
    assert world.worker().spent == Spent(tokens=12, cost_usd=0.2, run_time=20.0, log_bytes=20)
    assert world.worker().run.measures == Measures()  # type: ignore[union-attr]


def test_paused_time_is_not_spent_however_the_pause_ends() -> None:
    for leave in (World.resume, World.stop, World.kill, World.exited):
        world = World()
        world.live(timeout=None)
        world.now += 10
        world.pause()
        world.now += 1000
        assert world.worker().run_time(world.now) == 10
        leave(world)
        if leave is not World.exited:
            world.now += 5
            assert world.worker().run_time(world.now) == 15
            world.exited()
        assert world.worker().spent.run_time == (10 if leave is World.exited else 15)
        assert world.worker().run_time(world.now) == 0
