"""The Docker driver: runs as containers of an engine that may be slow, stuck, restarted or absent.

Nothing is kept here that the engine does not keep: containers carry the labels of their worker and run and of this daemon, and
a name made of the run. So whenever a connection is made, all is read from the engine anew, and what the core still wishes it
says again (`Listener.connected`). A request whose answer was lost is never repeated blindly: the engine refuses a second
container of the same name, and one that was made and not started is looked at again after a grace before it is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from rdagentd.drivers import docker_options as options
from rdagentd.drivers.base import Assisted, EndedRun, Errand, HeldRun
from rdagentd.drivers.docker_engine import Engine, EngineAwayError, EngineRefusedError, connect, cursor, now_cursor
from rdagentd.drivers.docker_log import LogHome, RunLog
from rdagentd.drivers.docker_ports import Ports, is_conflict
from rdagentd.drivers.docker_pull import Progress
from rdagentd.drivers.docker_state import (
    State,
    begun_perhaps,
    could_not_start,
    exit_of,
    gone,
    never_began,
    state_of,
    used_of,
)
from rdagentd.drivers.identity import UnknownUserError, identify
from rdagentd.drivers.limits import Unmet
from rdagentd.model.container import Pull
from rdagentd.model.run import Exit
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.protocol import labels

log = logging.getLogger(__name__)


@frozen
class Waits:
    """In seconds. patience: how long a call may take. grace: after which a container that was found made and not started is
    started: an earlier request may still do it. pulse: between two looks whether the engine answers, while there are runs.
    verdict: how long the engine may take to say that memory was the reason of an end that it has told already.
    """

    patience: float = 30.0
    grace: float = 5.0
    pulse: float = 30.0
    verdict: float = 2.0


_RETRY = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to connect; the last one repeats."""

_SOON = 5.0
"""Seconds that the executor may take for the sockets of all runs."""

_DEADLY = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "SIGHUP"})
"""Signals that end a run whose container did not begin yet, as they would end a process that did nothing about them."""


class Listener(Protocol):
    """Whom this driver tells: as `base.Listener`, with what the trouble is."""

    def connected(self, epoch: str, runs: Sequence[HeldRun], ended: Sequence[EndedRun]) -> None: ...
    def lost(self, reason: str, trouble: str) -> None: ...
    def started(self, run: HeldRun) -> None: ...
    def ended(self, run: EndedRun) -> None: ...
    def grew(self, worker: str, stream: str, end: int) -> None: ...
    def told(self, worker: str, run: str, fields: Mapping[str, str]) -> None: ...
    def noted(self, worker: str, kind: str, text: str) -> None: ...


Evict = Callable[[str], Awaitable[int | None]]
Channels = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Mapping[str, Any]]]]


