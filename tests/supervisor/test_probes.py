"""Probes: never two of one check, not too many at a time, and what each way of asking comes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.drivers.base import Assisted, Errand
from rdagentd.model.container import Container, DriverName, Network
from rdagentd.model.health import Check, Health, HealthCheck, Probe
from rdagentd.model.measures import Measures
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor import probes as module
from rdagentd.supervisor.probes import Probes

from .test_asking import hangs, in_loop, says, server

OK = says(b"HTTP/1.1 200 OK\r\n\r\n")


class Host:
    """The drivers, and the core that hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[ev.Checked] = asyncio.Queue()
        self.assisted = Assisted(0)
        self.errands: list[Errand] = []
        self.used: dict[str, Any] = {}
        self.told: Mapping[str, Any] | None = None
        self.ports: Sequence[int] = ()
        self.probes = Probes(self.heard.put_nowait, self, self)  # type: ignore[arg-type]

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        self.errands.append(errand)
        return self.assisted

    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return {run: self.used for run in runs if self.used}

    async def catch_up(self, worker: str) -> None:
        """Nothing."""

    def leased(self, run: str) -> Sequence[int]:
        return self.ports

    async def health(self, run: str) -> Mapping[str, Any] | None:
        return self.told

    async def ask(self, worker: Worker, check: Check = Check.HEALTH) -> tuple[bool, str]:
        """What is told to the core."""
        self.probes.ask(fx.Probe(worker, check))
        async with asyncio.timeout(60):
            heard = await self.heard.get()
        assert (heard.worker, heard.run, heard.probe) == (worker.name, "r1", check)
        return heard.ok, heard.text

    async def cannot(self, worker: Worker) -> str:
        """Why nobody was asked."""
        self.probes.ask(fx.Probe(worker, Check.HEALTH))
        async with asyncio.timeout(60):
            await asyncio.gather(*(known.task for known in self.probes._under_way.values()))
        assert self.heard.empty()
        last = self.probes.answers(worker.name)[Check.HEALTH][-1]
        assert last.ok is None
        return last.text


@pytest.fixture
def host() -> Host:
    return Host()


def worker(name: str = "w", container: Container | None = None, **asked: Any) -> Worker:
    driver = DriverName.PROCESS if container is None else DriverName.DOCKER
    check = asked.pop("check", None) or HealthCheck(**asked)
    spec = Spec(name, ("x",), driver, container, health=check, environment={"API_KEY": "hunter22-and-more"})
    run = Run("r1", name, 1, started_at=time.time())
    return Worker(
        name, spec, 0, state=State.RUNNING, run=run, health=Health.STARTING, probed_from=time.monotonic() - 1000
    )


# --- how many ---------------------------------------------------------------------------------------------------------


@in_loop
async def test_400_workers_whose_servers_hang_are_asked_at_most_256_at_a_time_and_each_once(host: Host) -> None:
    here, most, asked = 0, 0, 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal here, most, asked
        here, asked = here + 1, asked + 1
        most = max(most, here)
        if here == module._AT_ONCE:
            full.set()
        await hangs(reader, writer)
        here -= 1

    async with server(serve) as address:
        ones = [worker(f"w{number}", http=f"http://{address}/", timeout=300.0) for number in range(400)]
        for _ in range(3):
            for one in ones:
                host.probes.ask(fx.Probe(one, Check.HEALTH))
        async with asyncio.timeout(60):
            await full.wait()
        assert (most, asked) == (256, 256)
        assert len(host.probes._under_way) == 400
        for one in ones:  # those who stop make room at once, and are not heard of any more
            host.probes.follow(evolve(one, state=State.STOPPING))
        assert host.probes._under_way == {}
        assert await host.ask(worker("last", tcp=address)) == (True, f"{address} accepts connections")
    assert host.heard.empty()


@in_loop
async def test_a_check_is_asked_again_once_it_was_answered(host: Host) -> None:
    async with server(OK) as address:
        one = worker(http=f"http://{address}/")
        for _ in range(5):
            assert await host.ask(one) == (True, f"GET http://{address}/: HTTP 200 OK")
    told = host.probes.answers("w")[Check.HEALTH]
    assert len(told) == 3 and all(answer.ok and abs(answer.at - time.time()) < 600 for answer in told)
    host.probes.forget("w")
    assert host.probes.answers("w") == {}


@in_loop
async def test_answers_are_those_of_this_run(host: Host) -> None:
    host.assisted = Assisted(1)
    one = worker(exec=("x",))
    await host.ask(one)
    host.probes.follow(evolve(one, run=Run("r2", "w", 1)))
    assert host.probes.answers("w") == {}


@in_loop
async def test_liveness_does_not_hold_up_readiness(host: Host) -> None:
    async with server(hangs) as address, server(OK) as other:
        check = HealthCheck(http=f"http://{address}/", timeout=300.0, ready=Probe(http=f"http://{other}/"))
        one = worker(check=check)
        host.probes.ask(fx.Probe(one, Check.HEALTH))
        assert await host.ask(one, Check.READY) == (True, f"GET http://{other}/: HTTP 200 OK")
        host.probes.forget("w")


