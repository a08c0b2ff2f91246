"""The process driver against an executor that is made up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from rdagentd import __version__
from rdagentd.drivers import process
from rdagentd.drivers.base import Assisted, Errand
from rdagentd.drivers.identity import identify
from rdagentd.drivers.process import ProcessDriver, spawn_message
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from rdagentd.model.requests import Requests
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.spec import Limits, Log, Rlimit, Spec, Stop
from rdagentd.model.worker import Worker
from rdagentd.protocol import frames

HELLO: dict[str, Any] = {
    "notice": "hello", "epoch": "e1", "pid": 77, "version": __version__, "runs": [],
    "exits": [],
}  # fmt: skip
STARTED: dict[str, Any] = {
    "notice": "started", "run": "r1", "worker": "w", "pid": 42, "start_ticks": 7, "at": 1.5, "log": {"out": 10},
}  # fmt: skip
EXITED: dict[str, Any] = {
    "notice": "exited", "run": "r1", "worker": "w", "kind": "code", "code": 3, "signal": None, "core": False, "stage": None,
    "errno": None, "reason": "", "at": 2.5, "usage": {"user": 0.5, "system": 0.25, "max_rss": 4096}, "log": {"out": 20},
    "dropped": 0,
}  # fmt: skip
WORKER = Worker("w", Spec("w", ("/bin/true",)), 0, run=Run("r1", "w", 1))


class Told:
    """A listener that notes what it is told, and can be waited for."""

    def __init__(self) -> None:
        self.notes: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.notes.put_nowait((name, *args))

    async def next(self) -> tuple[Any, ...]:
        return await asyncio.wait_for(self.notes.get(), 20)


class FakeExecutor:
    """Listens, and lets the test speak for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.links: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._decoder = frames.Decoder()
        self._messages: list[dict[str, Any]] = []

    async def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(lambda *link: self.links.put_nowait(link), self.path)

    async def accept(self) -> None:
        self.reader, self.writer = await asyncio.wait_for(self.links.get(), 20)
        self._decoder = frames.Decoder()

    async def hear(self) -> dict[str, Any]:
        while not self._messages:
            data = await asyncio.wait_for(self.reader.read(1 << 16), 20)
            assert data, "the driver hung up"
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    def say(self, *messages: dict[str, Any]) -> None:
        self.writer.write(b"".join(map(frames.pack, messages)))

    async def greet(self, **hello: Any) -> None:
        await self.accept()
        assert await self.hear() == {"op": "hello"}
        self.say({**HELLO, **hello})


def talk(tmp_path: Path, test: Callable[[ProcessDriver, FakeExecutor, Told], Awaitable[None]], **options: Any) -> None:
    """Runs a test with a driver and a made-up executor that does not listen yet."""

    async def run() -> None:
        told, executor = Told(), FakeExecutor(tmp_path / "x.sock")
        driver = ProcessDriver(str(executor.path), told, **options)  # type: ignore[arg-type]
        try:
            await test(driver, executor, told)
        finally:
            driver.close()

    asyncio.run(run())


async def connected(driver: ProcessDriver, executor: FakeExecutor, told: Told, **hello: Any) -> tuple[Any, ...]:
    await executor.listen()
    driver.open()
    await executor.greet(**hello)
    return await told.next()


