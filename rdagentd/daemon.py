"""The daemon put together: configuration, store, engine, executor, control socket; and its way in and out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sdnotify  # type: ignore[import-untyped]
from attrs import frozen

from rdagentd import pidfile
from rdagentd.api.commands import declare
from rdagentd.api.context import Context, Daemon
from rdagentd.api.peer import Access, Peer
from rdagentd.api.server import Server
from rdagentd.companion import accompany
from rdagentd.config.config import Config, load_config
from rdagentd.config.problems import ConfigError, Problem
from rdagentd.config.profiles import Profiles, load_profiles, profile_directories
from rdagentd.config.workers import load_workers
from rdagentd.core import dependencies
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.core.pressure import Pressure
from rdagentd.drivers.docker import DockerDriver
from rdagentd.drivers.docker_socket import SocketDriver
from rdagentd.drivers.process import ProcessDriver
from rdagentd.drivers.socket_rules import Granted
from rdagentd.model.container import DriverName
from rdagentd.model.provider import Circuit
from rdagentd.model.requests import Capacity
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.outputs.outputs import Outputs
from rdagentd.outputs.sinks import LogError
from rdagentd.protocol.errors import INVALID, ProtocolError
from rdagentd.store.codec import decode_circuits
from rdagentd.store.errors import StoreError, Unreadable
from rdagentd.store.store import Store
from rdagentd.store.writes import SetMeta
from rdagentd.supervisor.drivers import DockerListener, Drivers
from rdagentd.supervisor.failpoint import failpoint
from rdagentd.supervisor.gauge import Gauge, stalls
from rdagentd.supervisor.health import StatusTeller, Watchdog, status_line, watchdog_interval
from rdagentd.supervisor.host import capacity
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.ids import RunIds
from rdagentd.supervisor.load import LoadMeter
from rdagentd.supervisor.meter import Meter
from rdagentd.supervisor.pictures import Pictures
from rdagentd.supervisor.preflight import Starts
from rdagentd.supervisor.probes import Probes
from rdagentd.supervisor.pruning import Pruning
from rdagentd.supervisor.reporters import Reporters
from rdagentd.supervisor.results import Results
from rdagentd.supervisor.rows import Rows
from rdagentd.supervisor.scrape import Scraper
from rdagentd.supervisor.space import Space
from rdagentd.supervisor.supervisor import EPOCHS, Supervisor
from rdagentd.supervisor.tallies import by_key, loaded_tallies
from rdagentd.supervisor.traffic import Traffic
from rdagentd.supervisor.used import Found, LastFound
from rdagentd.systemd import passed_socket

log = logging.getLogger(__name__)

T = TypeVar("T")

_SOCKET_GROUP = "rdagentd"
_EXECUTOR_PATIENCE = 20.0
"""Seconds to wait for the executor before we are ready without it: well below the 90 s after which systemd gives a start up."""

_STOP_SLACK = 60
"""Seconds beyond the longest stop that was asked for, for SIGKILL to do its work and the state to be kept."""

_LONGEST_PATH = 107
"""Bytes of a Unix socket's path, without the closing zero (unix(7))."""


class StartError(Exception):
    """The daemon cannot start: a sentence for the person who started it."""


@frozen
class Options:
    """Where things are. launch starts an executor where none answers (`up`); None: somebody else does (`serve`).

    workers: where the executor keeps what is the workers' own. ready is called once it serves. gateway: its command line, empty
    if none is to be started.
    """

    state: Path
    logs: Path
    socket: Path
    executor_socket: Path
    config: str | None
    workers: Path
    launch: Callable[[], None] | None
    ready: Callable[[], None] = lambda: None
    gateway: Sequence[str] = ()

    @property
    def takes_workers_along(self) -> bool:
        """Whether the end of the daemon is the end of its workers."""
        return self.launch is not None


