"""Who is looked at, when, and what follows from it; without an executor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import evolve

from rdagentd.core import events as ev
from rdagentd.model.directories import CacheDirectory, StateDirectory
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.space import TICK, Space


def a_worker(name: str, state: State = State.RUNNING, run: str = "r1", **fields: Any) -> Worker:
    spec = Spec(name, ("true",), **{"state": StateDirectory(100), **fields})
    return Worker(name, spec, 0, state=state, run=Run(run, name, 1))


class World:
    """What was asked, what was told; `answers` False: nobody can be asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, CacheDirectory | None]] = []
        self.events: list[ev.Event] = []
        self.answers = True
        self.space = Space(self.events.append, self.tend, lambda: None)  # the disk of others who test fills by itself

    def tend(self, worker: str, cache: CacheDirectory | None) -> bool:
        if self.answers:
            self.asked.append((worker, cache))
        return self.answers

    def tell(
        self, worker: str, state: int = 0, removed: tuple[int, int] = (0, 0), problem: str = "", took: float = 0.0
    ) -> None:
        found = {"used": {"state": state}, "removed": removed, "took": took} if not problem else {}
        self.space.tended({"worker": worker, "problem": problem, **found})


def play(act: Callable[[World], Any]) -> World:
    async def run() -> World:
        world = World()
        await act(world)
        return world

    return asyncio.run(run())


async def turn() -> None:
    """Lets what is armed for now happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_run_that_has_begun_is_looked_at_and_only_one_at_a_time() -> None:
    async def act(world: World) -> None:
        cache = CacheDirectory()
        for worker in (a_worker("a"), a_worker("b", cache=cache), a_worker("c", state=State.QUEUED)):
            world.space.follow(worker)
        await turn()
        assert world.asked == [("a", None)]
        world.tell("a", 99)
        await turn()
        assert world.asked == [("a", None), ("b", cache)]
        world.tell("b", 1)
        await turn()
        assert len(world.asked) == 2, "nothing is due"
        world.space.follow(a_worker("a", run="r2"))
        await turn()
        assert world.asked[2:] == [("a", None)]

    assert play(act).events == []


def test_between_two_looks_there_is_a_rest_in_proportion_to_the_last_one() -> None:
    async def act(world: World) -> None:
        for name in "abc":
            world.space.follow(a_worker(name))
        await turn()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        world.tell("a", took=0.01)
        assert world.space._timer is not None and world.space._timer.when() < loop.time() + TICK
        while len(world.asked) < 2:
            await asyncio.sleep(0)
        assert loop.time() - begin >= 0.09
        world.tell("b", took=1000.0)
        assert world.space._timer is not None and world.space._timer.when() <= loop.time() + TICK, (
            "however long it took"
        )

    play(act)


def test_too_much_is_told_of_the_run_that_was_looked_at() -> None:
    async def act(world: World) -> None:
        world.space.follow(a_worker("a"))
        await turn()
        world.tell("a", 101)

    assert play(act).events == [ev.QuotaExceeded("a", "r1", 101, 100)]


def test_what_ended_meanwhile_is_not_stopped_and_yet_told_what_it_lost() -> None:
    async def act(world: World) -> None:
        world.space.follow(a_worker("a"))
        await turn()
        world.space.follow(a_worker("a", state=State.STOPPED))
        world.tell("a", 101, removed=(5, 5))
        assert world.space.used("a") == {}

    assert [type(event) for event in play(act).events] == [ev.Noted]


def test_what_was_removed_and_what_failed_is_told_in_the_story() -> None:
    async def act(world: World) -> None:
        world.space.follow(a_worker("a"))
        await turn()
        world.tell("a", 7, removed=(5, 3 << 20))
        world.tell("a", problem="permission denied")
        assert world.space.used("a") == {"state": 7}

    told = [(event.kind, event.text) for event in play(act).events if isinstance(event, ev.Noted)]
    assert told == [
        ("swept", "unused files of its cache were removed: 5, 3 MiB"),
        ("unmeasured", "cannot look after its directories: permission denied"),
    ]


def test_what_an_executor_was_asked_is_asked_of_the_next_one() -> None:
    async def act(world: World) -> None:
        world.answers = False
        world.space.follow(a_worker("a"))
        await turn()
        world.answers = True
        workers = [a_worker("a"), a_worker("b")]
        world.space.again(workers)
        await turn()
        assert [name for name, _ in world.asked] == ["a"]
        world.space.again([evolve(worker, owner=1) for worker in workers])
        await turn()
        assert [name for name, _ in world.asked] == ["a", "a"]

    play(act)
