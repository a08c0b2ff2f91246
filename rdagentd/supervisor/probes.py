"""The probes of health checks: asks, at most once at a time for each worker, and tells the core what came of it.

What cannot be asked (no executor, no engine, no descriptor left) is said by `why` and counts for nothing: a daemon in trouble
must not end workers that are well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import define, frozen

from rdagentd.config.units import format_duration
from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.drivers.base import Assisted, Errand
from rdagentd.drivers.docker_options import secrets_in
from rdagentd.model.container import Network
from rdagentd.model.health import Check, Health, Probe
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.protocol.redaction import Redactor
from rdagentd.supervisor.asking import CannotAskError, Told, ask_http, ask_tcp

log = logging.getLogger(__name__)

_KEPT = 3
"""Answers that are remembered of each check."""

_AT_ONCE = 256
"""Probes under way at a time, over all workers; others wait for a place. A server that hangs holds one for its timeout."""

_AT_ONCE_EXEC = 32
"""Of those that are programs: half of what the executor has at a time, so that others find room."""

_SLACK = 5.0
"""Seconds beyond the timeout of a program after which the executor is no longer waited for."""

_SAID = "it has said READY=1"

_OUTPUT = 4096
"""Bytes of output of a program that are looked at for its last line."""

_NO_PROGRAM = "cannot start: exec "
"""How an assistant's reason begins if there is no such program: that is the worker's own trouble."""


@frozen
class Answer:
    """at: seconds since the epoch. ok None: nobody could be asked."""

    at: float
    ok: bool | None
    text: str


@frozen
class _Sign:
    """The last sign of progress of a run: what was seen, and when (monotonic)."""

    run: str
    seen: Any
    at: float


class Asked(Protocol):
    """What is needed of the drivers."""

    async def assist(self, worker: Worker, errand: Errand) -> Assisted: ...
    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]: ...
    async def catch_up(self, worker: str) -> None: ...


class Engine(Protocol):
    """What is needed of the Docker driver beside."""

    def leased(self, run: str) -> Sequence[int]: ...
    async def health(self, run: str) -> Mapping[str, Any] | None: ...


@define(eq=False)
class _UnderWay:
    run: str
    task: asyncio.Task[None]


class Probes:
    """Carries out `Probe`. post: takes the answers. driver, engine: whom to ask for what is not on the network."""

    def __init__(self, post: Callable[[ev.Event], None], driver: Asked, engine: Engine) -> None:
        self._post = post
        self._driver = driver
        self._engine = engine
        self._under_way: dict[tuple[str, Check], _UnderWay] = {}
        self._answers: dict[str, tuple[str, dict[Check, deque[Answer]]]] = {}
        self._signs: dict[str, _Sign] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._places_exec = asyncio.Semaphore(_AT_ONCE_EXEC)

    def ask(self, effect: fx.Probe) -> None:
        """Asks, unless the probe before is still under way."""
        worker, key = effect.worker, (effect.worker.name, effect.check)
        health, run = worker.spec.health, worker.run
        probe = health.probe(effect.check) if health is not None else None
        if probe is None or run is None or key in self._under_way:
            return
        task = asyncio.get_running_loop().create_task(self._ask(worker, effect.check, probe))
        self._under_way[key] = _UnderWay(run.id, task)

    def follow(self, worker: Worker) -> None:
        """The worker is like this now: nobody waits any longer for answers of a run that does not run, and who has said that
        it is ready need not be asked."""
        health = worker.spec.health
        if health is None:
            return
        run = worker.run.id if worker.run is not None and worker.state is State.RUNNING else None
        if run is not None and self._answers.get(worker.name, (run,))[0] != run:
            del self._answers[worker.name]
        for check in Check:
            known = self._under_way.get((worker.name, check))
            if known is not None and known.run != run:
                del self._under_way[worker.name, check]
                known.task.cancel()
            probe = health.probe(check)
            well = worker.found_ready if check is Check.READY else worker.health is Health.HEALTHY
            if run is not None and probe is not None and probe.notify and worker.says_ready and not well:
                self._take(worker.name, run, check, True, _SAID)

    def forget(self, name: str) -> None:
        """The worker is gone."""
        self._answers.pop(name, None)
        self._signs.pop(name, None)
        for check in Check:
            if (known := self._under_way.pop((name, check), None)) is not None:
                known.task.cancel()

    def answers(self, name: str) -> Mapping[Check, Sequence[Answer]]:
        """The last answers of each check of a worker's latest run, the oldest first, since this daemon began."""
        return self._answers[name][1] if name in self._answers else {}

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, worker: Worker, check: Check, probe: Probe) -> None:
        assert worker.run is not None and probe.way is not None
        ok: bool | None
        try:
            async with self._places_exec if probe.exec else self._places:
                try:
                    async with asyncio.timeout(probe.timeout + _SLACK if probe.exec else probe.timeout):
                        ok, text = await _WAYS[probe.way](self, worker, check, probe)
                except TimeoutError:
                    ok, text = False, f"{_subject(probe)}: no answer within {probe.timeout:g} s"
                    if probe.exec:
                        ok, text = None, "the executor did not answer"
        except CannotAskError as error:
            ok, text = None, str(error)
        except Exception:
            log.exception("defect: cannot ask %s", worker.name)
            ok, text = None, "a defect in the daemon; its log tells more"
        del self._under_way[worker.name, check]  # ours: who takes it away before ends this task
        self._take(worker.name, worker.run.id, check, ok, text)

    def _take(self, name: str, run: str, check: Check, ok: bool | None, text: str) -> None:
        self._answers.setdefault(name, (run, {}))[1].setdefault(check, deque(maxlen=_KEPT)).append(
            Answer(time.time(), ok, text)
        )
        if ok is not None:
            self._post(ev.Checked(name, run, check, ok, text))

    def _address(self, worker: Worker, address: str) -> str:
        """Where it is reached: a port of a container by the one that it has on lease."""
        container, run = worker.spec.container, worker.run
        if container is None or run is None or container.network is not Network.BRIDGE:
            return address
        host, _, port = address.rpartition(":")
        leases = dict(zip(container.ports, self._engine.leased(run.id), strict=False))
        if f"{port}/tcp" not in leases:
            raise CannotAskError(f"nobody knows yet at which port of the host port {port} of its container is reached")
        return f"{host}:{leases[f'{port}/tcp']}"

    async def _http(self, worker: Worker, check: Check, probe: Probe) -> Told:
        assert probe.http is not None
        return await ask_http(probe.http, probe.expect, self._address(worker, urlsplit(probe.http).netloc))

    async def _tcp(self, worker: Worker, check: Check, probe: Probe) -> Told:
        assert probe.tcp is not None
        return await ask_tcp(self._address(worker, probe.tcp))

    async def _exec(self, worker: Worker, check: Check, probe: Probe) -> Told:
        done = await self._driver.assist(worker, Errand(probe.exec, probe.timeout, _OUTPUT))
        name, said = _subject(probe), _last_line(worker.spec, done.output)
        if done.code is not None and not done.reason:
            return done.code == 0, f"{name} exited with {done.code}{f': {said}' if said else ''}"
        if done.code is None and done.signal is None and not done.reason.startswith(_NO_PROGRAM):
            raise CannotAskError(done.reason)
        return False, f"{name}: {done.reason or f'killed by {done.signal}'}"

    async def _notify(self, worker: Worker, check: Check, probe: Probe) -> Told:
        """Who has said that it ends is not ready; it is not ill for that."""
        if worker.says_ready is False:
            if check is Check.HEALTH:
                raise CannotAskError("it has said STOPPING=1: it ends by itself")
            return False, "it has said STOPPING=1"
        return (True, _SAID) if worker.says_ready else (False, "it has not said READY=1")

    async def _docker(self, worker: Worker, check: Check, probe: Probe) -> Told:
        assert worker.run is not None
        told = await self._engine.health(worker.run.id)
        if told is None:
            raise CannotAskError("the Docker engine did not answer")
        status = told.get("Status", "none")
        if status == "starting":
            raise CannotAskError("the engine says that it is starting")
        if status == "none":
            return False, "its image has no HEALTHCHECK"
        said = _last_line(worker.spec, str((told.get("Log") or [{}])[-1].get("Output", "")).encode())
        return status == "healthy", f"the engine says that it is {status}{f': {said}' if said else ''}"

    async def _progress(self, worker: Worker, check: Check, probe: Probe) -> Told:
        """Output by its time of arrival, where the driver knows it; what else changes, from when it was first seen."""
        assert worker.run is not None and probe.progress is not None
        run, now = worker.run.id, time.monotonic()
        await self._driver.catch_up(worker.name)
        used = (await self._driver.usage([run])).get(run)
        if used is None:
            raise CannotAskError("nobody answered how much it has written")
        seen = (used["log"], worker.run.measures)
        sign = self._signs.get(worker.name)
        if sign is None or sign.run != run or sign.seen != seen:
            sign = self._signs[worker.name] = _Sign(run, seen, now)
        idle = min(now - sign.at, now - worker.probed_from, max(0.0, time.time() - used.get("active", 0)))
        text = f"no output and no report for {format_duration(round(idle))}"
        return (False, text) if idle > probe.progress else (True, "it makes progress")


def _subject(probe: Probe) -> str:
    """Who is asked, for a sentence."""
    if probe.http is not None:
        return f"GET {probe.http}"
    return probe.exec[0] if probe.exec else probe.tcp or probe.way or ""


def _last_line(spec: Spec, output: bytes) -> str:
    """The last that it said, without secrets as in the worker's log: everybody who may look at the worker reads it."""
    if spec.log.redact:
        redactor = Redactor(secrets_in(spec))
        output = redactor.feed(output) + redactor.close()
    lines = output.decode(errors="replace").split("\n")
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "".join(letter for letter in line[:200] if letter.isprintable())


_WAYS: dict[str, Callable[[Probes, Worker, Check, Probe], Awaitable[Told]]] = {
    "http": Probes._http,
    "tcp": Probes._tcp,
    "exec": Probes._exec,
    "notify": Probes._notify,
    "docker": Probes._docker,
    "progress": Probes._progress,
}
