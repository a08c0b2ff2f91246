"""An outage of a provider: who waits, who tries, whose failures count, and how many attempts it saves."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.core.providers import Providers
from rdagentd.model.provider import Phase, Provider
from rdagentd.model.run import Exit
from rdagentd.model.spec import Breaker, Policy, Restart, Spec
from rdagentd.model.worker import State, Worker

from .world import World, code, stories

OPENAI = Provider(errors=4, window=60.0, cooldown=120.0)
AGAIN = Restart(Policy.ON_FAILURE, delay=5.0, retries=3, breaker=Breaker(0))


def a_world(*names: str, **fields: Any) -> World:
    """With workers that need one provider, and run."""
    world = World()
    world(ev.ProvidersChanged({"openai": OPENAI}))
    for name in names:
        world.live(name=name, **{"providers": ("openai",), "restart": AGAIN, **fields})
    return world


def phase(world: World) -> Phase:
    return world.engine.providers.of("openai").phase


def errors(world: World, name: str, total: int, **values: float) -> list[fx.Effect]:
    return world.reported(name, values={"provider_errors": total, **values})


def out(world: World, *ending: str) -> None:
    """Opens the breaker by errors of the first of these workers; then all of them fail."""
    errors(world, ending[0], 4)
    assert phase(world) is Phase.OPEN
    for name in ending:
        world.exited(code(1), name)
        world.due(name)


def provider_due(world: World) -> list[fx.Effect]:
    at = world.engine.providers.of("openai").due
    assert at is not None
    world.now = at
    return world(ev.Due("openai", ev.Timer.PROVIDER, at))


def states(world: World) -> dict[str, str]:
    return {name: worker.state.value for name, worker in sorted(world.engine.workers.items())}


# --- opening ----------------------------------------------------------------------------------------------------------


def test_errors_of_several_workers_open_it_together_and_each_counts_once() -> None:
    world = a_world("a", "b")
    errors(world, "a", 2)
    errors(world, "b", 1)
    errors(world, "a", 2)
    assert phase(world) is Phase.CLOSED
    effects = errors(world, "b", 2)
    assert phase(world) is Phase.OPEN
    assert stories(effects) == ["provider_open"]
    assert any(
        isinstance(effect, fx.SaveCircuits) and effect.circuits["openai"].phase is Phase.OPEN for effect in effects
    )
    assert fx.Arm("openai", ev.Timer.PROVIDER, world.now + 120.0) in effects


def test_starts_and_restarts_wait_and_others_go_on() -> None:
    world = a_world("a")
    out(world, "a")
    world.submit("new", providers=("openai",))
    world.submit("other", providers=("anthropic",))
    world.submit("free")
    assert states(world) == {"a": "queued", "free": "starting", "new": "queued", "other": "starting"}
    text = "waits for provider openai: 4 errors within 60 s; one worker tries it after the cool-down of 120 s"
    assert world.engine.waits_for(world.worker("a")).text == text
    assert world.engine.waits_for(world.worker("new")).code == "provider"


def test_what_runs_runs_on() -> None:
    world = a_world("a", "b")
    errors(world, "a", 4)
    assert states(world) == {"a": "running", "b": "running"}


# --- trying -----------------------------------------------------------------------------------------------------------


def half_open(*names: str) -> World:
    """All have failed, and the first tries."""
    world = a_world(*names)
    out(world, *names)
    effects = provider_due(world)
    assert stories(effects) == ["provider_half_open", "provider_tried"]
    assert states(world) == {name: "starting" if name == names[0] else "queued" for name in names}
    world.started(names[0])
    return world


def test_one_is_let_through_and_the_others_wait_for_it() -> None:
    world = half_open("a", "b")
    assert (
        world.engine.waits_for(world.worker("b")).text == "waits for provider openai: a tries whether it answers again"
    )


@pytest.mark.parametrize("sign", [{"tokens": 10}, {"progress": 0.5}, {"iteration": 1}])
def test_the_one_that_gets_on_lets_all_start(sign: dict[str, float]) -> None:
    world = half_open("a", "b", "c")
    assert "provider_closed" in stories(world.reported("a", values=sign))
    assert states(world) == {"a": "running", "b": "starting", "c": "starting"}


def test_so_does_a_window_without_an_error() -> None:
    world = half_open("a", "b")
    provider_due(world)
    assert states(world) == {"a": "running", "b": "starting"}


def test_so_does_an_end_that_is_well() -> None:
    world = half_open("a", "b")
    world.exited(code(0), "a")
    assert states(world) == {"a": "completed", "b": "starting"}


def test_an_error_of_it_opens_the_breaker_again() -> None:
    world = half_open("a", "b")
    assert "provider_open" in stories(errors(world, "a", 1, tokens=5))
    world.exited(code(1), "a")
    assert phase(world) is Phase.OPEN
    assert world.worker("b").state is State.QUEUED


def test_after_an_end_that_tells_nothing_the_next_one_tries() -> None:
    world = half_open("a", "b")
    assert stories(world.exited(code(1), "a"))[-2:] == ["provider_half_open", "provider_tried"]
    assert states(world) == {"a": "backoff", "b": "starting"}


def test_a_pause_proves_nothing() -> None:
    world = half_open("a", "b")
    world.pause("a")
    assert world.engine.providers.of("openai").due is None
    world.resume("a")
    assert world.engine.providers.of("openai").due == world.now + 60.0


def test_one_that_needs_it_no_longer_does_not_keep_the_others_waiting() -> None:
    world = half_open("a", "b")
    world.change("a", restart=AGAIN)
    assert states(world) == {"a": "running", "b": "starting"}


def test_one_that_is_removed_does_not_either() -> None:
    world = half_open("a", "b")
    world.remove(force=True, name="a")
    world.exited(name="a")
    assert states(world)["b"] == "starting"


# --- whose failures count ---------------------------------------------------------------------------------------------


def test_failures_while_it_is_out_cost_no_attempt() -> None:
    world = a_world("a", "b")
    errors(world, "a", 4)
    for name in ("a", "b"):
        world.exited(code(1), name)
        worker = world.worker(name)
        assert (worker.state, worker.attempt, worker.ends) == (State.BACKOFF, 0, ())
        assert worker.reason is not None
        text = "exited with code 1; that does not count, as its provider openai is out; restarts after 5 s"
        assert worker.reason.text == text


def test_failures_since_its_trouble_began_cost_none_either() -> None:
    world = a_world("a", "b")
    world.exited(code(1), "b")  # of its own
    world.due("b")
    world.started("b")
    world.now += 1
    errors(world, "b", 2)
    world.now += 1
    world.exited(code(1), "b")
    assert world.worker("b").attempt == 2
    errors(world, "a", 2)
    assert phase(world) is Phase.OPEN
    assert (world.worker("b").attempt, len(world.worker("b").ends)) == (1, 1)


def test_who_gave_up_by_them_alone_goes_on_once_it_answers() -> None:
    world = a_world("a", "b", restart=evolve(AGAIN, retries=0))
    errors(world, "b", 3)
    world.now += 1
    world.exited(code(1), "b")
    assert world.worker("b").state is State.FAILED
    errors(world, "a", 1)
    assert world.worker("b").state is State.QUEUED
    provider_due(world)
    assert world.worker("b").state is State.STARTING


def test_a_worker_that_is_never_restarted_stays_failed() -> None:
    world = a_world("a", restart=Restart(Policy.NEVER))
    errors(world, "a", 4)
    world.exited(code(1), "a")
    assert world.worker("a").state is State.FAILED


# --- over restarts ----------------------------------------------------------------------------------------------------


def restarted(world: World, rebooted: bool = False) -> tuple[Engine, list[fx.Effect]]:
    after = Engine((f"s{number}" for number in range(100)).__next__, strict=True)
    after.providers.settings = {"openai": OPENAI}
    after.restore(world.engine.workers.values(), world.now, rebooted)
    effects = after.restore_circuits(world.engine.providers.circuits, world.now, rebooted)
    held = tuple(
        ev.Held(worker.name, worker.run.id, worker.run.pid, 1, 1.0)
        for worker in world.engine.workers.values()
        if worker.run is not None and worker.run.exit is None
    )
    return after, effects + after.handle(ev.ExecutorConnected(True, () if rebooted else held), world.now)


def test_it_stays_open_over_a_restart_of_the_daemon() -> None:
    world = a_world("a")
    out(world, "a")
    due = world.engine.providers.of("openai").due
    after, effects = restarted(world)
    assert after.workers["a"].state is State.QUEUED
    assert fx.Arm("openai", ev.Timer.PROVIDER, due) in effects


def test_it_stays_open_over_a_reboot_for_a_new_cool_down() -> None:
    world = a_world("a")
    out(world, "a")
    world.now = 10.0
    after, effects = restarted(world, rebooted=True)
    assert after.workers["a"].state is State.QUEUED
    assert fx.Arm("openai", ev.Timer.PROVIDER, 130.0) in effects
    assert (
        fx.SaveCircuits(after.providers.circuits) in effects
    )  # or the next daemon would wait for a time of the boot before


def test_the_one_that_tries_still_tries_after_a_restart_of_the_daemon() -> None:
    world = half_open("a", "b")
    after, _ = restarted(world)
    assert after.workers["b"].state is State.QUEUED
    after.handle(ev.Reported("a", world.run("a"), {"tokens": 5}, "test"), world.now)
    assert after.workers["b"].state is State.STARTING


def test_what_could_not_be_kept_has_opened_nothing() -> None:
    world = a_world("a")
    world.engine.mark()
    errors(world, "a", 4)
    world.engine.rollback()
    assert phase(world) is Phase.CLOSED
    world.submit("new", providers=("openai",))
    assert world.worker("new").state is State.STARTING


def test_a_provider_that_nobody_names_any_more_is_forgotten() -> None:
    world = World()
    world.live(name="a", providers=("made-up",))
    errors(world, "a", 99)
    assert world.engine.providers.names() == ["made-up"]
    world.remove(force=True, name="a")
    world.exited(name="a")
    assert world.engine.providers.names() == []


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.lists(st.sampled_from("xyz"), unique=True)), max_size=30
    )
)
def test_who_needs_which_is_followed(steps: list[tuple[str, list[str] | None]]) -> None:
    providers, workers = Providers(), dict[str, Worker]()
    for name, needed in steps:
        before = workers.pop(name, None)
        if needed is not None:
            workers[name] = Worker(name, Spec(name, ("x",), providers=tuple(needed)), 0)
        providers.follow(before, workers.get(name))
        for one in "xyz":
            assert set(providers.users(one)) == {w.name for w in workers.values() if one in w.spec.providers}


# --- an outage over twenty workers ------------------------------------------------------------------------------------

WORKERS = 20
BEGINS, LASTS, LIVES = 100.0, 3600.0, 3.0
"""Seconds: when the provider goes out, for how long, and how long a run lives that meets its errors."""


class Outage:
    """Twenty agents that work for ever while their provider answers, and fail after three errors each while it does not."""

    def __init__(self, provider: Provider, restart: Restart) -> None:
        self.world = World()
        self.world(ev.ProvidersChanged({"openai": provider}))
        self.coming: list[tuple[float, int, Any]] = []
        self.attempts = self.number = 0
        self.names = [f"w{number:02}" for number in range(WORKERS)]
        for name in self.names:
            self.do(self.world.submit(name, providers=("openai",), restart=restart, timeout=None))

    def at(self, when: float, what: Any) -> None:
        self.number += 1
        heapq.heappush(self.coming, (when, self.number, what))

    def do(self, effects: list[fx.Effect]) -> None:
        """As the shell and the agents would."""
        for effect in effects:
            if isinstance(effect, fx.Arm):
                self.at(effect.at, ev.Due(effect.worker, effect.timer, effect.at))
            elif isinstance(effect, fx.Spawn) and effect.worker.run:
                self.attempts += self.is_out(self.world.now)
                self.at(self.world.now, ev.RunStarted(effect.worker.name, effect.worker.run.id, 42, 1, 1.0))
                fails = max(self.world.now, 1000.0 + BEGINS) + LIVES
                if self.is_out(fails - LIVES):
                    self.fail(effect.worker.name, effect.worker.run.id, fails)
                else:
                    told = ev.Reported(effect.worker.name, effect.worker.run.id, {"tokens": 9}, "log")
                    self.at(self.world.now + 1.0, told)

    def fail(self, name: str, run: str, when: float) -> None:
        self.at(when, ev.Reported(name, run, {"provider_errors": 3}, "log"))
        self.at(when, ev.RunExited(name, run, Exit(code(1).kind, 1, reason="exited with code 1")))

    def is_out(self, now: float) -> bool:
        return 1000.0 + BEGINS <= now < 1000.0 + BEGINS + LASTS

    def run(self, until: float) -> None:
        while self.coming and self.coming[0][0] <= until:
            when, _, event = heapq.heappop(self.coming)
            self.world.now = max(self.world.now, when)
            self.do(self.world(event))


def attempts(provider: Provider, restart: Restart) -> tuple[int, dict[State, int]]:
    """Runs that were begun in an outage of an hour, and how the workers fare half an hour after it."""
    outage = Outage(provider, restart)
    outage.run(1000.0 + BEGINS)
    outage.world.now = 1000.0 + BEGINS
    for name in outage.names:
        outage.fail(name, outage.world.run(name), outage.world.now + LIVES)
    outage.run(1000.0 + BEGINS + LASTS + 1800.0)
    found: dict[State, int] = {}
    for worker in outage.world.engine.workers.values():
        found[worker.state] = found.get(worker.state, 0) + 1
    return outage.attempts, found


NEVER_OPENS = Provider(errors=10**9)
STUBBORN = Restart(Policy.ALWAYS, delay=10.0, breaker=Breaker(0))
USUAL = Restart(Policy.ON_FAILURE, delay=10.0)


def test_an_outage_costs_one_attempt_a_cool_down_and_no_worker() -> None:
    """One try each time that the cool-down is over: with the usual settings 120 s, and the 3 s that it takes to fail."""
    made, found = attempts(Provider(), USUAL)
    assert found == {State.RUNNING: WORKERS}
    assert made <= LASTS / Provider().cooldown
    assert made == int(LASTS // (Provider().cooldown + LIVES))


def test_without_it_workers_give_up_or_knock_thousands_of_times() -> None:
    assert attempts(NEVER_OPENS, USUAL) == (WORKERS * USUAL.retries, {State.FAILED: WORKERS})
    made, found = attempts(NEVER_OPENS, STUBBORN)
    assert found == {State.RUNNING: WORKERS}
    assert made > 100 * attempts(Provider(), STUBBORN)[0]