class Host:
    """One daemon from start to end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._done = asyncio.Event()
        self._drained = asyncio.Event()
        self._stops = 0
        self._reloading: asyncio.Future[None] | None = None
        self._config: Config
        self._profiles: Profiles
        self._daemon: Daemon
        self._server: Server
        self._driver: ProcessDriver
        self._docker: DockerDriver
        self._sockets: SocketDriver
        self._gauge: Gauge
        self._supervisor: Supervisor
        self._outputs = Outputs()
        notifier = sdnotify.SystemdNotifier()
        self._notify: Callable[[str], None] = notifier.notify if "NOTIFY_SOCKET" in os.environ else lambda state: None

    # --- in -----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serves until told to leave. Raises StartError, ConfigError, LogError or StoreError if it cannot begin."""
        try:
            lock = self._lock()
            try:
                with self._outputs:
                    await self._serve()
            finally:
                pidfile.release(lock)
        except (StartError, ConfigError, LogError, StoreError) as error:
            self._notify(f"STATUS={str(error).splitlines()[0]}")
            raise

    async def _serve(self) -> None:
        self._config = load_config(self._options.config).config
        self._outputs.configure(self._config.logging, self._config.log_level)
        self._profiles, specs = self._specs(self._config)
        store = self._store()
        try:
            listener = self._listener()
            self._assemble(store)
            self._server = server = Server(self._daemon, self._config.access)
            await server.listen(listener)
            self._follow_signals()
            self._driver.open()
            self._watch()
            await self._apply_at_start(specs)
            await self._executor_there()
            log.info("ready on %s, %d workers", self._options.socket, len(self._supervisor.engine.workers))
            self._options.ready()
            gc.collect()
            gc.freeze()  # what is here now stays: later collections need not look at it
            async with self._accompanied():
                await self._done.wait()
            await server.leave()
            self._docker.close()
            self._sockets.close()
        finally:
            store.close()

    @contextlib.asynccontextmanager
    async def _accompanied(self) -> AsyncIterator[None]:
        """With a gateway beside us, if there is to be one."""
        wanted = self._options.gateway and self._config.gateway.up
        gateway = asyncio.ensure_future(accompany(self._options.gateway)) if wanted else None
        try:
            yield
        finally:
            if gateway is not None:
                gateway.cancel()
                await asyncio.wait([gateway])

    async def _executor_there(self) -> None:
        """Whoever started us wants to use us, so we are ready with the executor; without it we can tell so, and that is why
        we are ready then too, only later: who asks `status` or `why` is answered, and it may still come.
        """
        connected, done = (asyncio.ensure_future(event.wait()) for event in (self._driver.heard, self._done))
        await asyncio.wait((connected, done), timeout=_EXECUTOR_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not connected.done() and not done.done():
            log.warning("no executor at %s yet: nothing can be started", self._options.executor_socket)
        for waiting in (connected, done):
            waiting.cancel()
        if not self._done.is_set():
            self._notify(f"READY=1\nSTATUS={status_line(self._supervisor)}")

    def _lock(self) -> int:
        """Held while this daemon lives: a second one on the same state would decide against it."""
        state = self._options.state
        try:
            state.mkdir(mode=0o750, parents=True, exist_ok=True)
            return pidfile.acquire(state)
        except pidfile.LockedError as error:
            other = f"another rdagentd (pid {error.pid or 'unknown'}) uses {state}"
            raise StartError(f"cannot start: {other}; stop it or use another directory") from None
        except OSError as error:
            raise StartError(f"cannot use state directory {state}: {error.strerror}") from None

    def _store(self) -> Store:
        config = self._config
        path = str(self._options.state / "state.db")
        store = Store(path, config.keep_runs, config.keep_events, config.keep_revisions, failpoint)
        self._loaded = store.open()
        return store

    def _listener(self) -> socket.socket:
        passed = passed_socket()
        if passed is not None:
            return passed
        path = self._options.socket
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise StartError(
                f"cannot listen on {path}: the path is longer than {_LONGEST_PATH} bytes; choose a shorter one"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # ours: whoever holds the lock owns the socket
            listener.bind(os.fspath(path))
            path.chmod(0o660)
            if os.geteuid() == 0:
                self._share(path)
        except OSError as error:
            listener.close()
            raise StartError(f"cannot listen on {path}: {error.strerror}") from None
        return listener

    def _share(self, path: Path) -> None:
        try:
            os.chown(path, -1, grp.getgrnam(_SOCKET_GROUP).gr_gid)
        except KeyError:
            log.info("no group %s on this host: only root can reach %s", _SOCKET_GROUP, path)

    def _assemble(self, store: Store) -> None:
        loaded, boot = self._loaded, Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        engine = Engine(
            RunIds(max((worker.run.id for worker in loaded.workers if worker.run), default="")),
            {name: group.slots for name, group in self._config.groups.items()},
            self._config.max_workers,
            capacity=self._capacity(self._config),
        )
        engine.pressure = Pressure(self._config.pressure)
        epochs = {driver: loaded.meta.get(key, "") for driver, key in EPOCHS.items()}
        forgetting = loaded.meta.get("forgetting", "").split()
        self._supervisor = supervisor = Supervisor(engine, store, Hub(), epochs, forgetting)
        docker = self._config.docker
        self._sockets = SocketDriver(
            docker.proxy, str(self._options.state), supervisor, engine.workers.get, self._granted
        )
        self._driver = ProcessDriver(os.fspath(self._options.executor_socket), self._sockets, self._options.launch)
        self._sockets.process = self._driver
        self._gauge = Gauge(supervisor.post, self._config.pressure)
        supervisor.on_look = self._gauge.look_at
        self._driver.on_pressure, self._driver.on_unseen = partial(self._gauge.look, True), self._gauge.unseen
        self._driver.watch_pressure(stalls(self._config.pressure))
        listener = DockerListener(supervisor)
        self._docker = DockerDriver(
            docker.socket,
            self._options.state / "docker",
            listener,
            docker.range,
            self._driver.evict,
            channels=self._driver.channels,
        )
        supervisor.driver = Drivers(self._sockets, self._docker, partial(_driver_of, engine))
        logs = {DriverName.PROCESS: self._options.logs, DriverName.DOCKER: self._docker.logs.root}
        supervisor.rows = Rows(engine)
        take_up = self._attach(supervisor, logs)
        for bad in loaded.bad:
            log.error("worker %s: %s", bad.name, bad.reason, extra={"worker": bad.name})
        engine.providers.settings = self._config.providers
        engine.purse.set_budgets(by_key(self._config.budgets), ())
        now, rebooted = time.monotonic(), loaded.meta.get("boot_id", boot) != boot
        effects = engine.restore(loaded.workers, now, rebooted, loaded_tallies(loaded.meta))
        effects += engine.restore_circuits(_circuits(loaded.meta), now, rebooted)
        engine.restore_unreadable((bad.name, bad.reason) for bad in loaded.bad)
        supervisor.on_docker = self._docker.open
        supervisor.on_socket = self._sockets.open
        supervisor.begin(effects, SetMeta("boot_id", boot))
        for worker in engine.workers.values():
            take_up(worker)
        if any(worker.spec.driver is DriverName.DOCKER for worker in engine.workers.values()):
            self._docker.open()
        for name in forgetting:  # before a new worker of that name can have a container
            if name not in engine.workers:
                self._docker.forget(name)
        if self._docker.was_used:
            self._docker.open()  # there may be containers of workers that nobody knows any more
        needed = any(worker.spec.docker_socket for worker in engine.workers.values())
        if needed or os.access(docker.proxy, os.W_OK):
            self._sockets.open()  # likewise
        traffic, meter = Traffic(), LoadMeter(os.fspath(self._options.state))
        scraper = Scraper(supervisor, traffic, self._looks(), meter, lambda: self._config.metrics)
        self._daemon = Daemon(
            supervisor,
            supervisor.rows,
            logs,
            self.reload,
            self.drain,
            lambda: self._config.docker,
            traffic,
            scraper.packed,
            lambda: self._config.rd_agent,
            lambda: self._driver.workers,
            lambda: self._profiles,
            one_user=self._options.launch is not None and os.geteuid() != 0,
            state=self._options.state,
        )

    def _attach(self, supervisor: Supervisor, logs: Mapping[DriverName, Path]) -> Callable[[Worker], None]:
        """Puts those in their places that follow the workers; returns what shows them one that was there before."""
        post, workers, driver = supervisor.post, supervisor.engine.workers, supervisor.driver
        space = Space(post, self._driver.tend, lambda: self._driver.workers, supervisor.engine.counts_disk)
        output = Meter(post, supervisor.engine, lambda: driver)
        reporters = Reporters(post, lambda: driver, supervisor.hub, logs, workers)
        results = Results(post, lambda: driver, workers, logs)
        probes = Probes(post, driver, self._docker)
        pruning = Pruning(lambda: driver, workers.get, post)
        self._driver.on_tended = space.tended
        supervisor.on_spawn = Starts(driver, workers.get, post).spawn
        supervisor.at_end = lambda run, then: reporters.at_end(run, lambda: results.at_end(run, then))
        supervisor.on_worker = _each(space.follow, output.follow, reporters.follow, probes.follow, pruning.follow)
        supervisor.on_forgotten = _each(reporters.forget, probes.forget)
        supervisor.on_probe, supervisor.answers = probes.ask, probes.answers
        supervisor.on_grew, supervisor.disk = output.grew, space.used
        supervisor.on_executor = lambda: self._executor_came(space.again, output.again)
        supervisor.pictures = Pictures(post, lambda: driver, logs)
        return _each(reporters.follow, pruning.follow)

    def _executor_came(self, *those: Callable[[Iterable[Worker]], None]) -> None:
        """Each of them asks it anew."""
        for again in those:
            again(self._supervisor.engine.workers.values())
        self._docker.executor_came()

    def _looks(self) -> dict[DriverName, LastFound]:
        """What runs use, asked of each driver by itself: an engine that hangs keeps nothing back but its own."""

        async def of_processes(runs: Sequence[str]) -> Found:
            return Found(*await asyncio.gather(self._driver.usage(runs), self._driver.own_usage()))

        async def of_containers(runs: Sequence[str]) -> Found:
            return Found(await self._docker.usage(runs))

        return {DriverName.PROCESS: LastFound(of_processes), DriverName.DOCKER: LastFound(of_containers)}

    def _granted(self) -> Granted:
        """What the configuration grants to runs with a Docker socket, at the moment."""
        docker = self._config.docker
        return Granted(docker.directories, docker.networks)

    def _follow_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_leave)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)

    def _asked_to_reload(self) -> None:
        self._reloading = asyncio.ensure_future(self._reload_by_signal())  # kept: the loop alone would let it go

    def _watch(self) -> None:
        teller = StatusTeller(self._supervisor, self._notify)
        self._supervisor.on_change = self._changed(teller)
        interval = watchdog_interval()
        if interval is not None:
            watchdog = Watchdog(self._supervisor, self._notify, interval)
            self._driver.on_pong = watchdog.pong
            self._tick(watchdog, interval)

    def _tick(self, watchdog: Watchdog, interval: float) -> None:
        problem = watchdog.tick()
        if problem:
            log.error("not healthy: %s", problem)
        asyncio.get_running_loop().call_later(interval, self._tick, watchdog, interval)

    def _changed(self, teller: StatusTeller) -> Callable[[], None]:
        tells = "NOTIFY_SOCKET" in os.environ

        def changed() -> None:
            if tells:
                teller.changed()
            if self._supervisor.engine.draining and not self._supervisor.engine.live():
                self._drained.set()
                self._leave()

        return changed

    # --- configuration ------------------------------------------------------------------------------------------------

    def _specs(self, config: Config) -> tuple[Profiles, list[tuple[str, Spec]]]:
        """The profiles, and the specs of workers.d, each with its file. Raises ConfigError."""
        directory = config.workers_dir
        profiles = load_profiles(profile_directories(self._options.config), str(self._options.workers))
        if directory is None and self._options.config:
            beside = Path(self._options.config).parent / "workers.d"
            directory = str(beside) if beside.is_dir() else None
        return profiles, load_workers(directory, profiles) if directory is not None else []

    async def _apply(self, specs: Sequence[tuple[str, Spec]]) -> list[dict[str, Any]]:
        peer = Peer(
            os.getpid(), os.geteuid(), os.getegid(), Access.ADMIN
        )  # who reloads does not come to own what is new
        return await declare(Context(self._daemon, peer, None, "reload"), specs)

    async def _apply_at_start(self, specs: Sequence[tuple[str, Spec]]) -> None:
        try:
            await self._apply(specs)
        except ProtocolError as error:  # the disk is full, perhaps; those that run are looked after all the same
            log.error("cannot take up the workers of workers.d: %s; reload to try again", error)

    async def reload(self, by: int) -> list[dict[str, Any]]:
        """Reads the configuration again; on a mistake in it the old one stays. Raises ProtocolError with the mistakes."""
        try:
            config, (profiles, specs), offered = await asyncio.to_thread(self._read)
            self._check_dependencies(spec for _, spec in specs)
        except (ConfigError, LogError) as error:
            text = f"cannot reload: {error}"
            log.error("%s; the configuration stays as it was", text)
            self._notify(f"STATUS={text.splitlines()[0]}; the configuration stays as it was")
            raise ProtocolError(INVALID, text) from None
        self._supervisor.post(ev.HostChanged(offered, config.pressure))
        self._driver.watch_pressure(stalls(config.pressure))
        self._gauge.watch(config.pressure)
        changes = await self._apply(specs)
        self._server.grant(config.access)
        self._profiles = profiles
        self._config = config  # keep_* and max_workers count from the next start on
        self._supervisor.post(ev.ProvidersChanged(config.providers))
        self._supervisor.post(ev.BudgetsChanged(by_key(config.budgets)))
        self._supervisor.post(ev.GroupsChanged({name: group.slots for name, group in config.groups.items()}))
        log.info("configuration reloaded, asked by uid %d", by)
        self._notify(f"STATUS={status_line(self._supervisor)}")  # in the place of a mistake that it may have named
        return changes

    def _read(self) -> tuple[Config, tuple[Profiles, list[tuple[str, Spec]]], Capacity]:
        """All that is read anew; where to log to, which can fail, takes effect here. Raises ConfigError, LogError."""
        config = load_config(self._options.config).config
        read = config, self._specs(config), self._capacity(config)
        self._outputs.configure(config.logging, config.log_level)
        return read

    def _capacity(self, config: Config) -> Capacity:
        return capacity(config.host, os.fspath(self._options.state))

    def _check_dependencies(self, specs: Iterable[Spec]) -> None:
        """Raises ConfigError for those that depend on what there is not, or on themselves."""
        named = {spec.name: spec for spec in specs}
        wrong = dependencies.problem(named, dependencies.depends_with(named, self._supervisor.engine.workers))
        if wrong is not None:
            raise ConfigError([Problem("depends", wrong)])

    async def _reload_by_signal(self) -> None:
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await self.reload(os.geteuid())
        except ProtocolError as error:
            if error.code != INVALID:
                log.error("cannot reload: %s", error)
        finally:
            self._notify("READY=1")

    # --- out ----------------------------------------------------------------------------------------------------------

    def _asked_to_leave(self) -> None:
        self._stops += 1
        if not self._options.takes_workers_along:
            self._notify("STOPPING=1")
            log.info("leaving; workers run on")
            self._done.set()
        elif self._stops == 1:
            self._drain()
        elif self._stops == 2:
            self._kill_all()
        else:  # neither helped: the disk is full, perhaps, and no end can be kept
            log.warning("asked a third time: leaving; what still runs is found again at the next start")
            self._done.set()

    def _drain(self) -> None:
        longest = dependencies.longest(filter(_has_run, self._supervisor.engine.workers.values()), _stop_time)
        self._notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int((longest + _STOP_SLACK) * 1e6)}")
        log.info("stopping: %d runs are asked to end", self._supervisor.engine.live())
        self._supervisor.post(ev.DrainRequested())

    async def drain(self) -> None:
        """Stops all workers, keeping what is wished for them; done when none is left. The daemon and the executor leave."""
        self._drain()
        await self._drained.wait()

    def _kill_all(self) -> None:
        if not self._supervisor.engine.live():
            log.warning("asked again: the executor is left alone")
            self._done.set()
            return
        log.warning("asked again: all runs are killed")
        for worker in list(self._supervisor.engine.workers.values()):
            if _has_run(worker):
                self._supervisor.driver.kill(worker.run.id)  # type: ignore[union-attr]

    def _leave(self) -> None:
        if not self._done.is_set():
            self._driver.on_left = self._done.set
            self._driver.leave()


