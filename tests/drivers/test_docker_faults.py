"""An engine that is slow, stuck, killed, restarted or absent, answers that are lost: nothing is doubled, nothing forgotten."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rdagentd.drivers import docker
from rdagentd.drivers.docker import DockerDriver, Waits
from rdagentd.executor.evict import evict
from rdagentd.model.container import Container, DriverName, Pull
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Limits, Spec
from rdagentd.model.worker import Worker
from tests.between import Between
from tests.drivers.test_conformance import Told, evicted, settled
from tests.engine import IMAGE, Engine, unavailable
from tests.harness import alive, eventually

WAITS = Waits(patience=30, grace=1, pulse=0.5)
IMPATIENT = Waits(patience=5, grace=1, pulse=0.5)
"""For engines that do not answer: only for the first connection, or a busy machine would be taken for one."""


@pytest.fixture(scope="module")
def weak() -> Iterator[Engine]:
    """An engine that may be killed: it belongs to this file alone."""
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Engine() as engine:
        yield engine


class Bench:
    """A driver, an engine, and the file in which each run of the test's worker notes that it began."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        self.own = directory / "own"
        self.own.mkdir(mode=0o777)

    def worker(self, program: str, run: str, limits: Limits | None = None) -> Worker:
        container = Container(IMAGE, volumes=(f"{self.own}:/own:rw",))
        command = ("sh", "-c", f"echo $RDAGENTD_RUN >> /own/began; {program}")
        spec = Spec("w", command, DriverName.DOCKER, container, limits=limits or Limits())
        return Worker("w", spec, 0, run=Run(run, "w", 1))

    def began(self) -> list[str]:
        path = self.own / "began"
        return path.read_text().split() if path.exists() else []

    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.engine.call("GET", "/containers/json?all=1")
        return found

    def talk(
        self, test: Callable[[DockerDriver, Told], Awaitable[None]], socket: Path | None = None, waits: Waits = WAITS
    ) -> None:
        async def run() -> None:
            told = Told()
            driver = DockerDriver(
                str(socket or self.engine.socket), self.directory / "docker", told, range(1, 2), evicted, waits
            )
            driver.open()
            try:
                await test(driver, told)
            finally:
                driver.close()

        asyncio.run(run())


@pytest.fixture
def bench(tmp_path: Path, weak: Engine) -> Iterator[Bench]:
    tmp_path.chmod(0o755)
    made = Bench(tmp_path, weak)
    yield made
    if not weak.is_up:  # a test has failed that had stopped it; it shall be the only one
        weak.start()
    weak.remove_containers()


@pytest.mark.parametrize("request_line", [b"POST /v1.41/containers/create", b"/start"])
def test_a_request_whose_answer_is_lost_leads_to_one_container_that_runs_once(
    bench: Bench, request_line: bytes
) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        between.swallow = request_line
        worker = bench.worker("exit 3", "lost1")
        driver.spawn(worker)
        await told.until(lambda: told.count("connected") >= 2 or told.ends, "the second connection")
        driver.spawn(worker)  # what the core says again
        assert (await told.end("lost1")).exit.code == 3
        assert between.swallowed == 1 and bench.began() == ["lost1"] and len(bench.containers()) == 1
        driver.ack("lost1")
        await settled(driver)
        assert bench.containers() == []

    between = Between(bench.directory, bench.engine.socket)

    async def both(driver: DockerDriver, told: Told) -> None:
        async with between:
            await test(driver, told)

    bench.talk(both, between.socket)


def test_a_container_that_is_made_when_nobody_waits_for_it_any_more_is_told(bench: Bench) -> None:
    """A request that lay in the socket of a stuck engine is carried out after the next connection has looked at everything."""
    looked = asyncio.Event()

    class Late(Between):
        async def held_there(self, request: bytes) -> None:
            if b"/containers/create" in request:
                await looked.wait()

    between = Late(bench.directory, bench.engine.socket)

    async def test(driver: DockerDriver, told: Told) -> None:
        async with between:
            await told.hello()
            driver._waits = WAITS
            driver.spawn(bench.worker("exit 0", "stale1"))
            await told.until(lambda: told.count("connected") >= 2, "the second connection")
            assert told.held == {} and bench.containers() == []
            looked.set()
            await told.until(lambda: "stale1" in told.held, "the container to be told")
            driver.kill("stale1")  # it has no owner by now
            assert (await told.end("stale1")).exit.signal == "SIGKILL"
            driver.ack("stale1")
            await settled(driver)
            assert bench.containers() == [] and bench.began() == []

    bench.talk(test, between.socket, IMPATIENT)


