"""What all drivers promise: the process driver through a real executor, the Docker driver through a real engine, and processes
with a Docker socket through both."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rdagentd.drivers.base import Driver, EndedRun, HeldRun
from rdagentd.drivers.docker import DockerDriver, Waits
from rdagentd.drivers.docker_socket import SocketDriver
from rdagentd.drivers.process import ProcessDriver
from rdagentd.drivers.socket_rules import Granted
from rdagentd.executor.evict import evict
from rdagentd.executor.notify import Channels
from rdagentd.model.container import Container, DriverName
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Limits, Log, Rlimit, Spec, Stop
from rdagentd.model.worker import Worker
from rdagentd.supervisor.logs import LogReader
from tests.cgroups import is_frozen
from tests.engine import IMAGE, Engine
from tests.harness import alive, end_process, eventually
from tests.proxy import LiveProxy

TIMEOUT = 60.0
WAITS = Waits(patience=30, grace=0.5, pulse=1)
_numbers = itertools.count(1)


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.held: dict[str, HeldRun] = {}
        self.ends: dict[str, EndedRun] = {}
        self.heard: list[tuple[str, Any]] = []
        self.said: dict[str, dict[str, str]] = {}
        self.changed = asyncio.Event()

    def connected(self, epoch: str, runs: list[HeldRun], ended: list[EndedRun]) -> None:
        self.held = {run.run: run for run in runs}
        for run in ended:
            self.ends[run.run] = run
        self._note("connected", epoch)

    def lost(self, reason: str, trouble: str = "") -> None:
        self._note("lost", trouble or reason)

    def started(self, run: HeldRun) -> None:
        self.held[run.run] = run
        self._note("started", run)

    def ended(self, run: EndedRun) -> None:
        self.ends[run.run] = run
        self._note("ended", run)

    def forgotten(self, worker: str) -> None:
        self._note("forgotten", worker)

    def grew(self, worker: str, stream: str, end: int) -> None:
        self._note("grew", (worker, stream, end))

    def told(self, worker: str, run: str, fields: Mapping[str, str]) -> None:
        self.said.setdefault(run, {}).update(fields)
        self._note("told", (worker, run, fields))

    def noted(self, worker: str, kind: str, text: str) -> None:
        self._note("noted", text)

    def proxy(self, trouble: str | None) -> None:
        self._note("proxy", trouble)

    def _note(self, what: str, value: Any) -> None:
        self.heard.append((what, value))
        self.changed.set()

    def count(self, what: str) -> int:
        return sum(1 for word, _ in self.heard if word == what)

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of the condition, looked at whenever something was told."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := condition()):
            self.changed.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self.changed.wait(), max(0, left))
            except TimeoutError:
                raise AssertionError(f"waited in vain for {what}; was told {self.heard[-5:]}") from None
        return value

    async def hello(self) -> None:
        await self.until(lambda: self.count("connected"), "the connection")

    async def start(self, run: str) -> HeldRun:
        found = await self.until(lambda: run in self.held and self.held[run].pid is not None, f"{run} to start")
        assert found
        return self.held[run]

    async def end(self, run: str) -> EndedRun:
        ended: EndedRun = await self.until(lambda: self.ends.get(run), f"the end of {run}")
        return ended


class Bench:
    """Something that runs happen on, and drivers that speak to it."""

    kind: DriverName
    logs: Path

    def driver(self, told: Told) -> Any:
        raise NotImplementedError

    def worker(self, *command: str, name: str = "w", **fields: Any) -> Worker:
        spec = Spec(name, command, **self.fields(), **fields)
        return Worker(name, spec, 0, run=Run(f"run{next(_numbers):06}", name, 1))

    def fields(self) -> dict[str, Any]:
        return {}

    def log(self, worker: Worker, stream: str = "out", start: int = 0) -> bytes:
        reader = LogReader(self.logs / worker.name / stream)
        return b"".join(piece.data for piece in reader.pieces(start, reader.bounds()[1]))

    def close(self) -> None:
        pass


class Processes(Bench):
    kind = DriverName.PROCESS

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self.socket = directory / "socket"
        command = [
            sys.executable,
            "-m",
            "rdagentd.executor",
            "--state-dir",
            str(directory),
            "--log-dir",
            str(self.logs),
        ]
        self.process = subprocess.Popen([*command, "--socket", str(self.socket)])

    def driver(self, told: Told) -> Any:
        return ProcessDriver(str(self.socket), told)

    def close(self) -> None:
        end_process(self.process.pid, b"rdagentd.executor")
        self.process.wait(TIMEOUT)


class Sockets(Processes):
    """Processes, each with a socket of the Docker proxy."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        super().__init__(directory)
        self.proxy = LiveProxy(engine.socket)
        self.proxy.start()
        self.workers: dict[str, Worker] = {}

    def worker(self, *command: str, name: str = "w", **fields: Any) -> Worker:
        self.workers[name] = super().worker(*command, name=name, **fields)
        return self.workers[name]

    def fields(self) -> dict[str, Any]:
        return {"docker_socket": True}

    def driver(self, told: Told) -> Any:
        driver = SocketDriver(str(self.proxy.socket), "a", told, self.workers.get, Granted)
        process = ProcessDriver(str(self.socket), driver)
        driver.process = process
        to_proxy, from_proxy = driver.open, driver.close
        driver.open = lambda: (to_proxy(), process.open())  # type: ignore[assignment,return-value,func-returns-value]
        driver.close = lambda: (from_proxy(), process.close())  # type: ignore[assignment,return-value,func-returns-value]
        return driver

    def close(self) -> None:
        super().close()
        self.proxy.close()


