"""The ledger, and the queue that gives away by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.ledger import Ledger
from rdagentd.core.pool import RESOURCES, amount
from rdagentd.model.requests import ALL, NOTHING, Capacity, Gpu, Requests, Thresholds
from rdagentd.model.spec import Queue
from rdagentd.model.worker import LIVE, State, Worker

from .world import World

GIB = 1 << 30
GPUS = (Gpu("0", "GPU-aa"), Gpu("1", "GPU-bb"), Gpu("2"))
HOST = Capacity(16 * GIB, 4.0, 100 * GIB, GPUS)


def memory(gib: float) -> Requests:
    return Requests(memory=round(gib * GIB))


@pytest.fixture
def world() -> World:
    return World(capacity=HOST)


def states(world: World) -> dict[str, str]:
    return {name: worker.state.value for name, worker in world.engine.workers.items()}


def waits(world: World, name: str) -> tuple[str, str]:
    reason = world.engine.waits_for(world.worker(name))
    return reason.code, reason.text


# --- what there is ----------------------------------------------------------------------------------------------------

NEVER = {
    "too much memory": (memory(17), "17 GiB of memory (of 16 GiB)"),
    "too many CPUs": (Requests(cpu=4.5), "4.5 CPUs (of 4)"),
    "too many GPUs": (Requests(gpus=4), "4 GPUs (of 3: 0, 1, 2)"),
    "a GPU that is not there": (Requests(gpus=("0", "7")), "GPU 0, 7 (of 3: 0, 1, 2)"),
    "two things": (
        Requests(memory=17 * GIB, disk=1 << 40),
        "17 GiB of memory (of 16 GiB) and 1 TiB of disk (of 100 GiB)",
    ),
}


@pytest.mark.parametrize(("wanted", "told"), NEVER.values(), ids=NEVER)
def test_what_the_host_never_has_is_told(wanted: Requests, told: str) -> None:
    assert Ledger(HOST).never(wanted) == f"this host cannot give away {told}"


def test_all_of_it_can_be_had_at_once() -> None:
    assert Ledger(HOST).never(Requests(16 * GIB, 4.0, 100 * GIB, ALL)) is None
    assert Ledger(HOST).never(NOTHING) is None
    assert Ledger(Capacity()).never(Requests(gpus=ALL)) == "this host cannot give away GPU all (of 0)"


def test_a_gpu_has_two_names_and_is_one() -> None:
    ledger = Ledger(HOST)
    assert ledger.resolved(Requests(gpus=("GPU-aa", "2", "0"))).gpus == ("0", "2")
    assert ledger.resolved(Requests(gpus=ALL)).gpus == ("0", "1", "2")


SHARES = st.builds(
    Requests,
    st.integers(0, 20 * GIB),
    st.sampled_from([0.0, 0.01, 0.1, 0.3333, 1.7]),
    st.integers(0, 120 * GIB),
    st.sets(st.sampled_from(["0", "1", "2", "gone"])).map(lambda ids: tuple(sorted(ids)) or 0),
)
STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | SHARES), max_size=40)


@given(STEPS)
def test_the_ledger_is_never_below_nothing_and_nothing_leaks(steps: list[tuple[str, Requests | None]]) -> None:
    ledger, held = Ledger(HOST), {}
    for name, share in steps:
        ledger.release(name)
        held.pop(name, None)
        if share is not None:
            ledger.hold(name, share)
            held[name] = share
        free = ledger.free()
        for resource in ("memory", "cpu", "disk"):
            taken = sum(amount(one, resource) for one in held.values())
            assert free.has(resource) == max(0, ledger.all.has(resource) - taken)
        leased = {gpu for one in held.values() if isinstance(one.gpus, tuple) for gpu in one.gpus}
        assert set(free.gpus) == {"0", "1", "2"} - leased
    for name in list(held):
        ledger.release(name)
    assert ledger.free() == ledger.all and ledger.holders(RESOURCES) == []


# --- who gets it ------------------------------------------------------------------------------------------------------


def test_a_run_holds_its_share_from_the_decision_until_nothing_of_it_is_left(world: World) -> None:
    world.submit("a", requests=Requests(8 * GIB, 1.5, 0, 1))
    assert world.worker("a").state is State.STARTING and world.worker("a").run.holds.gpus == ("0",)
    free = world.engine.queue.ledger.free()
    assert (free.memory, free.cpu, free.gpus) == (8 * GIB, 2500, ("1", "2"))
    world.started("a")
    world.pause("a")
    world.stop("a")
    assert world.engine.queue.ledger.free() == free, "paused and stopping runs hold it as well"
    world.exited(name="a")
    assert world.engine.queue.ledger.free() == world.engine.queue.ledger.all


def test_what_a_run_holds_is_kept_with_the_decision(world: World) -> None:
    effects = world.submit("a", requests=Requests(gpus=("GPU-bb",)))
    kinds = [type(effect) for effect in effects]
    (kept,) = [effect.run for effect in effects if isinstance(effect, fx.SaveRun)]
    assert kept.holds == Requests(gpus=("1",)) and kinds.index(fx.SaveRun) < kinds.index(fx.Spawn)


def test_who_waits_is_told_for_what_and_how_far_off_it_is(world: World) -> None:
    world.submit("train", requests=Requests(12 * GIB, gpus=("0", "1")))
    world.submit("next", requests=Requests(6 * GIB, gpus=2))
    world.submit("small", requests=memory(1))
    world.submit("named", requests=Requests(gpus=("1",)))
    assert waits(world, "next") == (
        "memory",
        "waits for 6 GiB of memory: 4 GiB of 16 GiB are free; for 2 GPUs: 1 of 3 are free",
    )
    assert world.engine.held_by(world.worker("next")) == ["train (12 GiB of memory, GPU 0, 1)"]
    assert waits(world, "small") == ("memory", "waits for 1 GiB of memory: 4 GiB of 16 GiB are free, kept for next")
    assert waits(world, "named") == ("gpus", "waits for GPU 1: 1 of 3 are free")
    assert world.engine.held_by(world.worker("named")) == ["train (GPU 0, 1)"]


def test_a_big_one_is_not_starved_by_small_ones(world: World) -> None:
    """Small ones come for ever, each as the last one ends; the big one starts as soon as those before it have ended."""
    for name in ("s1", "s2"):
        world.submit(name, requests=memory(8))
    world.submit("big", requests=memory(16))
    for name in ("s3", "s4"):
        world.submit(name, requests=memory(8))
    world.exited(name="s1")
    assert states(world)["big"] == "queued" and states(world)["s3"] == "queued"
    world.exited(name="s2")
    assert states(world)["big"] == "starting"
    world.exited(name="big")
    assert states(world)["s3"] == states(world)["s4"] == "starting"


def test_what_nobody_ahead_claims_is_given_to_those_behind(world: World) -> None:
    world.submit("a", requests=memory(10))
    world.submit("big", requests=Requests(memory=8 * GIB, cpu=3.0))
    world.submit("one-cpu", requests=Requests(cpu=1.0))
    world.submit("two-cpus", requests=Requests(cpu=2.0))
    world.submit("gpu", requests=Requests(gpus=1))
    world.submit("nothing")
    assert {name for name, state in states(world).items() if state == "queued"} == {"big", "two-cpus"}
    assert waits(world, "two-cpus")[1] == "waits for 2 CPUs: 3 of 4 are free, kept for big"


def test_its_slot_is_kept_for_whoever_waits_for_memory() -> None:
    world = World({"one": 1}, capacity=HOST)
    world.submit("a", requests=memory(10))
    world.submit("big", requests=memory(8), queue=Queue("one"))
    world.submit("small", queue=Queue("one"))
    assert waits(world, "small") == ("slot", "waits for a slot of group one (0 of 1 taken, 1 ahead of it)")
    world.exited(name="a")
    assert states(world)["big"] == "starting" and states(world)["small"] == "queued"


def test_a_higher_priority_claims_first(world: World) -> None:
    world.submit("a", requests=memory(12))
    world.submit("low", requests=memory(10))
    world.submit("high", requests=memory(14), queue=Queue(priority=5))
    world.exited(name="a")
    assert states(world)["high"] == "starting" and waits(world, "low")[0] == "memory"


def test_who_waits_for_a_group_without_slots_claims_nothing() -> None:
    world = World({"shut": 0}, capacity=HOST)
    world.submit("shut", requests=memory(16), queue=Queue("shut"))
    world.submit("free", requests=memory(16))
    assert states(world)["free"] == "starting" and waits(world, "shut")[0] == "slot"


def test_what_can_never_start_holds_up_nobody_and_says_so(world: World) -> None:
    world.submit("a", requests=memory(12), start=False)
    world(ev.HostChanged(Capacity(10 * GIB), Thresholds()))
    world.start("a")
    world.submit("b", requests=memory(10))
    assert states(world)["b"] == "starting"
    assert waits(world, "a") == ("never", "cannot ever start: this host cannot give away 12 GiB of memory (of 10 GiB)")
    world(ev.HostChanged(Capacity(24 * GIB), Thresholds()))
    assert states(world)["a"] == "starting", "the host has grown"


def test_a_smaller_host_takes_nothing_from_who_holds_it(world: World) -> None:
    world.submit("a", requests=Requests(12 * GIB, gpus=("0",)))
    world.submit("b", requests=memory(2))
    world(ev.HostChanged(Capacity(8 * GIB), Thresholds()))
    world.submit("c", requests=memory(1))
    assert world.engine.queue.ledger.free().memory == 0 and states(world)["c"] == "queued"
    assert world.worker("a").run.holds.gpus == ("0",)


def test_a_changed_request_counts_from_the_next_run_on(world: World) -> None:
    world.submit("a", requests=memory(4))
    world.started("a")
    world.change("a", requests=memory(6))
    assert world.worker("a").state is State.STOPPING and world.engine.queue.ledger.free().memory == 12 * GIB
    world.exited(name="a")
    assert world.worker("a").run.holds == memory(6) and world.engine.queue.ledger.free().memory == 10 * GIB


def test_behind_very_many_that_claim_something_who_claims_something_waits_and_who_claims_nothing_does_not() -> None:
    world = World(capacity=HOST, limit=300)
    world.submit("a", requests=memory(15))
    for number in range(150):
        world.submit(f"w{number:03}", requests=Requests(memory=2 * GIB + number))
    world.submit("cpu", requests=Requests(cpu=1.0))
    world.submit("nothing")
    assert states(world)["nothing"] == "starting"
    assert waits(world, "cpu")[1] == "waits for 1 CPU: 4 of 4 are free, kept for w000, w001, w002, w003, w004 …"
    world.exited(name="a")
    assert [name for name, state in states(world).items() if state == "starting"][:7] == [f"w{n:03}" for n in range(7)]
    assert states(world)["cpu"] == "queued"


# --- in the long run --------------------------------------------------------------------------------------------------

WANTED = st.builds(
    Requests,
    st.sampled_from([0, GIB, 8 * GIB, 16 * GIB]),
    st.sampled_from([0.0, 0.5, 4.0]),
    st.just(0),
    st.sampled_from([0, 0, 1, 3, ("0",), ("GPU-aa", "2"), ALL]),
)
COMERS = st.lists(st.tuples(WANTED, st.integers(0, 1), st.sampled_from(["one", "free"])), min_size=1, max_size=25)


@given(COMERS, st.data())
def test_nobody_starves_while_runs_end(comers: list[tuple[Requests, int, str]], data: st.DataObject) -> None:
    """Whatever ends first, whoever is first in the queue starts before anybody overtakes it on what it needs; all get there."""
    world = World({"one": 1}, capacity=HOST)
    coming = [(f"w{number}", *comer) for number, comer in enumerate(comers)]
    for _ in range(4 * len(comers)):
        live = [name for name, worker in world.engine.workers.items() if worker.state in LIVE]
        if coming and (not live or data.draw(st.booleans())):
            name, wanted, priority, group = coming.pop(0)
            world.submit(name, requests=wanted, queue=Queue(group, priority))
        elif live:
            claimed = first_claim(world)
            world.exited(name=data.draw(st.sampled_from(live)))
            check_claim(world, claimed)
        check(world)
    assert all(worker.state is State.COMPLETED for worker in world.engine.workers.values()), states(world)
    assert world.engine.queue.ledger.free() == world.engine.queue.ledger.all


def waiting(world: World) -> list[Worker]:
    """Those that wait, the first one first; none if that one has no slot."""
    queued = [worker for worker in world.engine.workers.values() if worker.state is State.QUEUED]
    queued.sort(key=lambda worker: (-worker.spec.queue.priority, worker.order))
    return queued if queued and world.engine.queue.free(queued[0].spec.queue.group) else []


def first_claim(world: World) -> tuple[str, dict[str, int]] | None:
    """Who is first, and what of its share is there already."""
    for worker in waiting(world)[:1]:
        free, wanted = world.engine.queue.ledger.free(), world.engine.queue.ledger.resolved(worker.spec.requests)
        return worker.name, {name: min(free.has(name), amount(wanted, name)) for name in ("memory", "cpu")}
    return None


def check_claim(world: World, claimed: tuple[str, dict[str, int]] | None) -> None:
    """What was there for the first is not given to somebody behind it."""
    if claimed and world.worker(claimed[0]).state is State.QUEUED:
        free = world.engine.queue.ledger.free()
        assert all(free.has(name) >= number for name, number in claimed[1].items()), f"{claimed} was overtaken"


def check(world: World) -> None:
    """Nobody holds what another holds, no more is held than there is, and everybody who waits lacks something."""
    live = [worker for worker in world.engine.workers.values() if worker.state in LIVE]
    gpus = [gpu for worker in live if isinstance(worker.run.holds.gpus, tuple) for gpu in worker.run.holds.gpus]
    assert len(gpus) == len(set(gpus))
    for resource in RESOURCES:
        assert sum(amount(worker.run.holds, resource) for worker in live) <= amount(HOST, resource)
    queued = [worker for worker in world.engine.workers.values() if worker.state is State.QUEUED]
    for worker in queued:
        assert world.engine.queue.lack(worker).slot or world.engine.queue.lack(worker).resources
    for first in waiting(world)[:1]:
        wanted = world.engine.queue.ledger.resolved(first.spec.requests)
        assert world.engine.queue.ledger.free().lacks(wanted), "the first takes what is there"