def test_a_slow_engine_is_waited_for(bench: Bench) -> None:
    between = Between(bench.directory, bench.engine.socket)
    between.delay = 0.3

    async def test(driver: DockerDriver, told: Told) -> None:
        async with between:
            await told.hello()
            driver.spawn(bench.worker("exec sleep 60", "slow1"))
            await told.start("slow1")
            driver.freeze("slow1")
            driver.kill("slow1")
            assert (await told.end("slow1")).exit.signal == "SIGKILL"
            assert bench.began() == ["slow1"]

    bench.talk(test, between.socket)


def test_a_stuck_engine_is_told_with_the_time_since_when_and_loses_nothing(bench: Bench) -> None:
    async def begin(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("until [ -e /own/stuck ]; do sleep 0.1; done; exit 4", "stuck1"))
        await told.start("stuck1")

    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        told.heard.clear()
        driver._waits = WAITS
        os.kill(bench.engine.pid, signal.SIGSTOP)
        try:
            await told.until(lambda: told.count("lost"), "the trouble")
            trouble = next(text for word, text in told.heard if word == "lost")
            assert trouble.startswith("does not answer since ") and str(bench.engine.socket) in trouble
            driver.spawn(bench.worker("exit 0", "stuck2"))  # nobody can be asked: the core says it again later
            (bench.own / "stuck").touch()
            await asyncio.sleep(3)  # requests to connect are waiting in its socket now
        finally:
            os.kill(bench.engine.pid, signal.SIGCONT)
        await told.until(lambda: told.count("connected"), "the second connection")
        assert (await told.end("stuck1")).exit.code == 4
        assert bench.began() == ["stuck1"]

    bench.talk(begin)
    bench.talk(test, waits=IMPATIENT)


def test_a_start_that_lies_in_the_socket_of_a_stuck_engine_happens_once(bench: Bench) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        told.heard.clear()
        driver._waits = WAITS
        os.kill(bench.engine.pid, signal.SIGSTOP)
        try:
            worker = bench.worker("exit 5", "late1")
            driver.spawn(worker)
            await told.until(lambda: told.count("lost"), "the trouble")
        finally:
            os.kill(bench.engine.pid, signal.SIGCONT)
        await told.until(lambda: told.count("connected"), "the second connection")
        driver.spawn(worker)
        assert (await told.end("late1")).exit.code == 5
        await settled(driver)
        assert bench.began() == ["late1"]

    bench.talk(test, waits=IMPATIENT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_that_comes_back_is_asked_what_became_of_the_runs(bench: Bench, number: signal.Signals) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("exec sleep 600", "again1"))
        await told.start("again1")
        await asyncio.to_thread(eventually, bench.began, "its program to begin")
        await asyncio.to_thread(bench.engine.stop, number)
        await told.until(lambda: told.count("lost"), "the trouble")
        await asyncio.to_thread(bench.engine.start)
        await told.until(lambda: told.count("connected") >= 2, "the second connection")
        ended = await told.end("again1")
        assert ended.exit.kind in (ExitKind.SIGNAL, ExitKind.CODE) and ended.exit.code != 0
        assert ended.started is not None and ended.started.container is not None
        driver.ack("again1")
        driver.spawn(bench.worker("exit 0", "again2"))
        assert (await told.end("again2")).exit.code == 0
        assert bench.began() == ["again1", "again2"]

    bench.talk(test)


def test_an_end_that_the_engine_missed_is_not_told_as_success(bench: Bench) -> None:
    """It dies with all that watches the container; when it is back it says that the exit code was 0, or 255."""

    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("exec sleep 600", "missed1"))
        held = await told.start("missed1")
        pid = bench.engine.call("GET", f"/containers/{held.container}/json")["State"]["Pid"]
        shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert b"containerd-shim" in Path(f"/proc/{shim}/cmdline").read_bytes()
        await asyncio.to_thread(bench.engine.stop, signal.SIGKILL)
        for process in (shim, pid):
            os.kill(process, signal.SIGKILL)
        await asyncio.to_thread(bench.engine.start)
        ended = await told.end("missed1")
        assert ended.exit.kind is ExitKind.LOST and ended.exit.code in (0, 255)
        assert "may not have seen how it ended" in ended.exit.reason

    bench.talk(test)