def test_an_executor_of_another_version_replaces_itself_before_it_is_spoken_to(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await executor.listen()
        driver.open()
        await executor.greet(version="0.0")
        assert await executor.hear() == {"op": "reexec"}
        driver.kill("r1")  # not to the old one: the new one is asked for what is left to be done
        assert driver.facts() is None and told.notes.empty()
        executor.writer.close()
        await executor.greet(version="0.0")  # the program where it was started from is another one: once is enough
        assert (await told.next())[0] == "connected" and driver.facts() == {"pid": 77, "version": "0.0"}
        driver.ping()
        assert await executor.hear() == {"op": "ping"}

    talk(tmp_path, test)


def test_an_executor_that_cannot_replace_itself_goes_on_as_it_is(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await executor.listen()
        driver.open()
        await executor.greet(version="0.0")
        assert await executor.hear() == {"op": "reexec"}
        executor.say({"notice": "refused", "op": "reexec", "reason": "cannot do reexec: no such file"})
        assert await executor.hear() == {"op": "hello"}
        executor.say({**HELLO, "version": "0.0"})
        assert (await told.next())[0] == "connected" and driver.facts() == {"pid": 77, "version": "0.0"}

    talk(tmp_path, test)


def test_hello_tells_what_is_held_and_what_has_ended(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        assert driver.facts() is None
        runs = [
            {**STARTED, "frozen": True},
            {**STARTED, "run": "r2", "pid": None, "start_ticks": None, "frozen": False},
        ]
        word, epoch, held, ended = await connected(driver, executor, told, runs=runs, exits=[EXITED])
        assert (word, epoch) == ("connected", "e1")
        assert [(run.run, run.pid, run.frozen, run.log) for run in held] == [
            ("r1", 42, True, {"out": 10}), ("r2", None, False, {"out": 10}),
        ]  # fmt: skip
        assert ended[0].exit.code == 3 and ended[0].usage.max_rss == 4096 and ended[0].log == {"out": 20}
        assert driver.facts() == {"pid": 77, "version": __version__}

    talk(tmp_path, test)


def test_every_request_is_said_as_the_contract_has_it(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        driver.signal("r1", "SIGHUP", "tree")
        driver.freeze("r1")
        driver.thaw("r1")
        driver.kill("r1")
        driver.ack("r1")
        driver.watch("w", "out", 5)
        driver.forget("w")
        driver.ping()
        driver.spawn(WORKER)
        assert [await executor.hear() for _ in range(8)] == [
            {"op": "signal", "run": "r1", "signal": 1, "scope": "tree"},
            {"op": "freeze", "run": "r1"},
            {"op": "thaw", "run": "r1"},
            {"op": "kill", "run": "r1"},
            {"op": "ack", "run": "r1"},
            {"op": "watch", "worker": "w", "stream": "out", "offset": 5},
            {"op": "forget", "worker": "w"},
            {"op": "ping"},
        ]
        assert (await executor.hear())["op"] == "spawn"

    talk(tmp_path, test)


def test_what_runs_tell_reaches_the_listener_and_what_was_refused_the_story(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        about = {"notice": "told", "worker": "w", "run": "r1"}
        executor.say(
            {**about, "fields": {"STATUS": "x"}, "trouble": ""}, {**about, "fields": {}, "trouble": "1 refused"}
        )
        executor.say({**EXITED, "told": {"STATUS": "y"}})
        assert await told.next() == ("told", "w", "r1", {"STATUS": "x"})
        assert await told.next() == ("noted", "w", "notice", "1 refused")
        assert (await told.next())[1].told == {"STATUS": "y"}

    talk(tmp_path, test)


def test_a_run_that_is_to_give_signs_of_life_is_refused_where_nobody_would_hear_them(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        driver.spawn(Worker("w", Spec("w", ("a",), watchdog=5.0), 0, run=Run("r1", "w", 1)))
        (_, ended) = await told.next()
        assert ended.exit.reason.startswith("could not start: watchdog: the executor is of an earlier version")

    talk(tmp_path, test)


def test_sockets_for_containers_are_asked_for_and_none_are_had_without_an_executor(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        assert await driver.channels({"r1": "w"}) == {}
        await connected(driver, executor, told)
        asked = [asyncio.ensure_future(driver.channels(runs)) for runs in ({"r1": "w"}, {})]
        assert await executor.hear() == {"op": "channels", "runs": {"r1": "w"}}
        assert await executor.hear() == {"op": "channels", "runs": {}}
        executor.say({"notice": "channels", "runs": {"r1": {"path": "/p", "told": {}}}})
        executor.say({"notice": "refused", "op": "channels", "reason": "no such operation"})
        assert [await answer for answer in asked] == [{"r1": {"path": "/p", "told": {}}}, {}]


def test_of_several_who_watch_a_log_the_nearest_is_told_to_the_executor_and_none_is_forgotten(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        for offset in (1000, 20, 500):
            driver.watch("w", "out", offset)
        assert [(await executor.hear())["offset"] for _ in range(3)] == [1000, 20, 20]
        executor.say({"notice": "grew", "worker": "w", "stream": "out", "end": 30})
        assert await told.next() == ("grew", "w", "out", 30)
        driver.watch("w", "out", 500)
        driver.watch("w", "err", 7)
        assert [(await executor.hear())["offset"] for _ in range(2)] == [500, 7]

    talk(tmp_path, test)


def test_who_asks_for_an_eviction_hears_how_many_there_were_or_that_nobody_knows(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        assert await driver.evict("c1") is None
        await connected(driver, executor, told)
        asked = [asyncio.ensure_future(driver.evict(container)) for container in ("c1", "c2", "c3")]
        assert [await executor.hear() for _ in asked] == [
            {"op": "evict", "container": container} for container in ("c1", "c2", "c3")
        ]
        executor.say({"notice": "evicted", "found": 3})
        executor.say({"notice": "refused", "op": "evict", "reason": "no such operation"})
        assert [await asked[0], await asked[1]] == [3, None]
        executor.writer.close()
        assert await asked[2] is None

    talk(tmp_path, test)


def test_pressure_is_watched_by_each_executor_that_is_met(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        driver.on_pressure, driver.on_unseen = told.pressed, told.unseen
        driver.watch_pressure({"memory": 5})
        await executor.listen()
        driver.open()
        for _ in range(2):
            assert await told.next() == ("unseen", "")
            await executor.greet()
            assert (await told.next())[0] == "connected"
            assert await executor.hear() == {"op": "pressure", "stalls": {"memory": 5}}
            executor.say({"notice": "pressure", "resource": "memory"})
            assert [await told.next() for _ in range(2)] == [("unseen", ""), ("pressed",)]
            executor.writer.close()
            assert (await told.next())[0] == "lost"
            driver.watch_pressure({"memory": 5})

    talk(tmp_path, test)


def test_an_executor_that_cannot_watch_pressure_is_told_of(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        driver.on_unseen = told.unseen
        await connected(driver, executor, told)
        driver.watch_pressure({"memory": 5})
        executor.say({"notice": "refused", "op": "pressure", "reason": "cannot do 'pressure': no such operation"})
        why = "pressure on this host is not seen: cannot do 'pressure': no such operation"
        assert [await told.next() for _ in range(2)] == [("unseen", ""), ("unseen", why)]

    talk(tmp_path, test)


def test_notices_reach_the_listener_and_unknown_ones_do_no_harm(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        ponged = asyncio.Event()
        driver.on_pong = ponged.set
        executor.say(
            {"notice": "novelty", "x": 1},
            {"no": "notice"},
            {"notice": ["list"]},
            {"notice": "refused", "op": "kill", "reason": "no live run"},
            {"notice": "frozen", "run": "r1"},
            STARTED,
            {"notice": "grew", "worker": "w", "stream": "out", "end": 12},
            EXITED,
            {"notice": "pong"},
        )
        started, grew, ended = [await told.next() for _ in range(3)]
        assert (started[0], started[1].pid) == ("started", 42)
        assert grew == ("grew", "w", "out", 12)
        assert (ended[0], ended[1].exit.reason) == ("ended", "exited with code 3")
        await asyncio.wait_for(ponged.wait(), 20)

    talk(tmp_path, test)


def test_what_comes_before_the_hello_stands_in_it(tmp_path: Path) -> None:
    """A run may end between accept and hello: its start was told to a daemon that died."""

    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await executor.listen()
        driver.open()
        await executor.accept()
        await executor.hear()
        executor.say(EXITED, {**HELLO, "exits": [{**EXITED, "started": STARTED}]})
        word, _, _, ended = await told.next()
        assert word == "connected" and ended[0].started.pid == 42

    talk(tmp_path, test)


def test_it_connects_again_when_the_executor_was_away(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        executor.writer.close()
        assert (await told.next())[0] == "lost"
        assert driver.facts() is None
        driver.kill("r1")  # nobody hears it, and nobody may be hurt
        await executor.greet(epoch="e2")
        assert (await told.next())[:2] == ("connected", "e2")

    talk(tmp_path, test)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xc1",
        frames.pack({"notice": "started", "run": "r1"}),
        frames.pack({**EXITED, "kind": "novelty"}),
        frames.pack({**HELLO, "runs": 5}),
        frames.pack({"notice": "grew"}),
    ],
)
def test_an_executor_that_talks_nonsense_is_left_and_tried_again(tmp_path: Path, garbage: bytes) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        executor.writer.write(garbage)
        assert (await told.next())[0] == "lost"
        await executor.greet()
        assert (await told.next())[0] == "connected"

    talk(tmp_path, test)


def test_one_that_never_says_hello_rightly_is_asked_ever_more_seldom(tmp_path: Path, monkeypatch) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        delays: list[float] = []
        real = asyncio.sleep

        async def sleep(delay: float) -> None:
            delays.append(delay)
            await real(0)

        monkeypatch.setattr(process.asyncio, "sleep", sleep)
        await executor.listen()
        driver.open()
        for _ in range(9):
            await executor.accept()
            executor.say({**HELLO, "epoch": None, "runs": None})
        assert delays[:8] == [*process._RETRY, process._RETRY[-1]]
        assert told.notes.empty()

    talk(tmp_path, test)


def test_nothing_is_said_before_hello_is_answered(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await executor.listen()
        driver.open()
        await executor.accept()
        assert await executor.hear() == {"op": "hello"}
        driver.spawn(WORKER)
        executor.say(HELLO)
        assert (await told.next())[0] == "connected"
        driver.ping()
        assert await executor.hear() == {"op": "ping"}

    talk(tmp_path, test)


def test_an_executor_is_started_until_one_answers(tmp_path: Path) -> None:
    launches: list[int] = []

    def launch() -> None:
        launches.append(1)
        if len(launches) == 1:
            raise OSError("no space left on device")
        if len(launches) == 3:
            listening.set()

    listening = asyncio.Event()

    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        driver.open()
        await asyncio.wait_for(listening.wait(), 20)
        await executor.listen()
        await executor.greet()
        assert (await told.next())[0] == "connected"

    talk(tmp_path, test, launch=launch)


def test_leave_is_over_when_the_executor_has_gone(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        left = asyncio.Event()
        driver.on_left = left.set
        driver.leave()
        driver.leave()
        assert await executor.hear() == {"op": "leave"}
        executor.writer.close()
        await asyncio.wait_for(left.wait(), 20)
        assert told.notes.empty()

    talk(tmp_path, test)


def test_leave_reaches_an_executor_that_is_only_being_started(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        driver.open()
        left = asyncio.Event()
        driver.on_left = left.set
        driver.leave()
        await executor.listen()
        await executor.greet()
        assert await executor.hear() == {"op": "leave"}
        executor.writer.close()
        await asyncio.wait_for(left.wait(), 20)

    talk(tmp_path, test, launch=lambda: None)


def test_a_leave_that_is_refused_can_be_said_again(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        driver.leave()
        assert await executor.hear() == {"op": "leave"}
        executor.say({"notice": "refused", "op": "leave", "reason": "1 runs are alive"}, STARTED)
        await told.next()
        driver.leave()
        assert await executor.hear() == {"op": "leave"}

    talk(tmp_path, test)


def test_a_run_of_an_unknown_user_could_not_start(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        driver.spawn(Worker("w", Spec("w", ("/bin/true",), user="nobody-here"), 0, run=Run("r1", "w", 1)))
        word, ended = await told.next()
        assert (word, ended.run, ended.exit.kind, ended.exit.stage) == ("ended", "r1", ExitKind.COULD_NOT_START, "user")
        assert "no such user" in ended.exit.reason

    talk(tmp_path, test)


LIMITED = Worker("w", Spec("w", ("/bin/true",), limits=Limits(memory=1 << 20, tasks=5)), 0, run=Run("r1", "w", 1))
ENFORCED = {"files": ["memory.max", "pids.max"], "problem": ""}


def test_limits_of_the_whole_run_are_asked_for(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told, cgroup=ENFORCED)
        driver.spawn(LIMITED)
        asked = (await executor.hear())["cgroup"]
        assert asked == {"memory.max": "1048576", "memory.oom.group": "1", "pids.max": "5"}

    talk(tmp_path, test)


@pytest.mark.parametrize("hello", [{}, {"cgroup": {"files": ["pids.max"], "problem": "no controller memory"}}])
def test_a_run_whose_memory_cannot_be_limited_is_refused(tmp_path: Path, hello: dict[str, Any]) -> None:
    """By an executor that has no such controller, and by one that does not know of any."""

    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told, **hello)
        driver.spawn(LIMITED)
        word, ended = await told.next()
        assert (word, ended.exit.kind, ended.exit.stage) == ("ended", ExitKind.COULD_NOT_START, "limits")
        assert ended.exit.reason.startswith("could not start: limits.memory cannot be enforced: ")
        assert driver.unmet(LIMITED.spec)[0].field == "memory"

    talk(tmp_path, test)


def test_the_executor_is_asked_what_it_uses_itself(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        assert await driver.own_usage() is None, "it is not there yet"
        await connected(driver, executor, told)
        for pong, used in (({"cpu": 1.5, "memory": 4096}, (1.5, 4096)), ({}, None)):  # an earlier version says no more
            asked = asyncio.ensure_future(driver.own_usage())
            assert (await executor.hear())["op"] == "ping"
            executor.say({"notice": "pong", **pong})
            assert await asked == used
        asked = asyncio.ensure_future(driver.own_usage())
        await executor.hear()
        executor.writer.close()
        assert await asked is None

    talk(tmp_path, test)


def test_an_errand_is_answered_by_its_name_or_given_up_with_a_reason(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        errand = Errand(["look", "here"], timeout=5, most=100, environment={"A": "1"})
        assert (await driver.assist(WORKER, errand)).reason == "the executor cannot be reached"
        await connected(driver, executor, told)
        asked = [asyncio.ensure_future(driver.assist(WORKER, errand)) for _ in range(3)]
        heard = [await executor.hear() for _ in asked]
        first = heard[0]
        assert (first["op"], first["argv"], first["timeout"], first["most"]) == ("assist", ["look", "here"], 5, 100)
        assert (first["run"], first["worker"], first["env"]["A"], first["uid"]) == ("r1", "w", "1", None)
        executor.say({"notice": "assisted", "id": "of-another", "code": 0, "signal": None, "output": b"", "reason": ""})
        told_ = {"notice": "assisted", "code": 0, "signal": None, "reason": ""}
        executor.say({**told_, "id": heard[1]["id"], "output": b"b"}, {**told_, "id": first["id"], "output": b"a"})
        assert [(await answer).output for answer in asked[:2]] == [b"a", b"b"]
        executor.say({"notice": "refused", "op": "assist", "id": heard[2]["id"], "reason": "64 are at work"})
        assert await asked[2] == Assisted(reason="64 are at work")
        asked = [asyncio.ensure_future(driver.assist(WORKER, errand)) for _ in range(2)]
        assert {(await executor.hear())["op"] for _ in asked} == {"assist"}
        executor.say({"notice": "refused", "op": "assist", "reason": "no such operation"})  # an earlier version
        assert [(await answer).reason for answer in asked] == ["no such operation"] * 2
        lost = asyncio.ensure_future(driver.assist(WORKER, errand))
        await executor.hear()
        executor.writer.close()
        assert (await lost).reason.startswith("the executor cannot be reached: ")

    talk(tmp_path, test)


def test_who_would_be_one_too_many_waits_until_another_is_done(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        asked = [asyncio.ensure_future(driver.assist(WORKER, Errand(["x"], timeout=5))) for _ in range(65)]
        names = [(await executor.hear())["id"] for _ in range(64)]
        driver.kill("r1")
        assert (await executor.hear())["op"] == "kill", "the last one was not asked for"
        done = {"notice": "assisted", "code": 0, "signal": None, "output": b"", "reason": ""}
        executor.say({**done, "id": names[7]})
        last = await executor.hear()
        assert last["op"] == "assist"
        executor.say(*({**done, "id": name} for name in [*names[:7], *names[8:], last["id"]]))
        assert {answer.code for answer in await asyncio.gather(*asked)} == {0}

    talk(tmp_path, test)


def test_an_assistant_is_of_the_run_only_while_that_lives_and_confined_as_it_is(tmp_path: Path) -> None:
    isolation = Isolation(Preset.STRICT, **{**PRESETS[Preset.STRICT], "egress": (443,)})
    spec = Spec("w", ("/bin/true",), directory="/srv", isolation=isolation, limits=Limits(memory=1 << 20))
    worker = Worker("w", spec, 0, run=Run("r1", "w", 1, exit=Exit(ExitKind.CODE, code=0)))
    who = identify("0", None, 0, 4242)
    message = process.assist_message(worker, who, Errand(["x"], timeout=1), "7", ["memory.max"])
    spawned = spawn_message(worker, who, ["memory.max"])
    assert message["run"] is None and message["egress"] == spawned["egress"] == "egress-443"
    assert message["cgroup"] == spawned["cgroup"] and "memory.max" in message["cgroup"]
    assert message["sandbox"] == spawned["sandbox"] and message["cwd"] == "/srv"


def test_usage_is_asked_for_in_parts_and_given_up_when_the_executor_goes(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        asked = asyncio.ensure_future(driver.usage([f"r{number}" for number in range(100)]))
        parts = [(await executor.hear())["runs"] for _ in range(2)]
        assert [len(part) for part in parts] == [64, 36]
        for part in parts:
            executor.say({"notice": "usage", "runs": {part[0]: {"user": 1.0}}})
        assert await asked == {"r0": {"user": 1.0}, "r64": {"user": 1.0}}
        asked = asyncio.ensure_future(driver.usage(["r1"]))
        await executor.hear()
        executor.say({"notice": "refused", "op": "usage", "reason": "no such operation"})
        assert await asked == {}
        asked = asyncio.ensure_future(driver.usage(["r1"]))
        await executor.hear()
        executor.writer.close()
        assert await asked == {}

    talk(tmp_path, test)


def test_spawn_carries_the_whole_spec() -> None:
    spec = Spec(
        "w", ("/bin/agent", "-v"), directory="/srv", environment={"HOME": "/mine"}, environment_file=("/etc/agent.env",),
        umask=0o077, nice=5, limits=Limits(nofile=Rlimit(10, None), core=None), stop=Stop(grace=3.0),
    )  # fmt: skip
    message = spawn_message(Worker("w", spec, 0, run=Run("r1", "w", 1)), identify("daemon", None, 0, 0))
    assert message["argv"] == ["/bin/agent", "-v"] and message["cwd"] == "/srv"
    assert message["env"]["HOME"] == "/mine" and message["env"]["USER"] == "daemon"
    assert {"PATH", "USER"} <= set(message["env_defaults"]) and "HOME" not in message["env_defaults"]
    assert message["rlimits"] == {"RLIMIT_NOFILE": [10, -1]}
    assert (message["umask"], message["nice"], message["linger"]) == (0o077, 5, 3.0)
    assert "credentials" not in message, "an older executor would refuse a field that it does not know"
    assert "env_defaults" not in spawn_message(
        Worker("w", attrs.evolve(spec, environment_file=()), 0, run=Run("r1", "w", 1)), identify("daemon", None, 0, 0)
    )
    assert "secret_environment" not in message and "redact" not in message["log"]
    asked = {"credentials": {"key": "openai"}, "secret_environment": {"KEY": "openai"}, "log": Log(redact=False)}
    secret = spawn_message(
        Worker("w", attrs.evolve(spec, **asked), 0, run=Run("r1", "w", 1)), identify("daemon", None, 0, 0)
    )
    assert secret["credentials"] == {"key": "openai"} and secret["secret_environment"] == {"KEY": "openai"}
    assert secret["log"]["redact"] is False
    assert frames.Decoder().feed(frames.pack(message)) == [message]


def test_a_process_is_told_how_often_it_is_to_give_a_sign_of_life() -> None:
    who = identify("daemon", None, 0, 0)
    run, environment = Run("r1", "w", 1), {"WATCHDOG_USEC": "1"}
    spec = Spec("w", ("a",), environment=environment, watchdog=0.25)
    assert spawn_message(Worker("w", spec, 0, run=run), who)["env"]["WATCHDOG_USEC"] == "250000"
    assert "WATCHDOG_USEC" not in spawn_message(Worker("w", Spec("w", ("a",)), 0, run=run), who)["env"]


def test_a_process_is_told_its_gpus_whatever_else_says_so() -> None:
    spec = Spec("w", ("/bin/agent",), environment={"CUDA_VISIBLE_DEVICES": "7", "A": "b"}, requests=Requests(gpus=2))
    who = identify("daemon", None, 0, 0)
    leased = Run("r1", "w", 1, holds=Requests(gpus=("0", "3")))
    given = spawn_message(Worker("w", spec, 0, run=leased), who)["env"]
    assert (given["CUDA_VISIBLE_DEVICES"], given["CUDA_DEVICE_ORDER"], given["A"]) == ("0,3", "PCI_BUS_ID", "b")
    given = spawn_message(Worker("w", spec, 0, run=Run("r1", "w", 1)), who)["env"]
    assert given["CUDA_VISIBLE_DEVICES"] == "7" and "CUDA_DEVICE_ORDER" not in given


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "code", "code": 3}, "exited with code 3"),
        ({"kind": "signal", "signal": "SIGSEGV", "core": True}, "killed by SIGSEGV (core dumped)"),
        ({"kind": "signal", "signal": "SIGTERM"}, "killed by SIGTERM"),
        ({"kind": "could_not_start", "stage": "exec", "errno": 2}, "could not start: exec: No such file or directory"),
        ({"kind": "could_not_start", "stage": "exec: /x", "reason": "broken"}, "could not start: exec: /x: broken"),
        ({"kind": "out_of_memory", "signal": "SIGKILL", "memory_limit": 64 << 20, "usage": {"memory_peak": 63 << 20}},
         "out of memory: its limit is 64 MiB, its peak was 63 MiB; killed by SIGKILL"),
        ({"kind": "out_of_memory", "code": 0, "memory_limit": None},
         "out of memory: the host had none left; exited with code 0"),
        ({"kind": "lost", "reason": "the executor died"}, "the executor died"),
        ({"kind": "lost"}, "lost: nobody saw how it ended"),
    ],
)  # fmt: skip
def test_an_end_is_told_in_words(fields: dict[str, Any], words: str) -> None:
    ended = process.ended_run({**EXITED, "code": None, **fields})
    assert ended.exit.reason == words


def test_the_executor_s_user_is_taken_from_the_socket(tmp_path: Path) -> None:
    async def test(driver: ProcessDriver, executor: FakeExecutor, told: Told) -> None:
        await connected(driver, executor, told)
        driver.spawn(WORKER)
        assert (await executor.hear())["uid"] is None
        driver._uid = 4242
        driver.spawn(WORKER)
        assert (await executor.hear())["uid"] == os.geteuid()

    talk(tmp_path, test)
