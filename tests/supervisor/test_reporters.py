"""What runs tell is listened to while they live; and an end is posted when all that was told has been."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve

from rdagentd.core.events import Reported
from rdagentd.drivers.base import Assisted, EndedRun, Errand
from rdagentd.model.container import DriverName
from rdagentd.model.reporters import Reporter, Source
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.protocol.segments import log_name
from rdagentd.supervisor import reporters as module
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.reporters import Reporters

COST = Reporter(Source.LOG, "cost_usd", "cost {number}", add=True)
FILE = Reporter(Source.JSON, "tokens", file="m.json", path="n", every=1.0)
METRIC = Reporter(Source.PROMETHEUS, "errors", url="http://127.0.0.1:1/", metric="e")
OVER = Exit(ExitKind.CODE, 0)


class Scene:
    """Reporters, a driver whose assistants say what a test wants, and what was posted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.posted: list[Reported | str] = []
        self.errands: list[Any] = []
        self.says: Callable[[], Assisted] = lambda: Assisted(0, output=b"[]")
        self.held: asyncio.Event | None = None
        self.workers: dict[str, Worker] = {}
        post: Any = self.posted.append
        driver: Any = self
        self.reporters = Reporters(post, lambda: driver, Hub(), {DriverName.PROCESS: directory}, self.workers)

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Nothing grows."""

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        self.errands.append(json.loads(errand.command[-1]))
        if self.held is not None:
            await self.held.wait()
        return self.says()

    def write(self, text: str) -> None:
        place = self.directory / "w" / "out"
        place.mkdir(parents=True, exist_ok=True)
        with (place / log_name(0)).open("a") as file:
            file.write(text)

    def follow(self, *reporters: Reporter, state: State = State.RUNNING, **run: Any) -> Worker:
        of = Run("r1", "w", 1, started_at=100.0, **{"log_start": {"out": 0}, **run})
        self.workers["w"] = worker = Worker("w", Spec("w", ("x",), reporters=reporters), 0, state=state, run=of)
        self.reporters.follow(worker)
        return worker

    async def end(self, log: dict[str, int], run: str = "r1") -> None:
        over = asyncio.Event()

        def then() -> None:
            self.posted.append("end")
            over.set()

        self.reporters.at_end(EndedRun("w", run, OVER, 1.0, None, log), then)
        await asyncio.wait_for(over.wait(), 30)

    def told(self) -> list[tuple[Any, ...]]:
        return [
            (dict(item.values), dict(item.added), item.errors) if isinstance(item, Reported) else (item,)
            for item in self.posted
        ]


def in_scene(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        with TemporaryDirectory() as directory:
            await test(Scene(Path(directory)))

    asyncio.run(run())


def test_the_end_comes_behind_all_that_was_told() -> None:
    async def test(scene: Scene) -> None:
        scene.follow(COST)
        scene.write("cost 1\ncost 2")
        await scene.end({"out": 13})
        assert sum(item.added.get("cost_usd", 0) for item in scene.posted[:-1] if isinstance(item, Reported)) == 3.0
        assert scene.posted[-1] == "end"

    in_scene(test)


def test_an_end_that_is_repeated_meanwhile_is_posted_once_and_nothing_is_read_again_before_it_is_kept() -> None:
    async def test(scene: Scene) -> None:
        worker = scene.follow(COST)
        scene.write("cost 1\n")
        scene.reporters.at_end(EndedRun("w", "r1", OVER, 1.0, None, {"out": 7}), lambda: scene.posted.append("again"))
        while "again" not in scene.posted:
            scene.reporters.at_end(
                EndedRun("w", "r1", OVER, 1.0, None, {"out": 7}), lambda: scene.posted.append("twice")
            )
            await asyncio.sleep(0.001)
        scene.reporters.follow(evolve(worker, reason=None))  # another change of it is kept before its end is
        for _ in range(50):
            await asyncio.sleep(0)
        assert scene.told() == [({}, {"cost_usd": 1.0}, 0), ("again",)]

    in_scene(test)


def test_without_reporters_an_end_is_posted_at_once() -> None:
    async def test(scene: Scene) -> None:
        scene.follow()
        scene.reporters.at_end(EndedRun("w", "r1", OVER, 1.0, None), lambda: scene.posted.append("end"))
        assert scene.posted == ["end"]

    in_scene(test)


def test_files_are_asked_for_at_the_end_and_what_is_not_there_then_is_told() -> None:
    async def test(scene: Scene) -> None:
        scene.follow(FILE, METRIC)
        scene.says = lambda: Assisted(0, output=b'[[null, ""]]')
        await scene.end({})
        assert scene.told() == [({}, {}, 1), ("end",)]
        assert (
            isinstance(scene.posted[0], Reported) and scene.posted[0].trouble == "there is no file m.json of this run"
        )
        assert scene.errands[0]["files"] == [["m.json", "n", False]] and scene.errands[0]["metrics"] == []
        assert 99.9 < scene.errands[0]["since"] < 100

    in_scene(test)


def test_an_endpoint_is_asked_once_more_when_it_is_to_stop() -> None:
    async def test(scene: Scene) -> None:
        worker = scene.follow(METRIC)
        scene.says = lambda: Assisted(0, output=json.dumps([['e{a="1"} 2\ne{a="2"} 3\n', ""]]).encode())
        scene.reporters.follow(evolve(worker, state=State.STOPPING))
        while not scene.posted:
            await asyncio.sleep(0)
        assert scene.told() == [({"errors": 5.0}, {}, 0)]

    in_scene(test)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[",
        b"{}",
        b"[1]",
        b"[[1]]",
        b"[[[], 1]]",
        b'[[1, ""], [2, ""]]',
        b'[[{"a": 1}, ""]]',
        b'[["many", ""]]\xff',
    ],
)
def test_an_assistant_that_says_something_else_is_not_believed(said: bytes) -> None:
    async def test(scene: Scene) -> None:
        scene.follow(FILE)
        scene.says = lambda: Assisted(0, output=said)
        await scene.end({})
        assert scene.told() == [({}, {}, 1), ("end",)]

    in_scene(test)


def test_an_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_LOOK", 0.05)

    async def test(scene: Scene) -> None:
        scene.follow(FILE)
        scene.held = asyncio.Event()
        await scene.end({})
        assert scene.told() == [({}, {}, 1), ("end",)]
        assert isinstance(scene.posted[0], Reported) and "could not be read within" in scene.posted[0].trouble

    in_scene(test)


def test_other_rules_count_from_where_it_has_been_read() -> None:
    async def test(scene: Scene) -> None:
        worker = scene.follow(COST)
        scene.write("cost 1\n")
        while not scene.posted:
            await asyncio.sleep(0.001)
        other = evolve(worker, spec=evolve(worker.spec, reporters=(COST, Reporter(Source.LOG, "n", "cost", add=True))))
        scene.reporters.follow(other)
        scene.write("cost 2\n")
        await scene.end({"out": 14})
        assert scene.told() == [({}, {"cost_usd": 1.0}, 0), ({}, {"cost_usd": 2.0, "n": 1.0}, 0), ("end",)]

    in_scene(test)


def test_a_lost_run_is_read_to_the_end_of_its_log() -> None:
    async def test(scene: Scene) -> None:
        scene.follow(COST)
        scene.write("cost 4\n")
        await scene.end({})
        assert scene.told()[-2:] == [({}, {"cost_usd": 4.0}, 0), ("end",)]

    in_scene(test)


def test_a_start_that_nobody_heard_of_is_read_from_its_beginning() -> None:
    async def test(scene: Scene) -> None:
        from rdagentd.drivers.base import HeldRun

        scene.follow(COST, state=State.STARTING, log_start={})
        scene.write("of an earlier run: cost 9\ncost 4\n")
        over = asyncio.Event()
        began = HeldRun("w", "r1", 7, 7, 1.0, log={"out": 26})
        scene.reporters.at_end(EndedRun("w", "r1", OVER, 1.0, None, {"out": 33}, began), over.set)
        await asyncio.wait_for(over.wait(), 30)
        assert scene.told() == [({}, {"cost_usd": 4.0}, 0)]

    in_scene(test)
