"""The lifecycle table: total, drawn, and what each cell does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import endings
from rdagentd.core import events as ev
from rdagentd.core import handlers as h
from rdagentd.core.lifecycle import INPUT_OF, INPUT_OF_TIMER, TABLE, Input, diagram
from rdagentd.model.health import HealthCheck
from rdagentd.model.spec import Restart
from rdagentd.model.worker import State

from .world import World, code, kinds, put

ILLEGAL = ("illegal", "")
REFUSED = ("=", "Refused")
NOTHING = ("=", "")

# fmt: off
CELLS: dict[Input, dict[State, tuple[str, str]]] = {
    # what somebody asks, or what happens: for each state the next one (= is the same) and the effects by type, in order
    Input.START: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: NOTHING,
        State.PAUSED: ("running", "Thaw Story Save Arm"),
        State.STOPPING: ("=", "Story Save"),
        State.BACKOFF: ("queued", "Story Save Disarm"),
        State.STOPPED: ("queued", "Story Save"),
        State.COMPLETED: ("queued", "Story Save"),
        State.FAILED: ("queued", "Story Save Disarm"),
    },
    Input.STOP: {
        State.QUEUED: ("stopped", "Story Save"),
        State.STARTING: ("stopping", "Story Signal Save Arm"),
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm"),
        State.PAUSED: ("stopping", "Story Signal Thaw Save Arm"),
        State.STOPPING: NOTHING,
        State.BACKOFF: ("stopped", "Story Save Disarm"),
        State.STOPPED: NOTHING,
        State.COMPLETED: ("=", "Story Save"),
        State.FAILED: ("=", "Story Save Disarm"),
    },
    Input.RESTART: {
        State.QUEUED: NOTHING,
        State.STARTING: ("stopping", "Story Signal Save Arm"),
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm"),
        State.PAUSED: ("stopping", "Story Signal Thaw Save Arm"),
        State.STOPPING: ("=", "Story Save"),
        State.BACKOFF: ("queued", "Story Save Disarm"),
        State.STOPPED: ("queued", "Story Save"),
        State.COMPLETED: ("queued", "Story Save"),
        State.FAILED: ("queued", "Story Save Disarm"),
    },
    Input.PAUSE: {
        State.QUEUED: REFUSED,
        State.STARTING: REFUSED,
        State.RUNNING: ("paused", "Freeze Story Save Disarm"),
        State.PAUSED: NOTHING,
        State.STOPPING: REFUSED,
        State.BACKOFF: REFUSED,
        State.STOPPED: REFUSED,
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
    },
    Input.RESUME: {
        State.QUEUED: REFUSED,
        State.STARTING: REFUSED,
        State.RUNNING: NOTHING,
        State.PAUSED: ("running", "Thaw Story Save Arm"),
        State.STOPPING: REFUSED,
        State.BACKOFF: REFUSED,
        State.STOPPED: REFUSED,
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
    },
    Input.SIGNAL: {
        State.QUEUED: REFUSED,
        State.STARTING: ("=", "Signal Story"),
        State.RUNNING: ("=", "Signal Story"),
        State.PAUSED: ("=", "Signal Story"),
        State.STOPPING: ("=", "Signal Story"),
        State.BACKOFF: REFUSED,
        State.STOPPED: REFUSED,
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
    },
    Input.KILL: {
        State.QUEUED: ("stopped", "Story Save"),
        State.STARTING: ("stopping", "Kill Story Save"),
        State.RUNNING: ("stopping", "Kill Story Save Disarm"),
        State.PAUSED: ("stopping", "Kill Story Save"),
        State.STOPPING: ("=", "Kill Story Save Disarm"),
        State.BACKOFF: ("stopped", "Story Save Disarm"),
        State.STOPPED: NOTHING,
        State.COMPLETED: ("=", "Story Save"),
        State.FAILED: ("=", "Story Save Disarm"),
    },
    Input.REMOVE: {
        State.QUEUED: ("gone", "Story Forget"),
        State.STARTING: REFUSED,
        State.RUNNING: REFUSED,
        State.PAUSED: REFUSED,
        State.STOPPING: REFUSED,
        State.BACKOFF: ("gone", "Story Forget Disarm"),
        State.STOPPED: ("gone", "Story Forget"),
        State.COMPLETED: ("gone", "Story Forget"),
        State.FAILED: ("gone", "Story Forget Disarm"),
    },
    Input.CHANGE: {
        State.QUEUED: ("=", "SaveSpec Story Save"),
        State.STARTING: ("stopping", "SaveSpec Story Signal Save Arm"),
        State.RUNNING: ("stopping", "SaveSpec Story Signal Save Arm Disarm"),
        State.PAUSED: ("stopping", "SaveSpec Story Signal Thaw Save Arm"),
        State.STOPPING: ("=", "SaveSpec Story Save"),
        State.BACKOFF: ("=", "SaveSpec Story Save"),
        State.STOPPED: ("=", "SaveSpec Story Save"),
        State.COMPLETED: ("queued", "SaveSpec Story Story Save"),
        State.FAILED: ("queued", "SaveSpec Story Story Save Disarm"),
    },
    Input.ADMIT: {
        State.QUEUED: ("starting", "SaveRun Spawn Save"),
        State.STARTING: ILLEGAL,
        State.RUNNING: ILLEGAL,
        State.PAUSED: ILLEGAL,
        State.STOPPING: ILLEGAL,
        State.BACKOFF: ILLEGAL,
        State.STOPPED: ILLEGAL,
        State.COMPLETED: ILLEGAL,
        State.FAILED: ILLEGAL,
    },
    Input.STARTED: {
        State.QUEUED: NOTHING,
        State.STARTING: ("running", "SaveRun Story Save Arm"),
        State.RUNNING: NOTHING,
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.EXITED: {
        State.QUEUED: ("=", "Ack"),
        State.STARTING: ("backoff", "Ack SaveRun Story Story Save Arm"),
        State.RUNNING: ("backoff", "Ack SaveRun Story Story Save Arm Disarm"),
        State.PAUSED: ("backoff", "Ack SaveRun Story Story Save Arm"),
        State.STOPPING: ("stopped", "Ack SaveRun Story Save Disarm"),
        State.BACKOFF: ("=", "Ack"),
        State.STOPPED: ("=", "Ack"),
        State.COMPLETED: ("=", "Ack"),
        State.FAILED: ("=", "Ack"),
    },
    Input.DUE: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: NOTHING,
        State.PAUSED: NOTHING,
        State.STOPPING: ("=", "Signal Save Arm"),
        State.BACKOFF: ("queued", "Save Disarm"),
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: ("queued", "Story Save Disarm"),
    },
    Input.LIMIT: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm"),
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.QUOTA: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm"),
        State.PAUSED: ("stopping", "Story Signal Thaw Save Arm"),
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.REPORT: {
        State.QUEUED: NOTHING,
        State.STARTING: ("=", "SaveRun Save"),
        State.RUNNING: ("=", "SaveRun Save"),
        State.PAUSED: ("=", "SaveRun Save"),
        State.STOPPING: ("=", "SaveRun Save"),
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.NOTICE: {
        State.QUEUED: NOTHING,
        State.STARTING: ("=", "Story Save"),
        State.RUNNING: ("=", "Story Save"),
        State.PAUSED: ("=", "Story Save"),
        State.STOPPING: ("=", "Story Save"),
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.RELEASE: dict.fromkeys(State, NOTHING),  # nothing is held back; see test_dependencies.py
    Input.EXCUSE: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: NOTHING,
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: ("=", "Story Save"),
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: ("queued", "Story Save Disarm"),
    },
    Input.PROBE: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: ("=", "Probe Arm"),
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.SILENCE: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm Disarm"),
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.CHECKED: {
        State.QUEUED: NOTHING,
        State.STARTING: NOTHING,
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm Disarm"),
        State.PAUSED: NOTHING,
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.PREPARED: dict.fromkeys(State, NOTHING),  # these have nothing to prepare; tests/core/test_checkpoints.py
    Input.METER: {
        State.QUEUED: NOTHING,
        State.STARTING: ("=", "Save"),
        State.RUNNING: ("=", "Save"),
        State.PAUSED: ("=", "Save"),
        State.STOPPING: ("=", "Save"),
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    Input.BUDGET: {
        State.QUEUED: NOTHING,
        State.STARTING: ("stopping", "Story Signal Save Arm"),
        State.RUNNING: ("stopping", "Story Signal Save Arm Disarm"),
        State.PAUSED: ("stopping", "Story Signal Thaw Save Arm"),
        State.STOPPING: NOTHING,
        State.BACKOFF: NOTHING,
        State.STOPPED: NOTHING,
        State.COMPLETED: NOTHING,
        State.FAILED: NOTHING,
    },
    # of a worker that has no budget, or is not watched for stalls; see test_budgets.py and test_stall.py
    Input.AUDIT: dict.fromkeys(State, NOTHING),
    Input.STALL: dict.fromkeys(State, NOTHING),
    Input.EXAMINED: dict.fromkeys(State, NOTHING),
    Input.PICTURED: dict.fromkeys(State, NOTHING),
}
# fmt: on


def _known_run(world: World) -> str:
    run = world.worker().run
    return run.id if run else "r99"


def _silence(world: World) -> list[fx.Effect]:
    """A sign of life is due: only a run that runs has one."""
    worker = world.worker()
    if worker.state is State.RUNNING:
        world.engine.workers["w"] = evolve(worker, spec=evolve(worker.spec, watchdog=9.0), watchdog_at=world.now)
    return world.silence(at=world.now)


APPLY: dict[Input, Callable[[World], list[fx.Effect]]] = {
    Input.START: World.start,
    Input.STOP: World.stop,
    Input.RESTART: World.restart,
    Input.PAUSE: World.pause,
    Input.RESUME: World.resume,
    Input.SIGNAL: lambda world: world.signal("SIGHUP"),
    Input.KILL: World.kill,
    Input.REMOVE: World.remove,
    Input.CHANGE: lambda world: world.change(nice=5),
    Input.ADMIT: lambda world: world(ev.Admitted("w", "r99")),
    Input.STARTED: lambda world: world.started(run=_known_run(world)),
    Input.EXITED: lambda world: world.exited(code(3), run=_known_run(world)),
    Input.DUE: World.due,
    Input.LIMIT: World.limit,
    Input.QUOTA: lambda world: world.exceeded(run=_known_run(world)),
    Input.REPORT: lambda world: world.reported(run=_known_run(world), values={"tokens": 5}),
    Input.NOTICE: lambda world: world.notified(run=_known_run(world), READY="1"),
    Input.SILENCE: _silence,
    Input.RELEASE: lambda world: world(ev.Released("w")),
    Input.EXCUSE: lambda world: world(ev.Excused("w", 0.0, "openai")),
    Input.PROBE: lambda world: world.probe(),
    Input.CHECKED: lambda world: world.checked(False, run=_known_run(world)),
    Input.PREPARED: lambda world: world.prepared(run=_known_run(world)),
    Input.METER: lambda world: world(ev.Metered("w", _known_run(world), wrote=100)),
    Input.BUDGET: lambda world: world(ev.OverBudget("w", _known_run(world), "spent too much")),
    Input.AUDIT: lambda world: world(ev.Due("w", ev.Timer.BUDGET, world.now)),
    Input.STALL: lambda world: world(ev.Due("w", ev.Timer.STALL, world.now)),
    Input.EXAMINED: lambda world: world(ev.Examined("w", _known_run(world), 0.0, 0)),
    Input.PICTURED: lambda world: world(ev.Pictured("w", _known_run(world), {})),
}
ASKED = HealthCheck(tcp="127.0.0.1:80", interval=1.0, retries=1)
CHECKS = (Input.PROBE, Input.CHECKED)
"""Inputs that a worker has only if its spec asks for them."""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Input)
def test_each_cell_does_what_it_says(what: Input, state: State) -> None:
    target, effects = CELLS[what][state]
    world = World()
    put(state, world, **({"health": ASKED} if what in CHECKS else {}))
    world.now += 5.0  # nothing is excused any more
    world.slots(default=0)  # so that what is queued stays queued
    if (target, effects) == ILLEGAL:
        with pytest.raises(h.IllegalInputError, match=f"^w: .* while {state}"):
            APPLY[what](world)
        assert world.worker().state is state
        return
    assert kinds(APPLY[what](world)) == effects
    worker = world.engine.workers.get("w")
    assert (worker.state.value if worker else "gone") == (state.value if target == "=" else target)


def test_the_table_is_total_and_every_handler_names_its_targets() -> None:
    assert set(TABLE) == set(State)
    assert set(INPUT_OF.values()) | set(INPUT_OF_TIMER.values()) == set(Input)
    assert set(INPUT_OF_TIMER) == set(ev.Timer) - {ev.Timer.PROVIDER}  # which is no worker's
    for state, row in TABLE.items():
        assert set(row) == set(Input), state
        assert set(row.values()) <= set(h.TARGETS), state


def test_every_request_has_an_input() -> None:
    assert {event for event in INPUT_OF if event in ev.Request.__args__} == set(ev.Request.__args__)


def test_cells_lead_only_where_their_handler_says() -> None:
    for what, row in CELLS.items():
        for state, (target, _) in row.items():
            if target not in ("=", "gone", "illegal"):
                assert State(target) in h.TARGETS[TABLE[state][what]], (what, state)


def _settled(state: State, ask: Callable[[World], object] | None, number: int, drain: bool = False) -> State:
    world = World()
    put(state, world)
    if ask:
        ask(world)
    world.slots(default=0)
    if drain:
        world(ev.DrainRequested())
    world.exited(code(number))
    return world.worker().state


def test_every_target_of_settle_is_reached() -> None:
    reached = {
        _settled(State.RUNNING, None, 0),
        _settled(State.RUNNING, None, 1),
        _settled(State.RUNNING, World.stop, 1),
        _settled(State.RUNNING, World.restart, 1),
        _settled(State.RUNNING, None, 1, drain=True),
    }
    world = World()
    world.live(restart=Restart())
    world.exited(code(1))
    assert reached | {world.worker().state} == set(h.TARGETS[endings.settle])


def test_the_engine_is_lenient_with_defects_unless_it_is_strict() -> None:
    world = World()
    world.live()
    world.engine._strict = False
    (story,) = world(ev.Admitted("w", "r99"))
    assert isinstance(story, fx.Story)
    assert (story.kind, world.engine.defects) == ("defect", 1)
    assert "Admitted while running" in story.text


def test_diagram_draws_every_state_and_only_changes() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> queued: submit"]
    edges = [line.strip().split(": ")[0].split(" --> ") for line in lines[2:]]
    assert {name for edge in edges for name in edge} == {state.value for state in State}
    assert all(source != target for source, target in edges)
    assert "    starting --> running: started" in lines