async def evicted(container: str) -> int | None:
    """As the executor does it."""
    return evict(container)


class Containers(Bench):
    kind = DriverName.DOCKER

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.home = directory / "docker"
        self.logs = self.home / "logs"
        self.engine = engine
        self.channels = Channels(str(directory), lambda run, pid: True)

    async def contain(self, runs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """As the executor does it."""
        found = self.channels.contain(runs)
        return {run: {"path": channel.place, "told": channel.told()} for run, channel in found.items()}

    def driver(self, told: Told) -> Any:
        ports = range(19899, 19910)
        return DockerDriver(str(self.engine.socket), self.home, told, ports, evicted, WAITS, self.contain)

    def fields(self) -> dict[str, Any]:
        return {"driver": DriverName.DOCKER, "container": Container(IMAGE, init=False)}

    def close(self) -> None:
        self.engine.remove_containers()


@pytest.fixture(params=["process", "docker", "socket"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench
    if request.param == "process":
        made = Processes(tmp_path)
    else:
        made = {"docker": Containers, "socket": Sockets}[request.param](tmp_path, request.getfixturevalue("engine"))
    yield made
    made.close()


def talk(bench: Bench, test: Callable[[Any, Told], Awaitable[None]]) -> None:
    """A driver that is connected, as long as a daemon lives."""

    async def run() -> None:
        told = Told()
        driver = bench.driver(told)
        driver.open()
        try:
            await told.hello()
            await test(driver, told)
        finally:
            driver.close()

    asyncio.run(run())


def shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


# --- how a run begins and ends ----------------------------------------------------------------------------------------


def test_a_run_is_started_once_however_often_it_is_asked_for(bench: Bench) -> None:
    worker = bench.worker(*shell("echo once; exec sleep 60"))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        first = await told.start(worker.run.id)  # type: ignore[union-attr]
        driver.spawn(worker)
        await told.until(lambda: told.count("started") == 2, "the second answer")
        driver.spawn(worker)
        await told.until(lambda: told.count("started") == 3, "the third answer")
        assert {held.pid for word, held in told.heard if word == "started"} == {first.pid}
        driver.watch("w", "out", 0)
        await told.until(lambda: told.count("grew"), "its word")
        driver.kill(worker.run.id)  # type: ignore[union-attr]
        await told.end(worker.run.id)  # type: ignore[union-attr]
        driver.spawn(worker)
        await told.until(lambda: told.count("ended") == 2, "the end once more")
        assert bench.log(worker) == b"once\n"

    talk(bench, test)


@pytest.mark.parametrize(
    ("program", "kind", "code", "signal"),
    [
        ("exit 0", ExitKind.CODE, 0, None),
        ("exit 42", ExitKind.CODE, 42, None),
        ("kill -USR1 $$; sleep 9", ExitKind.SIGNAL, None, "SIGUSR1"),
    ],
)
def test_how_it_ended_is_told(bench: Bench, program: str, kind: ExitKind, code: int | None, signal: str | None) -> None:
    if bench.kind is DriverName.DOCKER and signal:
        program = "sleep 0.2; exit 138"  # no signal can end the first process of a container from inside
    worker = bench.worker(*shell(program))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        assert (ended.exit.kind, ended.exit.code, ended.exit.signal) == (kind, code, signal)
        assert ended.at is not None and abs(ended.at - time.time()) < 30
        assert ended.exit.reason == (f"exited with code {code}" if signal is None else f"killed by {signal}")

    talk(bench, test)


def test_a_program_that_is_not_there_could_not_start(bench: Bench) -> None:
    worker = bench.worker("/nonexistent/program")

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        assert ended.exit.kind is ExitKind.COULD_NOT_START and ended.exit.stage
        assert ended.exit.reason.startswith("could not start: ") and "no such file" in ended.exit.reason.lower()
        assert not told.count("started")

    talk(bench, test)


def test_an_unknown_user_could_not_start(bench: Bench) -> None:
    worker = bench.worker("/bin/true", user="nobody-is-called-so")

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        assert (ended.exit.kind, ended.exit.stage) == (ExitKind.COULD_NOT_START, "user")
        assert "nobody-is-called-so" in ended.exit.reason

    talk(bench, test)


def test_environment_directory_user_and_limits_are_as_asked(bench: Bench) -> None:
    program = "echo $WORD; pwd; id -u; id -g; ulimit -n; ulimit -c; echo $RDAGENTD_RUN"
    fields = {"environment": {"WORD": "a b"}, "directory": "/tmp", "user": "nobody"}
    worker = bench.worker(*shell(program), limits=Limits(nofile=Rlimit(77, 77)), **fields)

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        await told.end(worker.run.id)  # type: ignore[union-attr]
        said = bench.log(worker).decode().splitlines()
        assert said == ["a b", "/tmp", "65534", "65534", "77", "0", worker.run.id]  # type: ignore[union-attr]

    talk(bench, test)


# --- while it runs ----------------------------------------------------------------------------------------------------


def test_a_signal_reaches_the_program_by_name(bench: Bench) -> None:
    worker = bench.worker(*shell("trap 'echo got it; exit 5' USR2; echo ready; while :; do sleep 0.1; done"))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        await told.start(worker.run.id)  # type: ignore[union-attr]
        await has_said(driver, told, bench, worker, b"ready\n")
        driver.signal(worker.run.id, "SIGUSR2", "main")  # type: ignore[union-attr]
        assert (await told.end(worker.run.id)).exit.code == 5  # type: ignore[union-attr]
        assert bench.log(worker) == b"ready\ngot it\n"

    talk(bench, test)


_TELL = """
import os, socket
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.sendto(b"STATUS=within\\nWATCHDOG=1", os.environ["NOTIFY_SOCKET"])
print(os.environ["WATCHDOG_USEC"])
"""


def test_what_a_run_tells_of_itself_stands_in_its_end_whoever_hears_that(bench: Bench) -> None:
    worker = bench.worker("/usr/bin/python3", "-I", "-S", "-c", _TELL, watchdog=2.5)
    if worker.spec.container is not None:  # the image has no Python
        hosts = ("/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro")
        worker = evolve(worker, spec=evolve(worker.spec, container=evolve(worker.spec.container, volumes=hosts)))
    run = worker.run.id  # type: ignore[union-attr]

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(run)
        assert (ended.exit.code, ended.told) == (0, {"STATUS": "within", "WATCHDOG": "1"}), bench.log(worker)
        assert bench.log(worker) == b"2500000\n"

    async def later(driver: Driver, told: Told) -> None:
        assert (await told.end(run)).told == {"STATUS": "within", "WATCHDOG": "1"}
        driver.ack(run)

    talk(bench, test)
    talk(bench, later)


def test_a_frozen_run_does_nothing_until_it_is_thawed(bench: Bench) -> None:
    worker = bench.worker(*shell("i=0; while sleep 0.05; do echo $((i+=1)); done"))

    async def test(driver: Driver, told: Told) -> None:
        run = worker.run.id  # type: ignore[union-attr]
        driver.spawn(worker)
        await told.start(run)
        await has_said(driver, told, bench, worker, b"1\n")
        driver.freeze(run)
        driver.freeze(run)
        await eventually_frozen(driver, told, bench, run)
        await driver.catch_up("w")
        before = bench.log(worker)
        await asyncio.sleep(0.5)
        await driver.catch_up("w")
        assert bench.log(worker) == before
        driver.thaw(run)
        await has_said(driver, told, bench, worker, b"%d\n" % (before.count(10) + 1))
        driver.freeze(run)
        driver.kill(run)  # a frozen run dies too
        assert (await told.end(run)).exit.signal == "SIGKILL"

    talk(bench, test)


def test_kill_ends_children_that_went_away_into_sessions_of_their_own(bench: Bench) -> None:
    mark = f"sleep 3{time.time_ns() % 10**7:07}"
    worker = bench.worker(*shell(f"setsid {mark} & (setsid {mark} &) ; trap '' TERM; echo up; {mark}; {mark}"))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        await told.start(worker.run.id)  # type: ignore[union-attr]
        await asyncio.to_thread(eventually, lambda: len(called(mark)) >= 3, "three sleeps")
        driver.kill(worker.run.id)  # type: ignore[union-attr]
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        assert (ended.exit.kind, ended.exit.signal) == (ExitKind.SIGNAL, "SIGKILL")
        assert called(mark) == []

    talk(bench, test)


def test_what_a_main_process_leaves_behind_ends_with_the_run(bench: Bench) -> None:
    mark = f"sleep 4{time.time_ns() % 10**7:07}"
    worker = bench.worker(*shell(f"setsid {mark} & sleep 0.3"), stop=Stop(grace=0.5))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        assert (await told.end(worker.run.id)).exit.code == 0  # type: ignore[union-attr]
        assert called(mark) == []

    talk(bench, test)


# --- while nobody looks -----------------------------------------------------------------------------------------------


def test_a_run_outlives_its_daemon_and_is_held_again(bench: Bench) -> None:
    worker = bench.worker(*shell("echo before; sleep 1; echo after; exec sleep 60"))
    run = worker.run.id  # type: ignore[union-attr]
    first: list[HeldRun] = []

    async def begin(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        first.append(await told.start(run))

    async def go_on(driver: Driver, told: Told) -> None:
        held = told.held[run]
        assert (held.pid, held.worker, held.start_ticks, held.log) == (
            first[0].pid, "w", first[0].start_ticks, first[0].log,
        )  # fmt: skip
        await has_said(driver, told, bench, worker, b"before\nafter\n")
        driver.kill(run)
        await told.end(run)

    talk(bench, begin)
    talk(bench, go_on)


def test_an_end_that_nobody_saw_is_told_until_it_is_acknowledged(bench: Bench) -> None:
    worker = bench.worker(*shell("echo words; sleep 0.3; echo last words; exit 9"))
    run = worker.run.id  # type: ignore[union-attr]

    async def begin(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        await told.start(run)

    async def look(driver: Driver, told: Told) -> None:
        ended = await told.end(run)
        assert (ended.exit.code, ended.started and ended.started.log) == (9, {"out": 0})
        assert ended.log == {"out": 17} and bench.log(worker) == b"words\nlast words\n"

    async def acknowledge(driver: Driver, told: Told) -> None:
        await look(driver, told)
        driver.ack(run)
        await settled(driver)

    async def nothing(driver: Driver, told: Told) -> None:
        assert run not in told.held and run not in told.ends

    talk(bench, begin)
    for step in (look, look, acknowledge, nothing):
        talk(bench, step)


# --- output -----------------------------------------------------------------------------------------------------------


def test_all_output_is_there_when_the_end_is_told(bench: Bench) -> None:
    worker = bench.worker(*shell("seq 1 200000; echo error >&2"), log=Log(separate=True))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        whole = b"".join(b"%d\n" % number for number in range(1, 200_001))
        assert bench.log(worker) == whole
        assert bench.log(worker, "err") == b"error\n"
        assert ended.log == {"out": len(whole), "err": 6}

    talk(bench, test)


def test_the_next_run_goes_on_where_the_log_ends(bench: Bench) -> None:
    first = bench.worker(*shell("printf 'one '"))
    second = evolve(bench.worker(*shell("printf two")), name="w")

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(first)
        assert (await told.end(first.run.id)).log == {"out": 4}  # type: ignore[union-attr]
        driver.ack(first.run.id)  # type: ignore[union-attr]
        driver.spawn(second)
        ended = await told.end(second.run.id)  # type: ignore[union-attr]
        assert (ended.started and ended.started.log, ended.log) == ({"out": 4}, {"out": 7})
        assert bench.log(first) == b"one two"
        driver.forget("w")
        await asyncio.to_thread(eventually, lambda: not (bench.logs / "w").exists(), "the log to be gone")

    talk(bench, test)


def test_who_watches_is_told_that_the_log_grew(bench: Bench) -> None:
    worker = bench.worker(*shell("echo 1; sleep 0.5; echo 2; exec sleep 60"))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        await told.start(worker.run.id)  # type: ignore[union-attr]
        await has_said(driver, told, bench, worker, b"1\n2\n")
        driver.watch(worker.name, "out", 2)
        await told.until(
            lambda: any(word == "grew" and value[2] == 4 for word, value in told.heard), "the whole to be told"
        )
        grown = [value for word, value in told.heard if word == "grew"]
        assert grown and {(name, stream) for name, stream, _ in grown} == {("w", "out")} and grown[-1][2] == 4
        driver.kill(worker.run.id)  # type: ignore[union-attr]
        await told.end(worker.run.id)  # type: ignore[union-attr]

    talk(bench, test)


def test_the_log_keeps_to_its_cap(bench: Bench) -> None:
    worker = bench.worker(*shell("seq 1 100000"), log=Log(cap=100 << 10, segment=20 << 10))

    async def test(driver: Driver, told: Told) -> None:
        driver.spawn(worker)
        ended = await told.end(worker.run.id)  # type: ignore[union-attr]
        kept = sum(path.stat().st_size for path in (bench.logs / "w" / "out").glob("*.log"))
        assert kept <= (120 << 10) + 65536, "more than the cap, and one piece"
        assert bench.log(worker).endswith(b"\n99999\n100000\n") and ended.log["out"] == 588_895

    talk(bench, test)


# --- helpers ----------------------------------------------------------------------------------------------------------


async def has_said(driver: Driver, told: Told, bench: Bench, worker: Worker, words: bytes) -> None:
    """Waits, as `rdagentctl logs --follow` does, until the log holds these words."""
    while words not in (said := bench.log(worker)):
        told.changed.clear()
        driver.watch(worker.name, "out", len(said))
        await asyncio.wait_for(told.changed.wait(), TIMEOUT)


def unread(pid: int) -> int:
    """Bytes in the pipe into which a process writes."""
    with open(f"/proc/{pid}/fd/1", "rb", buffering=0) as pipe:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


async def eventually_frozen(driver: Any, told: Told, bench: Bench, run: str) -> None:
    """Waits until the run is frozen, and looks, where that does not push the first one out, through another driver."""
    if not isinstance(bench, Containers):
        main = told.held[run].pid or 0
        still = "it to be frozen, and what it wrote to be read"
        await asyncio.to_thread(eventually, lambda: is_frozen(main) and not unread(main), still)
        await settled(driver)
        return
    engine = bench.engine
    await asyncio.to_thread(
        eventually, lambda: engine.call("GET", "/containers/json")[0]["State"] == "paused", "it to be paused"
    )
    again = Told()
    other = bench.driver(again)
    other.open()
    try:
        await again.hello()
        assert again.held[run].frozen
    finally:
        other.close()


async def settled(driver: Any) -> None:
    """What was asked is done."""
    tasks = getattr(driver, "_tasks", None)
    if tasks is None:  # the executor does it in the order of the requests
        await getattr(driver, "process", driver).own_usage()
    while tasks:
        await asyncio.wait(set(tasks))


def called(mark: str) -> list[int]:
    """Live processes with this command line."""
    found = []
    wanted = mark.replace(" ", "\0").encode() + b"\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes() == wanted and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found