async def _no_channels(runs: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    return {}


_TOO_LATE, _NO_PROGRAM = 124, 126
"""Exit codes of commands that have none: as timeout(1) and the shell have them."""

_NOT_NOW = 409
"""Status of a refusal because of the state of the container: it is paused, or over."""


class CannotStartError(Exception):
    """A run that cannot begin, as an exit."""

    def __init__(self, ended: Exit) -> None:
        super().__init__(ended.reason)
        self.exit = ended


@define(eq=False)
class _Run:
    """A run that the engine has, or is being asked for. What is done to it is done one after the other: `lock` is fair.

    ending: the signal that is to end it, once one was sent; code: what the engine's events said about its end; oom: they said
    that memory ran out; signalled: they said that somebody had the engine send it a signal. oom_kills: the kernel's count of
    them before it began, or when it was found. stuck: a command in it that did not end in time, "" if there is none.
    """

    worker: str
    id: str
    container: str | None = None
    started: HeldRun | None = None
    ended: EndedRun | None = None
    ending: str | None = None
    stuck: str = ""
    code: int | None = None
    signalled: bool = False
    oom_kills: int | None = None
    log: RunLog | None = None
    pull: asyncio.Task[None] | None = None
    follower: asyncio.Task[None] | None = None
    hurry: asyncio.Event = field(factory=asyncio.Event)
    oom: asyncio.Event = field(factory=asyncio.Event)
    lock: asyncio.Lock = field(factory=asyncio.Lock)


class DockerDriver:
    """Speaks to the engine at `socket`. home: directory for logs and the identity; ports: those of the host to lease.

    evict: kills what is left of a container without the engine, and says how many processes it found; None if it cannot.
    channels: has a NOTIFY_SOCKET for each of these runs (with their workers) and for no others: `path` of the directory to
    mount, and what was `told` there; empty if it cannot.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        socket: str,
        home: Path,
        listener: Listener,
        ports: range,
        evict: Evict,
        waits: Waits = Waits(),
        channels: Channels = _no_channels,
    ) -> None:
        self.logs = LogHome(home / "logs")
        self._socket = socket
        self._home = home
        self._listener = listener
        self._evict = evict
        self._channels = channels
        self._waits = waits
        self._ports = Ports(ports)
        self._engine: Engine | None = None
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._cursor = now_cursor()
        self._since = 0.0
        self._trouble = ""
        self._identity = ""
        self._early: list[tuple[Engine, Mapping[str, Any] | None]] = []

    # --- connection ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to connect, if that was not begun; `Listener.connected` tells when it is done."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    @property
    def was_used(self) -> bool:
        """Whether there may be containers of this daemon."""
        return (self._home / "identity").exists()

    def close(self) -> None:
        """Leaves the containers as they are."""
        for task in (*self._tasks, self._connecting):
            if task is not None:
                task.cancel()
        if self._pulse is not None:
            self._pulse.cancel()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    async def _connect(self) -> None:
        attempt = 0
        while True:
            engine = None
            try:
                self._identity = self._identity or _identity(self._home)
                engine = await connect(self._socket, self._waits.patience)
                await self._take_over(engine)
                return
            except (EngineAwayError, EngineRefusedError) as error:
                self._tell_trouble(error)
            except OSError as error:  # our own directory
                self._tell_trouble(EngineAwayError(f"cannot keep the output of containers: {error}"))
            if engine is not None:
                engine.close()
            await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
            attempt += 1

    async def _take_over(self, engine: Engine) -> None:
        """Subscribes, then looks at everything: what happens in between is seen twice rather than not at all."""
        await asyncio.to_thread(self.logs.sweep)
        self._early = []
        loop = asyncio.get_running_loop()
        await engine.listen(
            self._identity,
            self._cursor,
            lambda event: loop.call_soon_threadsafe(self._heard, engine, event),
            lambda reason: loop.call_soon_threadsafe(self._silent, engine, reason),
        )
        runs: dict[str, _Run] = {}
        held, ended, waiting = [], [], []
        for container in await engine.containers(self._identity):
            told = await engine.inspect(container)
            if told is None:
                continue
            state = state_of(told)
            run = await self._known(state)
            runs[run.id] = run
            if state.is_over:
                seen = not state.is_doubtful or await engine.saw("die", container)
                if not seen:
                    await self._cleared(container)
                ended.append(await self._settled(engine, run, state, seen))
            elif state.is_waiting and not await engine.saw("create", container):
                await self._cleared(container)
                ended.append(self._ended(run, begun_perhaps()))
            else:
                run.oom_kills = _oom_kills()
                held.append(self._held(run, state))
                waiting += [run] if state.is_waiting else []
        self._engine, self._runs, self._since, self._trouble = engine, runs, 0.0, ""
        told = {run: channel["told"] for run, channel in (await self._have_channels()).items()}
        held, ended = (
            [evolve(one, told=told.get(one.run, {})) for one in held],
            [evolve(one, told=told.get(one.run, {})) for one in ended],
        )
        self._listener.connected(str(engine.facts.get("ID", "")), held, ended)
        for run in waiting:
            self._do(run, self._go_on(run))
        self._watch_pulse()
        early, self._early = self._early, []
        for source, event in early:  # what was heard while we looked
            if source is not engine:
                continue
            if event is not None:
                self._heard(engine, event)
            else:
                self._silent(engine, "it closed the connection")

    async def _have_channels(self) -> Mapping[str, Mapping[str, Any]]:
        """The sockets on which our runs tell of themselves, and what they told."""
        runs = {run.id: run.worker for run in self._runs.values()}
        try:
            async with asyncio.timeout(_SOON):
                return await self._channels(runs)
        except TimeoutError:  # an executor that hangs is to hold up no container
            return {}

    async def _told(self, run: _Run) -> Mapping[str, str]:
        told: Mapping[str, str] = (await self._have_channels()).get(run.id, {}).get("told", {})
        return told

    def executor_came(self) -> None:
        """Whoever has the sockets is there, perhaps anew: what runs has its own again."""
        if self._engine is not None:
            self._in_background(self._hear_again())

    async def _hear_again(self) -> None:
        for run, channel in (await self._have_channels()).items():
            if run in self._runs:
                self._listener.told(self._runs[run].worker, run, channel["told"])

    async def _known(self, state: State) -> _Run:
        run = _Run(state.labels.get(labels.WORKER, ""), state.labels.get(labels.RUN, ""), state.container)
        kept = options.log_of(state.labels.get(options.LOG, ""))
        redact = state.labels.get(options.REDACT)
        secrets = None if redact is None else options.secrets_of(redact, state.environment)
        run.log = await asyncio.to_thread(self.logs.open, run.worker, run.id, kept, secrets)
        self._ports.taken(run.id, state.labels.get(options.PORTS, ""))
        return run

    def _held(self, run: _Run, state: State) -> HeldRun:
        began = state.began is not None
        held = HeldRun(
            run.worker, run.id, state.pid if began else None, _start_ticks(state.pid), state.began or time.time(),
            state.status == "paused", run.log.begin if run.log else {}, state.container,
        )  # fmt: skip
        run.started = held if began else None
        return held

    def _silent(self, engine: Engine, reason: str) -> None:
        """The stream of events has ended."""
        if engine is self._engine:
            self._gone(engine, EngineAwayError(reason))
        else:
            self._early.append((engine, None))

    def _gone(self, engine: Engine, error: EngineAwayError) -> None:
        """The engine is away."""
        if self._engine is engine:
            self._begin_anew(engine)
            self._tell_trouble(error)

    def _begin_anew(self, engine: Engine) -> None:
        """All that is under way is given up, and said again by the core when there is a connection again."""
        self._engine = None
        engine.close()
        for task in self._tasks:
            task.cancel()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _meet(self, engine: Engine, run: str, container: str) -> None:
        """A container of which the core may not know: asked for over an earlier connection, and made only now."""
        if await engine.inspect(container) is not None and run not in self._runs and engine is self._engine:
            self._begin_anew(engine)

    def _tell_trouble(self, error: Exception) -> None:
        """Says what is wrong, and since when; the same is not said twice."""
        self._since = self._since or time.time()
        stuck = getattr(error, "stuck", False)
        what = "does not answer" if stuck else "cannot be reached"
        trouble = f"{what} since {time.strftime('%H:%M:%S', time.localtime(self._since))} ({self._socket}: {error})"
        if trouble != self._trouble:
            self._trouble = trouble
            self._listener.lost(str(error), trouble)

    async def _cleared(self, container: str) -> None:
        """Nothing is left to run of a container of which the engine does not know the whole story. Raises EngineAwayError."""
        deadline = time.monotonic() + self._waits.patience
        while found := await self._evict(container):
            if time.monotonic() > deadline:
                log.warning(
                    "container %s: %s processes are killed and do not end: the kernel holds them", container, found
                )
                return
            await asyncio.sleep(_RETRY[0])  # there is no event: they are nobody's children here
        if found is None:
            raise EngineAwayError(f"cannot tell whether container {container[:12]} is over: the executor is not there")

    def _watch_pulse(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pulse is not None:
            self._pulse.cancel()
        self._pulse = loop.call_later(self._waits.pulse, self._feel_pulse)

    def _feel_pulse(self) -> None:
        """A stuck engine says nothing, so it must be asked; only while something depends on it."""
        if self._engine is None:
            return
        if self._runs:
            self._in_background(self._engine.ping())
        self._watch_pulse()

    # --- asked --------------------------------------------------------------------------------------------------------

    def spawn(self, worker: Worker) -> None:
        """Start `worker.run`; for an id that was seen, tell where it stands."""
        assert worker.run is not None
        if self._engine is None:
            return
        run = self._runs.setdefault(worker.run.id, _Run(worker.name, worker.run.id))
        self._do(run, self._begin(run, worker))

    def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal by name to the first process of the container, whatever the scope."""
        self._ask(run, partial(self._signal, signal=signal), signal if signal in _DEADLY else None)

    def kill(self, run: str) -> None:
        """SIGKILL to all of it: the kernel ends what is in a container with its first process."""
        self._ask(run, self._kill, "SIGKILL")

    def freeze(self, run: str) -> None:
        """Stop all of it from running."""
        self._ask(run, self._freeze)

    def thaw(self, run: str) -> None:
        """Let it go on."""
        self._ask(run, self._thaw)

    def ack(self, run: str) -> None:
        """The end of this run is on disk: its container is removed."""
        known = self._runs.pop(run, None)
        if known is not None:
            self._ports.free(run)
            self._do(known, self._remove(known))  # if the engine is away: it is told again when it is back

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Tell once when the log's end is beyond offset."""
        run = self._of(worker)
        if run is None or run.log is None or run.container is None:
            return
        if run.log.ends().get(stream, 0) > offset:
            self._listener.grew(worker, stream, run.log.ends()[stream])
        elif run.follower is None and run.ended is None:
            run.follower = self._in_background(self._follow(run))

    def forget(self, worker: str) -> None:
        """Remove the worker's log."""
        self.logs.forget(worker)

    def unmet(self, spec: Spec) -> Sequence[Unmet]:
        """As the engine's /info says."""
        return options.unmet(spec.limits, self._engine.facts) if self._engine is not None else ()

    def waits(self, run: str) -> str | None:
        """For nothing."""
        return None

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        """Have a command done in the worker's container. One that does not end in time stays, as the engine cannot end it;
        until it has ended there is no other."""
        run = self._runs.get(worker.run.id) if worker.run is not None else None
        if self._engine is None or run is None or run.container is None:
            return Assisted(reason="its container does not run, or the Docker engine cannot be reached")
        try:
            return await self._execute(self._engine, run, run.container, errand)
        except EngineAwayError as error:
            return Assisted(reason=f"the Docker engine does not answer: {error}")
        except EngineRefusedError as error:
            return Assisted(None if error.status == _NOT_NOW else _NO_PROGRAM, reason=str(error))

    async def _execute(self, engine: Engine, run: _Run, container: str, errand: Errand) -> Assisted:
        if run.stuck and await engine.is_executing(run.stuck):
            return Assisted(_TOO_LATE, reason="the one before goes on in the container, beyond its time")
        made, code, output = await engine.execute(
            container, errand.command, errand.environment, errand.timeout, errand.most
        )
        run.stuck = made if code is None else ""
        if code is None:
            return Assisted(_TOO_LATE, output=output, reason=f"it did not end within {errand.timeout:g} s")
        return Assisted(code, output=output)

    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """As the engine counts it. What is not answered is not known."""
        engine = self._engine
        known = [self._runs[run] for run in runs if run in self._runs and self._runs[run].started is not None]
        if engine is None or not known:
            return {}
        told = await asyncio.gather(*(engine.stats(run.container or "") for run in known), return_exceptions=True)
        return {
            run.id: used_of(stats) | {"log": run.log.ends() if run.log else {}}
            for run, stats in zip(known, told, strict=True)
            if not isinstance(stats, BaseException)
        }

    def leased(self, run: str) -> Sequence[int]:
        """The ports of the host at which those of its container are reached, in the order of `container.ports`."""
        return self._ports.leases().get(run, ())

    async def health(self, run: str) -> Mapping[str, Any] | None:
        """What the engine says about the HEALTHCHECK of a run's image, `{}` if it has none; None if it does not answer."""
        engine, known = self._engine, self._runs.get(run)
        if engine is None or known is None or known.container is None:
            return None
        try:
            told = await engine.inspect(known.container)
        except (EngineAwayError, EngineRefusedError):
            return None
        return None if told is None else told["State"].get("Health") or {}

    def ping(self) -> None:
        """Nothing: the pulse is felt here."""

    def facts(self) -> Mapping[str, Any] | None:
        """Version of the engine; None while it cannot be reached."""
        return None if self._engine is None else {"version": self._engine.facts.get("ServerVersion"), "pid": None}

    def holds(self, run: str) -> bool:
        """Whether this is a run of ours."""
        return run in self._runs

    async def catch_up(self, worker: str) -> None:
        """What the worker has written until now can be read afterwards, if the engine answers."""
        run = self._of(worker)
        if run is None or run.ended is not None or run.follower is not None or self._engine is None:
            return
        engine = self._engine
        try:
            await self._copy(engine, run)
        except EngineAwayError as error:
            self._gone(engine, error)
        except (EngineRefusedError, OSError) as error:
            log.warning("cannot copy the output of %s: %s", worker, error)

    def _of(self, worker: str) -> _Run | None:
        return next((run for run in self._runs.values() if run.worker == worker), None)

    def _ask(self, run_id: str, what: Callable[[_Run], Coroutine[Any, Any, None]], ending: str | None = None) -> None:
        run = self._runs.get(run_id)
        if run is None or self._engine is None:
            return
        if ending is not None:
            run.ending = ending
            run.hurry.set()
            if run.pull is not None:
                run.pull.cancel()
        self._do(run, what(run))

    def _do(self, run: _Run, what: Coroutine[Any, Any, None]) -> None:
        """Does something to a run when what was asked before is done."""
        if self._engine is None:
            what.close()
            return

        async def in_turn() -> None:
            async with run.lock:
                await what

        self._in_background(in_turn()).add_done_callback(lambda _: what.close())

    def _in_background(self, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: what.close())  # one that was cancelled before it began
        return task

    async def _guarded(self, what: Coroutine[Any, Any, None]) -> None:
        engine = self._there()
        try:
            await what
        except EngineAwayError as error:
            self._gone(engine, error)
        except (EngineRefusedError, OSError) as error:
            log.warning("Docker: %s", error)
        except Exception:
            log.exception("defect: something that was asked of Docker was not done")

    def _there(self) -> Engine:
        assert self._engine is not None, "asked without a connection"
        return self._engine

    # --- a run begins -------------------------------------------------------------------------------------------------

    async def _begin(self, run: _Run, worker: Worker) -> None:
        if run.ended is not None:
            self._listener.ended(run.ended)
        elif run.started is not None:
            self._listener.started(run.started)
        elif run.container is None:
            try:
                await self._create(run, worker)
            except CannotStartError as error:
                await self._abandon(run, error.exit)

    async def _create(self, run: _Run, worker: Worker) -> None:
        """Finds the run's container, or makes it; then starts it. Raises CannotStartError."""
        engine, spec = self._there(), worker.spec
        assert spec.container is not None
        name = options.container_name(self._identity, run.id)
        told = await engine.inspect(name)
        secrets = options.secrets_in(spec) if spec.log.redact else None
        run.log = await asyncio.to_thread(self.logs.open, run.worker, run.id, spec.log, secrets)
        if told is not None:
            run.container = told["Id"]
            await self._go_on(run)
            return
        await self._have_image(engine, run, spec.container.image, spec.container.pull)
        channel = (await self._have_channels()).get(run.id, {}).get("path")
        if channel is None and spec.watchdog is not None:
            raise CannotStartError(could_not_start("notify socket", "the executor, which has it, cannot be reached"))
        while True:
            config = self._config(engine, run, worker, channel)
            try:
                made = await engine.create(name, config)
            except EngineRefusedError as error:
                if error.status == 409 and (told := await engine.inspect(name)) is not None:
                    run.container = told["Id"]  # an earlier request, whose answer was lost, made it in the meantime
                    await self._go_on(run)
                    return
                raise CannotStartError(could_not_start("container", str(error))) from None
            run.container = made["Id"]
            for warning in made.get("Warnings") or ():
                self._listener.noted(run.worker, "docker", f"Docker: {warning}")
            try:
                await self._start(engine, run)
                return
            except EngineRefusedError as error:
                await self._confirm(engine, error)
                await engine.remove(run.container)
                if not is_conflict(str(error)) or not self._ports.refused(run.id):
                    raise CannotStartError(could_not_start("container", str(error))) from None

    def _config(self, engine: Engine, run: _Run, worker: Worker, channel: str | None) -> dict[str, Any]:
        spec = worker.spec
        assert spec.container is not None
        lacking = [limit.text for limit in self.unmet(spec) if limit.required]
        if lacking:
            raise CannotStartError(could_not_start("limits", "; ".join(lacking)))
        try:
            who = identify(spec.user, spec.group, worker.owner, -1)
        except UnknownUserError as error:
            raise CannotStartError(could_not_start("user", str(error))) from None
        wanted = spec.container.ports
        ports = self._ports.lease(run.id, len(wanted))
        if len(ports) < len(wanted):
            raise CannotStartError(could_not_start("ports", f"no free port is left of {self._ports} (docker.ports)"))
        for port, leased in zip(wanted, ports, strict=True):
            self._listener.noted(run.worker, "port", f"port {port} is reached at {options.LOOPBACK}:{leased}")
        user = f"{who.uid}:{who.gid}"
        return options.container_config(worker, user, self._identity, engine.facts, ports, channel)

    async def _have_image(self, engine: Engine, run: _Run, image: str, pull: Pull) -> None:
        if pull is not Pull.ALWAYS and await engine.has_image(image):
            return
        if pull is Pull.NEVER:
            raise CannotStartError(
                could_not_start("image", f"image {image} is not here, and pull is never; docker pull {image}")
            )
        progress = Progress(image, partial(self._listener.noted, run.worker, "pull"))
        loop = asyncio.get_running_loop()
        progress.begin()
        run.pull = loop.create_task(engine.pull(image, lambda line: loop.call_soon_threadsafe(progress.heard, line)))
        try:
            await run.pull
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if run.ending is None or (task is not None and task.cancelling()):
                raise
            raise CannotStartError(never_began(run.ending)) from None
        except EngineRefusedError as error:
            await self._confirm(engine, error)
            raise CannotStartError(could_not_start("image", f"cannot pull {image}: {error}")) from None
        finally:
            run.pull = None
        progress.done()

    async def _confirm(self, engine: Engine, error: EngineRefusedError) -> None:
        """A refusal of an engine that is on its way out means nothing. Raises EngineAwayError if it is gone."""
        if error.status >= 500:
            await engine.ping()

    async def _go_on(self, run: _Run) -> None:
        """A container that was found: somebody asked to start it, perhaps, and the engine may be about to do it."""
        engine = self._there()
        try:
            state = await self._state(engine, run)
            if state is not None and state.is_waiting:
                try:
                    async with asyncio.timeout(self._waits.grace):
                        await run.hurry.wait()
                except TimeoutError:
                    state = await self._state(engine, run)
            if state is not None and state.is_waiting:
                await self._start(engine, run)
            else:
                await self._tell(engine, run, state)
        except EngineRefusedError as error:
            await self._confirm(engine, error)
            await self._abandon(run, could_not_start("container", str(error)))
        except CannotStartError as error:
            await self._abandon(run, error.exit)

    async def _start(self, engine: Engine, run: _Run) -> None:
        """Starts a container that was made, and tells. Raises CannotStartError, EngineRefusedError."""
        assert run.container is not None
        if run.ending is not None:
            raise CannotStartError(never_began(run.ending))
        run.oom_kills = _oom_kills()
        await engine.start(run.container)
        await self._tell(engine, run, await self._state(engine, run))

    async def _state(self, engine: Engine, run: _Run) -> State | None:
        told = await engine.inspect(run.container) if run.container is not None else None
        return state_of(told) if told is not None else None

    async def _tell(self, engine: Engine, run: _Run, state: State | None) -> None:
        if state is not None and state.began is not None:
            run.started = self._held(run, state)
            self._listener.started(run.started)
        if state is None or state.is_over:
            await self._end(engine, run, state)

    async def _abandon(self, run: _Run, ended: Exit) -> None:
        """A run that did not begin: nothing of it is left."""
        if run.container is not None:
            await self._there().remove(run.container)
        self._tell_end(run, self._ended(run, ended))

    def _ended(self, run: _Run, ended: Exit) -> EndedRun:
        """An end of which the engine told nothing."""
        run.ended = EndedRun(run.worker, run.id, ended, None, None, run.log.ends() if run.log else {}, run.started)
        return run.ended

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def _signal(self, run: _Run, signal: str) -> None:
        await self._unless_over(run, lambda engine, container: engine.kill(container, signal))

    async def _kill(self, run: _Run) -> None:
        await self._unless_over(run, lambda engine, container: engine.kill(container, "SIGKILL"))
        await self._thaw(run)  # what is frozen dies when it goes on

    async def _freeze(self, run: _Run) -> None:
        await self._unless_over(run, lambda engine, container: engine.pause(container))

    async def _thaw(self, run: _Run) -> None:
        await self._unless_over(run, lambda engine, container: engine.unpause(container))

    async def _unless_over(self, run: _Run, what: Callable[[Engine, str], Coroutine[Any, Any, None]]) -> None:
        """Whoever asks for what is so already, or for something of a container that has ended, is not told: its end is."""
        if run.ended is not None or run.started is None or run.container is None:
            return
        try:
            await what(self._there(), run.container)
        except EngineRefusedError as error:
            log.debug("Docker refused something for %s: %s", run.worker, error)

    async def _follow(self, run: _Run) -> None:
        try:
            await self._copy(self._there(), run, follow=True)
        finally:
            run.follower = None

    async def _copy(self, engine: Engine, run: _Run, follow: bool = False) -> None:
        """Copies what is new of a run's output. Raises EngineAwayError, EngineRefusedError, OSError."""
        if run.log is None or run.container is None:
            return
        kept, loop = run.log, asyncio.get_running_loop()

        telling = threading.Event()

        def grew() -> None:
            telling.clear()
            for stream, end in kept.ends().items():
                self._listener.grew(run.worker, stream, end)

        def take(chunks: Iterator[bytes]) -> None:
            for _ in kept.copy(chunks):
                if not telling.is_set():
                    telling.set()
                    loop.call_soon_threadsafe(grew)

        copy = engine.follow_log if follow else engine.read_log
        await copy(run.container, kept.since, take)

    # --- a run ends ---------------------------------------------------------------------------------------------------

    def _heard(self, engine: Engine, event: Mapping[str, Any]) -> None:
        """One event of the engine."""
        if engine is not self._engine:
            self._early.append(
                (engine, event)
            )  # looked at when the connection stands; what an old one says is dropped then
            return
        self._cursor = cursor(event.get("timeNano", 0) or time.time_ns())
        about = event.get("Actor", {}).get("Attributes", {})
        run = self._runs.get(about.get(labels.RUN, ""))
        if run is None and event.get("Action") == "create" and labels.ORIGIN not in about:
            self._in_background(self._meet(engine, about.get(labels.RUN, ""), event["Actor"]["ID"]))
        if run is not None and event.get("Action") == "oom":
            run.oom.set()
        if run is not None and event.get("Action") == "kill":
            run.signalled = True
        if run is None or event.get("Action") not in ("die", "destroy"):
            return
        if about.get("exitCode", "").isdecimal():
            run.code = int(about["exitCode"])
        self._do(run, self._finish(run))

    async def _finish(self, run: _Run) -> None:
        """Something of the run has ended: tells the end if it is the end."""
        if run.ended is not None or run.container is None:
            return
        engine = self._there()
        state = await self._state(engine, run)
        if state is None or (state.is_over and run.started is not None):
            await self._end(engine, run, state)

    async def _end(self, engine: Engine, run: _Run, state: State | None) -> None:
        if state is None:
            await asyncio.to_thread(_finish, run)
            self._tell_end(run, self._ended(run, gone(run.code)), await self._told(run))
        else:
            self._tell_end(run, await self._settled(engine, run, state), await self._told(run))

    def _tell_end(self, run: _Run, ended: EndedRun, told: Mapping[str, str] = MappingProxyType({})) -> None:
        run.ended = ended = evolve(ended, told=told)
        if run.log is not None:
            run.log.close()
        self._listener.ended(ended)

    async def _settled(self, engine: Engine, run: _Run, state: State, seen: bool = True) -> EndedRun:
        """The end of a container, once all of its output is here."""
        if run.follower is not None:
            await asyncio.wait({run.follower}, timeout=self._waits.patience)
        if state.began is not None:
            try:
                await self._copy(engine, run)
                await asyncio.to_thread(_finish, run)
            except (EngineRefusedError, OSError) as error:  # a full disk must not keep a run alive
                self._listener.noted(run.worker, "docker", f"the last of its output could not be copied: {error}")
        state = await self._judged(engine, run, state)
        started = run.started or (self._held(run, state) if state.began is not None else None)
        ends = run.log.ends() if run.log else {}
        run.ended = EndedRun(run.worker, run.id, exit_of(state, seen), state.ended, None, ends, started)
        return run.ended

    async def _judged(self, engine: Engine, run: _Run, state: State) -> State:
        """The engine tells an end and that memory was its reason one after the other, in either order. With cgroup v2 it may
        never tell the second, where systemd removes the cgroup before the engine has looked (containerd#8893): who was killed,
        and by nobody through the engine, while the kernel killed something for want of memory, was killed for that."""
        if not state.is_unexplained or run.ending is not None:
            return state
        if time.time() - (state.ended or 0) <= self._waits.verdict:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._waits.verdict):
                    await run.oom.wait()
            state = await self._state(engine, run) or state
        if run.signalled or run.oom_kills is None or (_oom_kills() or 0) <= run.oom_kills:
            return state
        return evolve(state, oom=True)

    async def _remove(self, run: _Run) -> None:
        if run.container is not None:
            await self._there().remove(run.container)
        await self._have_channels()  # without it


def _finish(run: _Run) -> None:
    if run.log is not None:
        run.log.finish()


def _identity(home: Path) -> str:
    """What tells the containers of this daemon from those of another one on the same engine; made once. Raises OSError."""
    path = home / "identity"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        home.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = home / "identity.new"
        new.write_text(os.urandom(6).hex())
        new.replace(path)
        return path.read_text().strip()


def _oom_kills() -> int | None:
    """How many processes of this host the kernel killed for want of memory, of whatever cgroup: `oom_kill` in /proc/vmstat
    (since Linux 4.13); None where that cannot be read."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts["oom_kill"])
    except (OSError, KeyError, ValueError):
        return None


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