def test_a_run_that_an_engine_may_have_started_before_it_died_is_not_started_again(bench: Bench) -> None:
    """Killed at that moment it has forgotten that it did; here it did not, and nobody can tell."""

    class Late(Between):
        def late_there(self, request: bytes) -> float:
            return 60.0 if b"/start HTTP" in request else 0.0

    between = Late(bench.directory, bench.engine.socket)

    async def test(driver: DockerDriver, told: Told) -> None:
        async with between:
            await told.hello()
            driver.spawn(bench.worker("exit 0", "forgot1"))
            await asyncio.to_thread(eventually, bench.containers, "the container")
            await asyncio.to_thread(bench.engine.stop, signal.SIGKILL)
            await asyncio.to_thread(bench.engine.start)
            ended = await told.end("forgot1")
            assert ended.exit.kind is ExitKind.LOST
            assert ended.exit.reason == "lost: Docker was restarted before it had started it, or had noted that it did"
            driver.ack("forgot1")
            await settled(driver)
            assert bench.containers() == [] and bench.began() == []

    bench.talk(test, between.socket)


def test_a_program_that_its_engine_has_forgotten_is_ended_before_its_run_is_told_to_be_lost(bench: Bench) -> None:
    """An engine that is killed in the middle of a start keeps "created" on disk; the program runs, unknown to the next one."""

    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("sleep 600 & exec sleep 600", "ghost1"))
        held = await told.start("ghost1")
        await asyncio.to_thread(bench.engine.stop, signal.SIGKILL)
        kept = bench.engine.directory / f"data/containers/{held.container}/config.v2.json"
        config = json.loads(kept.read_text())
        never = "0001-01-01T00:00:00Z"
        config["State"] |= {"Running": False, "Pid": 0, "ExitCode": 0, "StartedAt": never, "FinishedAt": never}
        kept.write_text(json.dumps(config))
        await asyncio.to_thread(bench.engine.start)
        ended = await told.end("ghost1")
        assert ended.exit.kind is ExitKind.LOST and not alive(held.pid or 0)
        driver.ack("ghost1")
        await settled(driver)
        assert bench.containers() == []

    bench.engine.keep_containers(True)
    try:
        bench.talk(test)
    finally:
        bench.engine.keep_containers(False)


def test_without_an_executor_nobody_tells_what_became_of_a_container(bench: Bench) -> None:
    async def absent(container: str) -> int | None:
        return None

    async def begin(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("exec sleep 600", "untold1"))
        held = await told.start("untold1")
        pid = bench.engine.call("GET", f"/containers/{held.container}/json")["State"]["Pid"]
        await asyncio.to_thread(bench.engine.stop, signal.SIGKILL)
        assert evict(held.container or "") >= 2  # with its shim, so that nobody sees the end
        await asyncio.to_thread(eventually, lambda: not alive(pid), "its program to end")
        await asyncio.to_thread(bench.engine.start)

    async def take_up(driver: DockerDriver, told: Told) -> None:
        driver._evict = absent
        await told.until(lambda: told.count("lost"), "the trouble")
        assert told.count("connected") == 0 and "the executor is not there" in told.heard[0][1]
        driver._evict = evicted
        assert (await told.end("untold1")).exit.kind is ExitKind.LOST

    bench.talk(begin)
    bench.talk(take_up)


