"""What workers wait for in each other, in which order they come and go, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import dependencies
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.model.dependency import Condition
from rdagentd.model.health import Health, HealthCheck, Probe
from rdagentd.model.spec import Policy, Restart, Spec, Stop
from rdagentd.model.worker import HELD, Reason, State, Worker

from .world import World, code, refusal, stories

ONCE = Restart(Policy.NEVER)
FAILING = Reason("never_restarted", "exited with code 1; its policy is never to restart")


def a_worker(name: str, state: State, **fields: Any) -> Worker:
    return Worker(name, Spec(name, ("x",)), 0, state=state, **fields)


# --- what is met ------------------------------------------------------------------------------------------------------

C, S = Condition, State
MET = {
    C.STARTED: {S.RUNNING, S.PAUSED, S.COMPLETED},
    C.HEALTHY: set(),
    C.READY: {S.RUNNING},
    C.COMPLETED: {S.COMPLETED, S.FAILED},
    C.COMPLETED_SUCCESSFULLY: {S.COMPLETED},
}
"""For each condition the states in which it is met, of a worker without checks."""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("condition", Condition)
def test_a_condition_is_met_in_these_states_alone(condition: Condition, state: State) -> None:
    workers = {"db": a_worker("db", state, reason=FAILING)}
    assert (dependencies.waits({"db": condition}, workers) is None) == (state in MET[condition])


def checked(state: State = S.RUNNING, *, asks_ready: bool = True, **found: Any) -> Worker:
    """A worker whose health and readiness are asked."""
    spec = Spec(
        "db", ("x",), health=HealthCheck(tcp="127.0.0.1:1", ready=Probe(tcp="127.0.0.1:2") if asks_ready else None)
    )
    return Worker("db", spec, 0, state=state, reason=FAILING, **found)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("health", Health)
@pytest.mark.parametrize("ready", [True, False])
def test_health_and_readiness_count_while_it_runs(state: State, health: Health, ready: bool) -> None:
    workers = {"db": checked(state, health=health, found_ready=ready)}
    runs = state is State.RUNNING
    assert (dependencies.waits({"db": C.HEALTHY}, workers) is None) == (runs and health is Health.HEALTHY)
    assert (dependencies.waits({"db": C.READY}, workers) is None) == (runs and ready)


WORDS = [
    (None, C.STARTED, "dependency_failed", "waits for db, which does not exist"),
    (a_worker("db", S.QUEUED), C.STARTED, "dependency", "waits for db, which is queued"),
    (a_worker("db", S.STARTING), C.HEALTHY, "dependency", "waits for db, which is starting"),
    (a_worker("db", S.RUNNING), C.HEALTHY, "dependency", "waits for db to be healthy, and it has no health check"),
    (
        checked(health=Health.UNHEALTHY), C.HEALTHY, "dependency",
        "waits for db to be healthy; it is unhealthy",
    ),
    (checked(), C.READY, "dependency", "waits for db to be ready"),
    (a_worker("db", S.PAUSED), C.READY, "dependency", "waits for db, which is paused"),
    (a_worker("db", S.RUNNING), C.COMPLETED, "dependency", "waits for db to complete; it is running"),
    (
        a_worker("db", S.STOPPED, reason=Reason("stopped", "stopped by request")), C.COMPLETED, "dependency",
        "waits for db, which is stopped: stopped by request",
    ),
    (
        a_worker("db", S.BACKOFF, reason=Reason("backoff", "exited with code 1; restarts after 5 s")), C.STARTED,
        "dependency", "waits for db, which is to be restarted: exited with code 1; restarts after 5 s",
    ),
    (
        a_worker("db", S.FAILED, reason=FAILING), C.COMPLETED_SUCCESSFULLY, "dependency_failed",
        "waits for db, which failed: exited with code 1; its policy is never to restart",
    ),
    (
        a_worker("db", S.FAILED, reason=Reason("breaker_open", "breaker open"), due=5.0), C.COMPLETED, "dependency",
        "waits for db, which failed: breaker open",
    ),
    (
        a_worker("db", S.COMPLETED, reason=Reason("completed", "exited with code 0")), C.HEALTHY, "dependency",
        "waits for db, which has completed: exited with code 0",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("worker", "condition", "what", "text"), WORDS, ids=[row[3] for row in WORDS])
def test_what_is_waited_for_is_told_with_what_it_is_now(
    worker: Worker | None, condition: Condition, what: str, text: str
) -> None:
    assert dependencies.waits({"db": condition}, {"db": worker} if worker else {}) == Reason(what, text)


def test_what_has_failed_for_good_is_told_first() -> None:
    workers = {
        "a": a_worker("a", S.STARTING),
        "b": a_worker("b", S.FAILED, reason=FAILING),
        "c": a_worker("c", S.RUNNING),
    }
    reason = dependencies.waits({"a": C.STARTED, "b": C.STARTED, "c": C.STARTED}, workers)
    assert reason == Reason("dependency_failed", f"waits for b, which failed: {FAILING.text}; for a, which is starting")


# --- order ------------------------------------------------------------------------------------------------------------

NAMES = "abcdef"
GRAPHS = st.permutations(NAMES).flatmap(
    lambda order: st.fixed_dictionaries(
        {name: st.sets(st.sampled_from(order[:place])) if place else st.just(set()) for place, name in enumerate(order)}
    )
)
"""Without circles: each depends on some of those before it, in some order."""


def reach(graph: dict[str, set[str]], name: str) -> set[str]:
    """All that it depends on, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        todo += graph[todo.pop()] - found
        found |= set(todo)
    return found