def _driver_of(engine: Engine, name: str) -> DriverName:
    worker = engine.workers.get(name)
    return DriverName.PROCESS if worker is None else worker.spec.driver


def _circuits(meta: Mapping[str, str]) -> dict[str, Circuit]:
    """The breakers of providers as they were kept; closed, if they cannot be read: they open again if need be."""
    try:
        return decode_circuits(meta.get("providers", "{}"))
    except Unreadable as error:
        log.error("cannot read the breakers of providers: %s; they begin closed", error)
        return {}


def _each(*followers: Callable[[T], None]) -> Callable[[T], None]:
    """Tells each of them how a worker is now, or that it is gone."""

    def follow(about: T) -> None:
        for tell in followers:
            tell(about)

    return follow


def _has_run(worker: Worker) -> bool:
    return worker.run is not None and worker.run.exit is None


def _stop_time(worker: Worker) -> float:
    """Seconds from the first signal until nothing is left to be asked."""
    stop = worker.spec.stop
    return stop.interval * (len(stop.signals) - 1) + stop.grace


def raise_descriptor_limit() -> None:
    """Each client takes a descriptor: as many as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def dump_no_core() -> None:
    """Environments of workers, which hold keys, are in memory. The hard limit stays: workers may raise theirs. See core(5)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