def test_an_end_that_the_engine_alone_saw_is_believed(bench: Bench) -> None:
    async def begin(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("sleep 1; exit 0", "alone1"))
        await told.start("alone1")

    async def take_up(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        assert (await told.end("alone1")).exit.reason == "exited with code 0"

    bench.talk(begin)
    found = bench.containers()[0]["Id"]
    bench.engine.call("POST", f"/containers/{found}/wait")
    bench.talk(take_up)


def test_an_engine_that_is_absent_at_first_is_found_when_it_comes(bench: Bench) -> None:
    bench.engine.stop()

    async def test(driver: DockerDriver, told: Told) -> None:
        await told.until(lambda: told.count("lost"), "the trouble")
        assert told.heard[0][1].startswith("cannot be reached since ")
        await asyncio.to_thread(bench.engine.start)
        await told.hello()
        driver.spawn(bench.worker("exit 0", "first1"))
        assert (await told.end("first1")).exit.code == 0

    try:
        bench.talk(test)
    finally:
        if not bench.engine.is_up:
            bench.engine.start()


def test_a_container_that_somebody_else_removes_is_told_as_lost_with_its_last_word(bench: Bench) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("exec sleep 600", "gone1"))
        held = await told.start("gone1")
        path = f"/containers/{held.container}?force=1"
        await asyncio.to_thread(bench.engine.call, "DELETE", path)
        ended = await told.end("gone1")
        assert ended.exit.kind in (ExitKind.LOST, ExitKind.SIGNAL)
        assert ended.exit.signal == "SIGKILL" or (ended.exit.code == 137 and "removed by somebody" in ended.exit.reason)

    bench.talk(test)


SILENT = {
    b'"OOMKilled":true': b'"OOMKilled":null',
    b'"Action":"oom"': b'"Action":"moo"',
    b'"status":"oom"': b'"status":"moo"',
}
"""What an engine never says that looked after the cgroup was gone."""

SMALL = Limits(memory=64 << 20, swap=0)


@pytest.mark.parametrize(
    ("counted", "by_hand", "end"),
    [
        pytest.param(True, False, ExitKind.OUT_OF_MEMORY, id="the kernel's count has grown"),
        pytest.param(False, False, ExitKind.SIGNAL, id="the kernel's count has not grown"),
        pytest.param(True, True, ExitKind.SIGNAL, id="somebody killed it through the engine"),
    ],
)
def test_memory_was_the_reason_of_an_end_if_the_kernel_says_so_and_the_engine_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, counted: bool, by_hand: bool, end: ExitKind
) -> None:
    if not counted:  # others on this host may run out of memory meanwhile
        monkeypatch.setattr(docker, "_oom_kills", lambda: 7)
    elif by_hand:
        monkeypatch.setattr(docker, "_oom_kills", itertools.count(7).__next__)

    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("exec sleep 600" if by_hand else "exec tail </dev/zero", "memory1", SMALL))
        held = await told.start("memory1")
        if by_hand:
            await asyncio.to_thread(bench.engine.call, "POST", f"/containers/{held.container}/kill?signal=KILL")
        ended = await told.end("memory1")
        assert (ended.exit.kind, ended.exit.signal) == (end, "SIGKILL")
        assert ended.exit.reason.startswith("out of memory: its limit is 64 MiB") is (end is ExitKind.OUT_OF_MEMORY)

    between = Between(bench.directory, bench.engine.socket)
    between.changed = SILENT

    async def both(driver: DockerDriver, told: Told) -> None:
        async with between:
            await test(driver, told)

    bench.talk(both, between.socket)


def test_a_run_that_ends_while_its_image_is_fetched_or_is_missing_never_began(bench: Bench) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        worker = bench.worker("exit 0", "image1")
        container = Container("no-such-image:1", pull=Pull.NEVER)
        worker = Worker("w", Spec("w", ("x",), DriverName.DOCKER, container), 0, run=worker.run)
        driver.spawn(worker)
        ended = await told.end("image1")
        assert (ended.exit.kind, ended.exit.stage) == (ExitKind.COULD_NOT_START, "image")
        assert "docker pull no-such-image:1" in ended.exit.reason and bench.containers() == []

    bench.talk(test)


def test_out_of_memory_is_an_end_of_its_own(bench: Bench) -> None:
    async def test(driver: DockerDriver, told: Told) -> None:
        await told.hello()
        driver.spawn(bench.worker("tail /dev/zero", "memory1", Limits(memory=16 << 20)))
        ended = await told.end("memory1")
        assert ended.exit.kind is ExitKind.OUT_OF_MEMORY
        assert ended.exit.reason.startswith("out of memory: its limit is 16 MiB; ")

    bench.talk(test)