@given(graph=GRAPHS, names=st.lists(st.sampled_from(NAMES), unique=True))
def test_each_comes_behind_what_it_depends_on_by_whatever_way(graph: dict[str, set[str]], names: list[str]) -> None:
    order = dependencies.ordered(names, graph.__getitem__)
    assert sorted(order) == sorted(names)
    for first, later in itertools.combinations(order, 2):
        assert later not in reach(graph, first)


@given(graph=GRAPHS, extra=st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
def test_a_circle_is_told_as_one_can_walk_it(graph: dict[str, set[str]], extra: tuple[str, str]) -> None:
    graph = {**graph, extra[0]: graph[extra[0]] | {extra[1]}}
    text = dependencies.problem(graph, lambda name: dict.fromkeys(sorted(graph[name]), C.STARTED))
    if not any(name in reach(graph, name) for name in graph):
        assert text is None
        return
    assert text is not None
    circle = text.partition(": ")[2].partition(";")[0].split(" → ")
    assert circle[0] == circle[-1]
    assert all(after in graph[before] for before, after in itertools.pairwise(circle))
    assert text == f"{circle[0]} would wait for itself: {' → '.join(circle)}; take one of these out of a `depends`"


def test_a_chain_of_ten_thousand_is_put_in_order() -> None:
    chain = {str(number): [str(number + 1)] for number in range(10_000)} | {"10000": []}
    assert dependencies.ordered(chain, chain.__getitem__) == [str(number) for number in range(10_000, -1, -1)]


def test_the_longest_way_down_is_that_of_the_longest_chain() -> None:
    world = World()
    world.submit("db", stop=Stop(grace=30.0))
    world.submit("web", stop=Stop(grace=10.0), depends={"db": C.STARTED})
    world.submit("other", stop=Stop(grace=35.0))
    assert dependencies.longest(world.engine.workers.values(), lambda worker: worker.spec.stop.grace) == 40.0


# --- a start waits ----------------------------------------------------------------------------------------------------


def states(world: World) -> dict[str, str]:
    return {name: worker.state.value for name, worker in sorted(world.engine.workers.items())}


def reason(world: World, name: str = "web") -> str:
    return world.engine.waits_for(world.worker(name)).text


def test_a_start_waits_and_begins_by_itself() -> None:
    world = World()
    world.submit("db")
    world.submit("web", depends={"db": C.STARTED})
    assert states(world) == {"db": "starting", "web": "queued"}
    assert reason(world) == "waits for db, which is starting"
    world.started("db")
    assert states(world) == {"db": "running", "web": "starting"}


def test_who_waits_holds_up_nobody() -> None:
    world = World({"default": 2})
    world.submit("db")
    world.submit("web", depends={"db": C.STARTED})
    world.submit("other")
    assert states(world) == {"db": "starting", "other": "starting", "web": "queued"}


def test_a_failed_dependency_is_told_and_once_it_is_repaired_the_start_goes_on() -> None:
    world = World()
    world.submit("seed", restart=ONCE)
    world.submit("web", depends={"seed": C.COMPLETED_SUCCESSFULLY})
    world.started("seed")
    told = [story for story in world.exited(code(1), "seed") if isinstance(story, fx.Story) and story.worker == "web"]
    text = "waits for seed, which failed: exited with code 1; its policy is never to restart"
    assert [(story.kind, story.text) for story in told] == [("blocked", text)]
    assert reason(world) == text
    world.start("seed")
    world.started("seed")
    world.exited(code(0), "seed")
    assert states(world) == {"seed": "completed", "web": "starting"}


def test_a_start_that_meets_a_failed_dependency_is_told_at_once() -> None:
    world = World()
    world.submit("seed", restart=ONCE)
    world.started("seed")
    world.exited(code(1), "seed")
    assert "blocked" in stories(world.submit("web", depends={"seed": C.COMPLETED_SUCCESSFULLY}))


def test_what_runs_goes_on_when_a_dependency_fails_and_its_restart_waits() -> None:
    world = World()
    world.live(name="db", restart=ONCE)
    world.live(name="web", depends={"db": C.STARTED}, restart=Restart(Policy.ALWAYS, delay=0.0))
    world.exited(code(1), "db")
    assert world.worker("web").state is State.RUNNING
    world.exited(code(1), "web")
    assert reason(world) == "waits for db, which failed: exited with code 1; its policy is never to restart"


def test_a_changed_spec_lets_go_who_waits() -> None:
    world = World()
    world.submit("db", start=False)
    world.submit("web", depends={"db": C.STARTED})
    assert reason(world) == "waits for db, which is stopped: was never started"
    world.change("web")
    assert world.worker("web").state is State.STARTING


def test_who_waits_does_so_after_a_restart_of_the_daemon() -> None:
    world = World()
    world.submit("web2", start=False)
    world.submit("db")
    world.submit("web", depends={"db": C.STARTED})
    after = Engine(lambda: "r77", strict=True)
    after.restore(reversed(list(world.engine.workers.values())), 2000.0, rebooted=False)
    held = ev.Held("db", world.run("db"), None, 1, 1.0)
    after.handle(ev.ExecutorConnected(True, (held,)), 2000.0)
    assert after.waits_for(after.workers["web"]).text == "waits for db, which is starting"
    after.handle(ev.RunStarted("db", world.run("db"), 42, 1, 1.0), 2000.0)
    assert after.workers["web"].state is State.STARTING


def test_what_could_not_be_kept_has_let_nobody_go() -> None:
    world = World()
    world.submit("db")
    world.submit("web", depends={"db": C.STARTED})
    world.engine.mark()
    world.started("db")
    world.engine.rollback()
    assert states(world) == {"db": "starting", "web": "queued"}
    assert world.engine.queue.next() is None


# --- the order of an end ----------------------------------------------------------------------------------------------


def a_stack(world: World) -> None:
    """web runs on app, which runs on db."""
    world.live(name="db")
    world.live(name="app", depends={"db": C.STARTED})
    world.live(name="web", depends={"app": C.STARTED})


def signalled(effects: list[fx.Effect]) -> list[str]:
    return [effect.run for effect in effects if isinstance(effect, fx.Signal)]


def test_each_is_asked_to_end_when_those_have_that_depend_on_it() -> None:
    world = World()
    a_stack(world)
    first = [effect for name in world.engine.dependents.to_stop(["db"]) for effect in world.stop(name)]
    assert signalled(first) == [world.run("web")]
    assert states(world) == {"app": "stopping", "db": "stopping", "web": "stopping"}
    assert (world.worker("db").step, world.worker("db").due) == (HELD, None)
    second = world.exited(name="web")
    assert signalled(second) == [world.run("app")]
    assert signalled(world.exited(name="app")) == [world.run("db")]
    assert world.worker("db").due is not None
    world.exited(name="db")
    assert states(world) == {"app": "stopped", "db": "stopped", "web": "stopped"}


def test_a_drain_ends_them_in_that_order_and_the_next_daemon_starts_them_in_the_other() -> None:
    world = World()
    a_stack(world)
    assert signalled(world(ev.DrainRequested())) == [world.run("web")]
    assert signalled(world.exited(name="web")) == [world.run("app")]
    world.exited(name="app")
    world.exited(name="db")
    assert states(world) == {"app": "queued", "db": "queued", "web": "queued"}
    after = Engine((f"s{number}" for number in itertools.count()).__next__, strict=True)
    after.restore(world.engine.workers.values(), 2000.0, rebooted=False)
    spawned = [
        effect.worker.name
        for effect in after.handle(ev.ExecutorConnected(True), 2000.0)
        if isinstance(effect, fx.Spawn)
    ]
    assert spawned == ["db"]


def test_nobody_waits_for_those_that_are_not_asked_to_end() -> None:
    world = World()
    a_stack(world)
    assert signalled(world.stop("db")) == [world.run("db")]


def test_who_is_held_back_is_thawed_because_others_may_need_it_to_end() -> None:
    world = World()
    world.live(name="db")
    world.live(name="web", depends={"db": C.STARTED})
    world.pause("db")
    world.stop("web")
    assert [type(effect) for effect in world.stop("db") if isinstance(effect, fx.Thaw | fx.Signal)] == [fx.Thaw]


def test_a_kill_does_not_wait() -> None:
    world = World()
    a_stack(world)
    for name in ("web", "app", "db"):
        world.stop(name)
    assert any(isinstance(effect, fx.Kill) for effect in world.kill("db"))
    assert world.exited(name="web") is not None
    assert world.worker("db").step != HELD


def test_one_that_depends_on_it_no_longer_lets_it_go() -> None:
    world = World()
    world.live(name="db")
    world.live(name="web", depends={"db": C.STARTED})
    world.stop("web")
    world.stop("db")
    assert signalled(world.change("web")) == [world.run("db")]


def test_who_is_held_back_is_asked_after_a_restart_of_the_daemon_whoever_is_missing_then() -> None:
    world = World()
    world.live(name="db")
    world.live(name="web", depends={"db": C.STARTED})
    world.stop("web")
    world.stop("db")
    after = Engine(lambda: "r77", strict=True)
    after.restore([world.worker("db")], 2000.0, rebooted=False)  # the row of web cannot be read any more
    after.restore_unreadable([("web", "its checksum is wrong")])
    effects = after.handle(ev.ExecutorConnected(True, (ev.Held("db", world.run("db"), 42, 1, 1.0),)), 2000.0)
    assert signalled(effects) == [world.run("db")]
    assert not any(isinstance(effect, fx.Kill) for effect in effects)


def test_a_restart_of_both_ends_the_one_first_and_starts_the_other_first() -> None:
    world = World()
    world.live(name="db")
    world.live(name="web", depends={"db": C.STARTED})
    world.restart("web")
    world.restart("db")
    world.exited(name="web")
    assert states(world) == {"db": "stopping", "web": "queued"}
    world.exited(name="db")
    assert states(world) == {"db": "starting", "web": "queued"}
    world.started("db")
    assert states(world) == {"db": "running", "web": "starting"}


def test_only_who_runs_on_it_is_stopped_with_it() -> None:
    world = World()
    world.live(name="seed")
    world.live(name="db")
    world.exited(code(0), "seed")
    world.live(name="web", depends={"db": C.STARTED, "seed": C.COMPLETED_SUCCESSFULLY})
    world.submit("idle", start=False, depends={"db": C.STARTED})
    assert world.engine.dependents.to_stop(["seed"]) == ["seed"]
    assert world.engine.dependents.to_stop(["db"]) == ["web", "db"]


# --- who is started with it -------------------------------------------------------------------------------------------


def test_what_rests_and_is_needed_is_started_with_it_in_order() -> None:
    world = World()
    world.submit("seed", start=False)
    world.submit("db", start=False, depends={"seed": C.COMPLETED_SUCCESSFULLY})
    world.submit("web", start=False, depends={"db": C.STARTED})
    assert dependencies.to_start(["web"], world.engine.workers) == ["seed", "db", "web"]
    world.start("seed")
    assert dependencies.to_start(["web"], world.engine.workers) == ["db", "web"]
    world.started("seed")
    world.exited(code(0), "seed")
    assert dependencies.to_start(["web"], world.engine.workers) == ["db", "web"]
    world.live(name="other")
    assert dependencies.to_start(["other", "web"], world.engine.workers) == ["other", "db", "web"]


def test_what_is_being_stopped_is_started_again() -> None:
    world = World()
    world.live(name="db")
    world.submit("web", start=False, depends={"db": C.STARTED})
    world.stop("db")
    assert dependencies.to_start(["web"], world.engine.workers) == ["db", "web"]


def test_what_has_failed_is_left_to_whoever_repairs_it() -> None:
    world = World()
    world.live(name="seed", restart=ONCE)
    world.exited(code(1), "seed")
    world.submit("web", start=False, depends={"seed": C.COMPLETED_SUCCESSFULLY})
    assert dependencies.to_start(["web"], world.engine.workers) == ["web"]
    assert dependencies.to_start(["web", "seed"], world.engine.workers) == ["seed", "web"]


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_worker_that_does_not_exist_is_refused() -> None:
    text = "cannot submit web: web depends on bd, which does not exist; submit that first, or apply both together"
    assert refusal(World().submit("web", depends={"bd": C.STARTED})) == ("invalid", text)


def test_so_is_one_that_is_being_removed() -> None:
    world = World()
    world.live(name="db")
    world.remove(force=True, name="db")
    assert refusal(world.submit("web", depends={"db": C.STARTED}))[0] == "invalid"


def test_a_circle_is_refused_with_its_way() -> None:
    world = World()
    world.submit("a")
    world.submit("b", depends={"a": C.STARTED})
    world.submit("c", depends={"b": C.STARTED})
    refused, text = refusal(world.change("a", depends={"c": C.HEALTHY}))
    assert refused == "invalid"
    circle = text.removeprefix("cannot change a: ").partition(": ")[2].partition(";")[0].split(" → ")
    assert set(itertools.pairwise(circle)) == {("a", "c"), ("c", "b"), ("b", "a")}
    assert world.worker("a").spec.depends == {}


def test_what_others_depend_on_cannot_be_removed_before_them() -> None:
    world = World()
    world.submit("db", start=False)
    world.submit("web", start=False, depends={"db": C.STARTED})
    text = "cannot remove db: there depend on it web; remove these first, or take it out of their `depends`"
    assert refusal(world.remove(name="db")) == ("conflict", text)
    assert refusal(world.remove(name="db", force=True)) == ("conflict", text)
    world.remove(name="web")
    world.remove(name="db")
    assert world.engine.workers == {}


def test_both_can_be_removed_by_force_while_they_run() -> None:
    world = World()
    world.live(name="db")
    world.live(name="web", depends={"db": C.STARTED})
    world.remove(force=True, name="web")
    assert signalled(world.remove(force=True, name="db")) == []
    world.exited(name="web")
    world.exited(name="db")
    assert world.engine.workers == {}


# --- following --------------------------------------------------------------------------------------------------------


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.none() | st.sets(st.sampled_from(NAMES)), st.sampled_from(State)),
        max_size=40,
    )
)
def test_who_depends_on_whom_is_followed(steps: list[tuple[str, set[str] | None, State]]) -> None:
    workers: dict[str, Worker] = {}
    dependents = dependencies.Dependents(workers)
    for name, others, state in steps:
        before = workers.pop(name, None)
        after = None
        if others is not None:
            after = a_worker(name, state)
            after = evolve(after, spec=evolve(after.spec, depends=dict.fromkeys(sorted(others), C.STARTED)))
            workers[name] = after
        dependents.follow(before, after)
        for one in NAMES:
            expected = {worker.name for worker in workers.values() if one in worker.spec.depends}
            assert {worker.name for worker in dependents.of(one)} == expected