@in_loop
async def test_no_answer_in_time_is_a_failure(host: Host) -> None:
    async with server(hangs) as address:
        told = await host.ask(worker(http=f"http://{address}/", timeout=0.1))
        assert told == (False, f"GET http://{address}/: no answer within 0.1 s")


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assisted", "told"),
    [
        (Assisted(0, output=b"PONG\n"), (True, "redis-cli exited with 0: PONG")),
        (Assisted(3), (False, "redis-cli exited with 3")),
        (Assisted(1, output=b"a\nkey hunter22-and-more\n\n"), (False, "redis-cli exited with 1: key [redacted API_KEY]")),
        (Assisted(None, "SIGKILL", b"", "it did not end within 10 s"), (False, "redis-cli: it did not end within 10 s")),
        (Assisted(None, "SIGSEGV"), (False, "redis-cli: killed by SIGSEGV")),
        (Assisted(124, reason="it did not end within 10 s"), (False, "redis-cli: it did not end within 10 s")),
        (Assisted(reason="cannot start: exec redis-cli: no such file or directory"),
         (False, "redis-cli: cannot start: exec redis-cli: no such file or directory")),
    ],
)  # fmt: skip
@in_loop
async def test_a_program_says_by_its_code(host: Host, assisted: Assisted, told: tuple[bool, str]) -> None:
    host.assisted = assisted
    assert await host.ask(worker(exec=("redis-cli", "ping"))) == told
    assert (host.errands[0].command, host.errands[0].timeout) == (("redis-cli", "ping"), 10.0)


@pytest.mark.parametrize(
    "reason", ["the executor cannot be reached", "cannot do assist: 64 are at work; ask again later"]
)
@in_loop
async def test_who_cannot_ask_says_nothing_about_the_worker(host: Host, reason: str) -> None:
    host.assisted = Assisted(reason=reason)
    assert await host.cannot(worker(exec=("x",))) == reason


@in_loop
async def test_a_defect_of_ours_counts_for_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.assisted = None  # type: ignore[assignment]
    assert "defect" in await host.cannot(worker(exec=("x",)))
    assert "cannot ask w" in caplog.text


# --- containers -------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_port_of_a_container_is_asked_where_it_is_published(host: Host) -> None:
    async with server(OK) as address:
        one = worker(container=Container("i", ports=("53/udp", "8501/tcp")), http="http://127.0.0.1:8501/x")
        assert "nobody knows yet" in await host.cannot(one)
        host.ports = (9, int(address.rpartition(":")[2]))
        assert await host.ask(one) == (True, "GET http://127.0.0.1:8501/x: HTTP 200 OK")
        on_the_host = worker(container=Container("i", network=Network.HOST), tcp=address)
        assert await host.ask(on_the_host) == (True, f"{address} accepts connections")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({"Status": "healthy", "Log": [{"Output": "fine\n"}]}, (True, "the engine says that it is healthy: fine")),
        ({"Status": "unhealthy", "Log": []}, (False, "the engine says that it is unhealthy")),
        ({}, (False, "its image has no HEALTHCHECK")),
    ],
)
@in_loop
async def test_the_engine_s_word_is_taken(host: Host, told: dict[str, Any], meant: tuple[bool, str]) -> None:
    host.told = told
    assert await host.ask(worker(container=Container("i"), docker=True)) == meant


@in_loop
async def test_an_engine_that_says_nothing_yet_says_nothing(host: Host) -> None:
    one = worker(container=Container("i"), docker=True)
    assert await host.cannot(one) == "the Docker engine did not answer"
    host.told = {"Status": "starting"}
    assert await host.cannot(one) == "the engine says that it is starting"


# --- notify and progress ----------------------------------------------------------------------------------------------


@in_loop
async def test_who_says_ready_is_not_waited_for(host: Host) -> None:
    one = worker(notify=True)
    assert await host.ask(one) == (False, "it has not said READY=1")
    said = evolve(one, says_ready=True)
    host.probes.follow(said)
    assert (await host.heard.get()).text == "it has said READY=1"
    host.probes.follow(evolve(said, health=Health.HEALTHY))
    assert host.heard.empty()
    assert await host.ask(said) == (True, "it has said READY=1")
    assert "it ends by itself" in await host.cannot(evolve(one, says_ready=False))


@in_loop
async def test_who_says_stopping_is_not_ready(host: Host) -> None:
    one = evolve(worker(check=HealthCheck(ready=Probe(notify=True))), says_ready=False)
    assert await host.ask(one, Check.READY) == (False, "it has said STOPPING=1")


@in_loop
async def test_progress_is_output_or_a_report(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [5000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    one = evolve(worker(progress=60.0), probed_from=1000.0)
    host.used = {"log": {"out": 10}, "active": time.time() - 1000}
    assert await host.ask(one) == (True, "it makes progress")
    clock[0] += 61.0
    assert await host.ask(one) == (False, "no output and no report for 1 min 1 s")
    assert one.run is not None
    reported = evolve(one, run=evolve(one.run, measures=Measures(progress=0.5)))
    assert await host.ask(reported) == (True, "it makes progress")
    clock[0] += 61.0
    host.used = {"log": {"out": 10}, "active": time.time()}
    assert await host.ask(reported) == (True, "it makes progress"), "by the executor's word"
    host.used = {"log": {"out": 11}}
    assert await host.ask(reported) == (True, "it makes progress"), "a container has written more"
    clock[0] += 61.0
    assert await host.ask(evolve(reported, probed_from=clock[0] - 5)) == (True, "it makes progress"), "it was paused"
    host.used = {}
    assert await host.cannot(reported) == "nobody answered how much it has written"
