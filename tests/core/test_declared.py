"""Workers that files of workers.d declare: what follows when such a file goes, or comes back."""

from __future__ import annotations

import pytest

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.model.spec import Policy, Restart
from rdagentd.model.worker import AT_REST, State, Want

from .test_recovery import successor
from .world import World, a_spec, kinds, put, stories

FILE = "/etc/rdagentd/workers.d/w.toml"


def declared(**fields: object) -> World:
    """A running worker that a file declares."""
    world = World()
    world(ev.SubmitRequested(a_spec(**fields), 0, source=FILE))
    world.started()
    return world


def gone(world: World) -> list[fx.Effect]:
    return world(ev.Declared("w", None, 0))


def back(world: World, file: str = FILE) -> list[fx.Effect]:
    return world(ev.Declared("w", file, 0))


def test_a_worker_knows_its_file_and_a_submitted_one_has_none() -> None:
    assert declared().worker().source == FILE
    world = World()
    world.submit()
    assert world.worker().source is None


def test_a_worker_whose_file_is_gone_is_stopped_gracefully_and_kept() -> None:
    world = declared()
    effects = gone(world)
    assert stories(effects) == ["orphaned", "stopping"]
    assert [effect for effect in effects if isinstance(effect, fx.Signal)] == [fx.Signal("r1", "SIGINT", "main")]
    world.exited()
    worker = world.worker()
    assert (worker.state, worker.want, worker.source, worker.orphaned) == (State.STOPPED, Want.DOWN, FILE, True)


def test_what_people_wish_after_that_holds() -> None:
    world = declared()
    gone(world)
    world.exited()
    world.start()
    assert kinds(gone(world)) == "Save"
    assert world.worker().state is State.STARTING


@pytest.mark.parametrize("state", State)
def test_a_file_may_go_and_come_back_in_every_state(state: State) -> None:
    world = World()
    put(state, world)
    gone(world)
    assert (world.worker().want, world.worker().orphaned) == (Want.DOWN, True)
    back(world)
    assert (world.worker().want, world.worker().orphaned, world.worker().source) == (Want.UP, False, FILE)
    assert world.worker().state not in AT_REST


def test_a_file_that_is_renamed_changes_nothing_but_the_name() -> None:
    world = declared()
    before = world.worker()
    assert kinds(back(world, "/etc/rdagentd/workers.d/z.toml")) == "Save"
    after = world.worker()
    assert (after.source, after.state, after.run) == ("/etc/rdagentd/workers.d/z.toml", before.state, before.run)


def test_always_does_not_bring_back_at_boot_what_no_file_declares_any_more() -> None:
    world = declared(restart=Restart(Policy.ALWAYS))
    gone(world)
    world.exited()
    after, _ = successor(world, rebooted=True)
    assert after.worker().state is State.STOPPED


def test_it_is_taken_back_if_it_cannot_be_kept() -> None:
    world = declared()
    before = world.worker()
    world.engine.mark()
    gone(world)
    world.engine.rollback()
    assert world.worker() is before


def test_a_worker_that_was_removed_meanwhile_is_none() -> None:
    assert gone(World()) == []
