"""Runs with a Docker socket, between a made-up proxy and a made-up process driver: what is said when, and what is told when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rdagentd.drivers import docker_socket
from rdagentd.drivers.base import EndedRun, HeldRun
from rdagentd.drivers.docker_socket import SocketDriver
from rdagentd.drivers.identity import Identity
from rdagentd.drivers.socket_rules import SHM, TASKS, Granted, rules_of
from rdagentd.model.isolation import Isolation
from rdagentd.model.requests import Requests
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.spec import Limits, Spec, Stop
from rdagentd.model.worker import Worker
from rdagentd.protocol import frames

SPEC = Spec("w", ("/bin/true",), docker_socket=True, stop=Stop(grace=2.5), environment={"A": "b"})
WORKER = Worker("w", SPEC, 0, run=Run("r1", "w", 1))
HELD = HeldRun("w", "r1", 42, 7, 1.5)
ENDED = EndedRun("w", "r1", Exit(ExitKind.CODE, 3, reason="exited with code 3"), 2.5, None, started=HELD)
OPENED = {"socket": "/run/x/docker.sock"}


class FakeProxy:
    """Listens, and lets the test answer for it; `hello` it answers itself. `runs`: what is open there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[str] = []
        self.problem: str | None = None
        self.hangs = False
        self.asked: asyncio.Queue[tuple[dict[str, Any], asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def listen(self) -> None:
        self.server = await asyncio.start_unix_server(self._talk, self.path)

    def hang_up(self) -> None:
        """Nobody listens any more."""
        self.server.close()
        self.path.unlink()
        for writer in self.writers:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        decoder = frames.Decoder()
        while data := await reader.read(1 << 16):
            for request in decoder.feed(data):
                if request["op"] == "hello" and self.hangs:
                    continue
                if request["op"] == "hello":
                    assert request["owner"] == "mine"
                    told = {"version": "0", "pid": 1, "runs": self.runs, "problem": self.problem}
                    writer.write(frames.pack({"id": request["id"], "ok": True, "result": told}))
                else:
                    self.asked.put_nowait((request, writer))

    async def hear(self, op: str, run: str = "r1", answer: Any = None, error: tuple[str, str] | None = None) -> Any:
        """The next request, which must be this one; answered unless `answer` and `error` are None."""
        request, writer = await asyncio.wait_for(self.asked.get(), 20)
        assert (request["op"], request["run"]) == (op, run), request
        self.last = request["id"], writer
        if answer is not None:
            self.reply({"ok": True, "result": answer})
        elif error is not None:
            self.reply({"ok": False, "error": {"code": error[0], "message": error[1]}})
        return request

    def reply(self, reply: dict[str, Any]) -> None:
        """To what was heard last."""
        number, writer = self.last
        writer.write(frames.pack({"id": number, **reply}))


class Notes:
    """Notes what is called, and can be waited for."""

    uid = 0

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.queue.put_nowait((name, *args))

    async def next(self, name: str) -> tuple[Any, ...]:
        """The next call, which must be of this name: its arguments."""
        called, *args = await asyncio.wait_for(self.queue.get(), 20)
        assert called == name, (called, args)
        return tuple(args)

    def silent(self) -> bool:
        """Whether nothing more was called."""
        return self.queue.empty()


class Scene:
    """The driver with all round it."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.proxy = FakeProxy(directory / "proxy.sock")
        self.told, self.process = Notes(), Notes()
        self.workers = {"w": WORKER}
        self.driver = SocketDriver(
            str(self.proxy.path), "mine", self.told, self.workers.get, lambda: Granted(("/data",), ("none",))  # type: ignore[arg-type]
        )  # fmt: skip
        self.driver.process = self.process  # type: ignore[assignment]

    async def begin(self, *held: HeldRun, ended: tuple[EndedRun, ...] = ()) -> None:
        """Proxy and executor are there."""
        await self.proxy.listen()
        self.driver.open()
        assert await self.told.next("proxy") == (None,)
        self.driver.connected("e", held, ended)
        await self.told.next("connected")

    async def running(self) -> None:
        """A run that was opened, spawned and started."""
        await self.begin()
        self.driver.spawn(WORKER)
        await self.proxy.hear("open", answer=OPENED)
        await self.process.next("spawn")
        self.driver.started(HELD)
        await self.told.next("started")


def play(test: Callable[[Scene], Awaitable[None]]) -> Callable[[Path, pytest.MonkeyPatch], None]:
    """A test inside a loop, with short waits."""

    def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_socket, "_RETRY", (0.01, 0.01))
        monkeypatch.setattr(docker_socket, "_LONG", 0.1)

        async def all_of_it() -> None:
            scene = Scene(tmp_path, monkeypatch)
            try:
                await test(scene)
            finally:
                scene.driver.close()

        asyncio.run(all_of_it())

    return run


# --- a run --------------------------------------------------------------------------------------------------------------


@play
async def test_the_executor_is_asked_once_the_socket_is_there(scene: Scene) -> None:
    await scene.begin()
    scene.driver.spawn(WORKER)
    request = await scene.proxy.hear("open")
    assert scene.process.silent()
    rules = rules_of(WORKER, Identity(None, None, None, {}), 0, Granted(("/data",), ("none",)))
    assert request["rules"] == {**rules, "owner": "mine"}
    assert scene.driver.waits("r1") == "waits for the Docker proxy, which was asked for its socket"
    scene.proxy.reply({"ok": True, "result": OPENED})
    (worker,) = await scene.process.next("spawn")
    assert worker.spec.environment == {"A": "b", "DOCKER_HOST": "unix:///run/x/docker.sock"}
    assert scene.driver.waits("r1") is None


@play
async def test_a_run_without_a_socket_is_none_of_the_proxys_business(scene: Scene) -> None:
    plain = evolve(WORKER, spec=evolve(SPEC, docker_socket=False))
    scene.workers["w"] = plain
    scene.driver.spawn(plain)
    assert await scene.process.next("spawn") == (plain,)
    for name, args in (
        ("freeze", ("r1",)),
        ("thaw", ("r1",)),
        ("kill", ("r1",)),
        ("signal", ("r1", "SIGTERM", "main")),
    ):
        getattr(scene.driver, name)(*args)
        assert await scene.process.next(name) == args
    scene.driver.ended(ENDED)
    assert await scene.told.next("ended") == (ENDED,)


@play
async def test_an_end_is_told_once_the_containers_are_gone(scene: Scene) -> None:
    await scene.running()
    scene.driver.ended(ENDED)
    assert (await scene.proxy.hear("end"))["grace"] == 3
    assert scene.told.silent()
    waits = "is over (exited with code 3), and waits for the Docker proxy, which ends its containers"
    assert scene.driver.waits("r1") == waits
    scene.driver.signal("r1", "SIGTERM", "main")
    scene.driver.freeze("r1")
    assert scene.process.silent(), "there is no process any more"
    scene.proxy.reply({"ok": True, "result": {"containers": 1}})
    assert await scene.told.next("ended") == (ENDED,)
    scene.driver.ack("r1")
    assert await scene.process.next("ack") == ("r1",)


@play
async def test_what_is_wished_of_the_containers_is_said_in_order(scene: Scene) -> None:
    await scene.running()
    scene.driver.freeze("r1")
    await scene.proxy.hear("pause")
    scene.driver.thaw("r1")
    scene.driver.ended(ENDED)
    scene.proxy.reply({"ok": True, "result": {"containers": 1}})
    await scene.proxy.hear("end", answer={"containers": 1})  # to go on before it would make no difference
    assert await scene.told.next("ended") == (ENDED,)


@play
async def test_a_run_that_was_killed_leaves_its_containers_no_time(scene: Scene) -> None:
    await scene.running()
    scene.driver.kill("r1")
    assert await scene.process.next("kill") == ("r1",)
    scene.driver.ended(ENDED)
    assert (await scene.proxy.hear("end", answer={"containers": 1}))["grace"] == 0


@play
async def test_a_run_that_waits_for_its_socket_ends_by_what_would_end_a_process(scene: Scene) -> None:
    await scene.begin()
    scene.driver.spawn(WORKER)
    await scene.proxy.hear("open")
    scene.driver.signal("r1", "SIGUSR1", "main")
    scene.driver.signal("r1", "SIGTERM", "main")
    (ended,) = await scene.told.next("ended")
    assert ended.exit == Exit(ExitKind.SIGNAL, signal="SIGTERM", reason="ended by SIGTERM before it began")
    scene.proxy.reply({"ok": True, "result": OPENED})
    await scene.proxy.hear("end", answer={"containers": 0})
    assert scene.process.silent()


@play
async def test_rules_that_the_proxy_does_not_understand_end_the_run_in_words(scene: Scene) -> None:
    await scene.begin()
    scene.driver.spawn(WORKER)
    await scene.proxy.hear("open", error=("invalid", "cannot read rules: 'x' is not known"))
    (ended,) = await scene.told.next("ended")
    assert (ended.exit.kind, ended.exit.stage) == (ExitKind.COULD_NOT_START, "docker_socket")
    assert ended.exit.reason == "could not start: docker_socket: cannot read rules: 'x' is not known"


# --- the executor comes and goes ----------------------------------------------------------------------------------------


@play
async def test_what_was_asked_for_on_a_connection_is_not_begun_on_the_next(scene: Scene) -> None:
    await scene.begin()
    scene.driver.spawn(WORKER)
    await scene.proxy.hear("open")
    scene.driver.lost("gone")
    scene.driver.connected("other", (), ())
    scene.proxy.reply({"ok": True, "result": OPENED})
    scene.driver.ack("r1")  # the core has judged it to be lost
    await scene.proxy.hear("end", answer={"containers": 0})
    assert await scene.process.next("ack") == ("r1",)
    assert scene.process.silent()


@play
async def test_what_is_asked_for_again_begins_once(scene: Scene) -> None:
    await scene.begin()
    scene.driver.spawn(WORKER)
    await scene.proxy.hear("open")
    scene.driver.lost("gone")
    scene.driver.connected("e", (), ())
    scene.driver.spawn(WORKER)
    scene.proxy.reply({"ok": True, "result": OPENED})
    await scene.process.next("spawn")
    assert scene.process.silent()


@play
async def test_a_run_that_ended_while_nobody_looked_is_held_until_its_containers_are_gone(scene: Scene) -> None:
    await scene.proxy.listen()
    other = EndedRun("gone", "r0", ENDED.exit, None, None)
    scene.driver.connected("e", (), (ENDED, other))
    assert await scene.told.next("connected") == ("e", [HELD], [other])
    scene.driver.open()
    await scene.told.next("proxy")
    await scene.proxy.hear("end", answer={"containers": 1})
    assert await scene.told.next("ended") == (ENDED,)


@pytest.mark.parametrize(("frozen", "op"), [(False, "resume"), (True, "pause")])
def test_a_run_of_before_is_as_its_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool, op: str
) -> None:
    @play
    async def test(scene: Scene) -> None:
        scene.proxy.runs = ["r1"]
        await scene.begin(evolve(HELD, frozen=frozen))
        await scene.proxy.hear(op, answer={"containers": 0})

    test(tmp_path, monkeypatch)


@play
async def test_what_is_nobodys_is_ended_once_it_is_known_what_the_executor_holds(scene: Scene) -> None:
    scene.proxy.runs = ["r1", "r0"]
    scene.workers["w"] = evolve(WORKER, spec=evolve(SPEC, docker_socket=False))  # changed since; the run goes on
    await scene.proxy.listen()
    scene.driver.open()
    await scene.told.next("proxy")
    await asyncio.sleep(0)
    assert scene.proxy.asked.empty()
    scene.driver.connected("e", (HELD,), ())
    said = {(request["run"], request["op"]) for request, _ in [await scene.proxy.asked.get() for _ in range(2)]}
    assert said == {("r1", "resume"), ("r0", "end")}


# --- the proxy comes and goes -------------------------------------------------------------------------------------------


@play
async def test_a_proxy_that_goes_in_the_middle_is_asked_again(scene: Scene) -> None:
    await scene.running()
    scene.driver.ended(ENDED)
    await scene.proxy.hear("end")
    scene.proxy.runs = ["r1"]
    scene.proxy.hang_up()
    (trouble,) = await scene.told.next("proxy")
    assert trouble.startswith(f"cannot be reached ({scene.proxy.path}: ")
    assert scene.driver.waits("r1") == f"is over (exited with code 3), and waits for the Docker proxy, which {trouble}"
    await scene.proxy.listen()
    assert await scene.told.next("proxy") == (None,)
    await scene.proxy.hear("end", answer={"containers": 1})
    assert await scene.told.next("ended") == (ENDED,)


@play
async def test_an_engine_that_is_away_is_told_as_the_proxys_trouble(scene: Scene) -> None:
    scene.proxy.problem = "cannot reach the Docker engine at /x: gone"
    await scene.proxy.listen()
    scene.driver.open()
    assert await scene.told.next("proxy") == (scene.proxy.problem,)
    scene.proxy.problem = None
    assert await scene.told.next("proxy") == (None,)


@play
async def test_what_the_proxy_could_not_do_is_tried_again(scene: Scene) -> None:
    await scene.running()
    scene.driver.ended(ENDED)
    for _ in range(3):
        await scene.proxy.hear("end", error=("unavailable", "cannot end the containers of run r1: c1 are left"))
    await scene.proxy.hear("end", answer={"containers": 1})
    assert await scene.told.next("ended") == (ENDED,)


@play
async def test_who_kills_a_run_whose_containers_cannot_be_ended_does_not_wait_for_ever(scene: Scene) -> None:
    await scene.running()
    scene.driver.ended(ENDED)
    await scene.proxy.hear("end", error=("unavailable", "cannot end it"))
    scene.driver.kill("r1")
    while scene.told.silent():
        await scene.proxy.hear("end", error=("unavailable", "cannot end it"))
    (_, _, text) = await scene.told.next("noted")
    assert (
        text
        == "its containers could not be ended, because the Docker proxy cannot end it; they are ended when it is back"
    )
    assert await scene.told.next("ended") == (ENDED,)
    scene.driver.ack("r1")
    await scene.proxy.hear("end", answer={"containers": 1})


@play
async def test_who_kills_a_run_does_not_wait_for_a_proxy_that_hangs(scene: Scene) -> None:
    await scene.running()
    scene.driver.ended(ENDED)
    await scene.proxy.hear("end")
    scene.proxy.hangs = True
    scene.patch.setattr(docker_socket, "_SOON", 0.2)
    scene.driver.kill("r1")
    assert await scene.told.next("proxy") == ("does not answer",)
    await scene.told.next("noted")
    assert await scene.told.next("ended") == (ENDED,)
    scene.proxy.hangs = False
    assert await scene.told.next("proxy") == (None,)
    scene.proxy.reply({"ok": True, "result": {"containers": 1}})


@play
async def test_a_proxy_that_has_forgotten_a_run_is_told_its_rules_again(scene: Scene) -> None:
    await scene.running()
    scene.proxy.hang_up()
    await scene.told.next("proxy")
    await scene.proxy.listen()
    assert await scene.told.next("proxy") == (None,)
    await scene.proxy.hear("open", answer=OPENED)
    assert scene.process.silent(), "it runs already"


# --- the rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), {"memory": None, "swap": None, "cpus": None, "pids": TASKS, "shm": SHM}),
        (Limits(memory=1 << 30, swap=0), {"memory": 1 << 30, "swap": 0, "shm": 1 << 30}),
        (Limits(cpu=0.5, tasks=7), {"cpus": 500_000_000, "pids": 7}),
    ],
)
def test_containers_may_have_what_the_run_may_have(limits: Limits, expected: dict[str, Any]) -> None:
    worker = evolve(WORKER, spec=evolve(SPEC, limits=limits, directory="/home/alice"))
    rules = rules_of(worker, Identity(1000, 1001, [], {}), 0, Granted(("/data",), ("none",)))
    assert {name: rules[name] for name in expected} == expected
    assert (rules["uid"], rules["gid"], rules["owned"], rules["binds"]) == (1000, 1001, ["/home/alice"], ["/data"])


@pytest.mark.parametrize(("held", "gpus"), [(0, []), (("0", "3"), ["0", "3"])])
def test_containers_may_have_the_gpus_that_the_run_has_on_lease(held: int | tuple[str, ...], gpus: list[str]) -> None:
    worker = evolve(
        WORKER, spec=evolve(SPEC, requests=Requests(gpus=2)), run=Run("r", "w", 1, holds=Requests(gpus=held))
    )
    assert rules_of(worker, Identity(1000, 1001, [], {}), 0, Granted())["gpus"] == gpus


def test_who_runs_as_the_executors_user_has_its_socket() -> None:
    rules = rules_of(WORKER, Identity(None, None, None, {}), 0, Granted())
    assert (rules["uid"], rules["gid"], rules["owned"], rules["networks"]) == (0, 0, [], ["bridge", "none"])


@pytest.mark.parametrize(
    ("isolation", "networks"),
    [
        (Isolation(hidden_home=True), ["bridge", "lab"]),
        (Isolation(network=False), ["none"]),
        (Isolation(hidden_run=True, egress=(443,)), ["none"]),
    ],
)
def test_containers_are_no_way_round_a_confined_network(isolation: Isolation, networks: list[str]) -> None:
    worker = evolve(WORKER, spec=evolve(SPEC, isolation=isolation))
    rules = rules_of(worker, Identity(1000, 1001, [], {}), 0, Granted(networks=("bridge", "lab")))
    assert rules["networks"] == networks
