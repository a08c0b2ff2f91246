"""Pressure on the host: when it holds the queue, when it lets it go, and when it is looked at again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.pressure import LINGER, LOOK, Pressure
from rdagentd.model.requests import NO_CAPACITY, Thresholds
from rdagentd.model.worker import State

from .world import World, stories

NAMES = ("cpu_10s", "cpu_60s", "memory_10s", "memory_60s", "io_10s", "io_60s")
OFF = Thresholds(memory_10s=None, memory_60s=None)
HELD = {"memory_10s": 43.0}
CALM = {"memory_10s": 0.0, "memory_60s": 0.0}

WORDS = {
    "above": ([{"memory_10s": 43.0}], "memory pressure to fall: 43 % over 10 s, more than 20 %"),
    "as much as the threshold": ([{"memory_10s": 20.0, "memory_60s": 10.0}], None),
    "what has no threshold": ([{"cpu_10s": 100.0, "io_60s": 100.0}], None),
    "below, but not by enough": (
        [{"memory_10s": 21.0}, {"memory_10s": 16.5}],
        "memory pressure to fall: 16.5 % over 10 s, not yet below 15 %",
    ),
    "low enough": ([{"memory_10s": 21.0}, {"memory_10s": 15.0}], None),
    "not above again after it had fallen": ([{"memory_10s": 21.0}, {"memory_10s": 1.0}, {"memory_10s": 19.0}], None),
    "the longer one goes on": (
        [{"memory_10s": 30.0, "memory_60s": 11.0}, {"memory_10s": 3.0, "memory_60s": 10.5}],
        "memory pressure to fall: 10.5 % over 60 s, more than 10 %",
    ),
    "the shorter one is told if both are": ([{"memory_10s": 30.0, "memory_60s": 11.0}], "30 % over 10 s"),
    "what cannot be read any more holds nothing": ([{"memory_10s": 90.0}, {}], None),
}


@pytest.mark.parametrize(("readings", "told"), WORDS.values(), ids=WORDS)
def test_a_threshold_holds_and_three_quarters_of_it_let_go(readings: list[dict[str, float]], told: str | None) -> None:
    pressure = Pressure()
    for reading in readings:
        pressure = pressure.after(reading, False, 0.0)
    assert (pressure.reason is None) == (told is None)
    assert told is None or (pressure.reason and told in pressure.reason.text and pressure.reason.code == "pressure")


def test_each_resource_that_holds_is_told() -> None:
    pressure = Pressure(Thresholds(cpu_60s=50.0, io_10s=5.0)).after(
        {"cpu_60s": 60.0, "memory_60s": 12.0, "io_10s": 6.0}, False, 0.0
    )
    assert pressure.reason and pressure.reason.text == (
        "waits for CPU pressure to fall: 60 % over 60 s, more than 50 % and "
        "memory pressure to fall: 12 % over 60 s, more than 10 % and I/O pressure to fall: 6 % over 10 s, more than 5 %"
    )


PER_CENT = st.floats(0, 100)
READINGS = st.lists(st.dictionaries(st.sampled_from(NAMES), PER_CENT), max_size=12)


@given(st.builds(Thresholds, *[st.none() | st.floats(1, 100)] * 6), READINGS)
def test_hysteresis_agrees_with_its_definition(thresholds: Thresholds, readings: list[dict[str, float]]) -> None:
    pressure, held = Pressure(thresholds), set()
    for reading in readings:
        pressure = pressure.after(reading, False, 0.0)
        for name in NAMES:
            most, now = getattr(thresholds, name), reading.get(name, 0.0)
            if most is not None and now > most:
                held.add(name)
            elif most is None or now <= 0.75 * most:
                held.discard(name)
        assert set(pressure.held) == held
        assert (pressure.look_at(5.0) is not None) == bool(held), "it is looked at again just while it holds"


def test_after_a_trigger_it_is_looked_at_until_the_trigger_could_have_fired_again() -> None:
    pressure, now, looks = Pressure().after({}, True, 100.0), 100.0, 0
    while (at := pressure.look_at(now)) is not None:
        now, looks = at, looks + 1
        pressure = pressure.after({}, False, now)
    assert (now, looks) == (100.0 + LINGER, LINGER / LOOK)


# --- in the engine ----------------------------------------------------------------------------------------------------


def test_while_it_holds_nothing_starts_and_what_runs_runs_on() -> None:
    world = World()
    world.submit("old")
    world.started("old")
    told = world(ev.PressureRead(HELD, triggered=True))
    assert stories(told) == ["held"] and fx.Look(world.now + LOOK) in told
    world.submit("new")
    assert (world.worker("old").state, world.worker("new").state) == (State.RUNNING, State.QUEUED)
    reason = world.engine.waits_for(world.worker("new"))
    assert (reason.code, reason.text) == (
        "pressure",
        "waits for memory pressure to fall: 43 % over 10 s, more than 20 %",
    )
    assert stories(world(ev.PressureRead(HELD))) == [], "it is told once"
    told = world(ev.PressureRead(CALM))
    assert "released" in stories(told) and world.worker("new").state is State.STARTING
    world.now += LINGER
    assert not [effect for effect in world(ev.PressureRead(CALM)) if isinstance(effect, fx.Look)], "it rests"


def test_a_restart_by_policy_waits_too() -> None:
    world = World()
    world.live()
    world(ev.PressureRead(HELD))
    world.exited()
    world.start()
    world.restart()
    assert world.worker().state is State.QUEUED
    world(ev.PressureRead(CALM))
    assert world.worker().state is State.STARTING


def test_thresholds_that_are_switched_off_let_go() -> None:
    world = World()
    world(ev.PressureRead(HELD))
    world.submit()
    assert stories(world(ev.HostChanged(NO_CAPACITY, OFF)))[0] == "released"
    assert world.worker().state is State.STARTING


def test_that_it_cannot_be_seen_is_told_once_and_holds_nothing() -> None:
    world = World()
    unseen = ev.PressureUnseen("pressure on this host is not seen: no such file")
    assert stories(world(unseen)) == ["unseen"] and stories(world(unseen)) == []
    world.submit()
    assert world.worker().state is State.STARTING and world.engine.pressure.problem == unseen.problem
    world(ev.PressureUnseen(""))
    assert world.engine.pressure.problem == ""


def test_what_could_not_be_kept_is_taken_back() -> None:
    world = World()
    world.engine.mark()
    world(ev.PressureRead(HELD))
    world.engine.rollback()
    assert world.engine.pressure == Pressure()
