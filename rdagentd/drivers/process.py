"""The process driver: a connection to the executor, made again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal as signals
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import fields

from rdagentd import __version__
from rdagentd.drivers.base import Assisted, EndedRun, Errand, HeldRun, Listener
from rdagentd.drivers.identity import Identity, UnknownUserError, identify
from rdagentd.drivers.limits import Unmet, cgroup_values, unmet
from rdagentd.drivers.sandbox import sandbox
from rdagentd.drivers.watchdog import watchdog_variables
from rdagentd.model.checkpoints import filled
from rdagentd.model.directories import CacheDirectory
from rdagentd.model.requests import Requests
from rdagentd.model.run import Exit, ExitKind, Usage
from rdagentd.model.size import format_size
from rdagentd.model.spec import Limits, Rlimit, Spec
from rdagentd.model.worker import Worker
from rdagentd.protocol import frames
from rdagentd.protocol.egress import class_of
from rdagentd.protocol.segments import STREAMS

log = logging.getLogger(__name__)

_RETRY = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to connect; the last one repeats."""

_UCRED = struct.Struct("3i")
"""pid, uid, gid: struct ucred of unix(7)."""

_LEAVE = 5.0
"""Seconds that an executor which was only just started has to say hello before it is left alone."""

_NO_CGROUP = {"files": (), "problem": "the executor is of an earlier version; restart rdagentd-executor.service"}

_AT_ONCE = 64
"""Runs whose usage is asked for in one request, so that the executor is not kept from its logs for long."""

_ASSISTANTS = 64
"""The executor has no more at a time: the others wait here."""

_ANSWERED = ("usage", "evict", "ping", "channels")
"""The operations that the executor answers one by one, in the order of the requests."""

_RLIMITS = {
    "address_space": "RLIMIT_AS",
    "core": "RLIMIT_CORE",
    "cpu_time": "RLIMIT_CPU",
    "data": "RLIMIT_DATA",
    "fsize": "RLIMIT_FSIZE",
    "memlock": "RLIMIT_MEMLOCK",
    "msgqueue": "RLIMIT_MSGQUEUE",
    "nice": "RLIMIT_NICE",
    "nofile": "RLIMIT_NOFILE",
    "nproc": "RLIMIT_NPROC",
    "rss": "RLIMIT_RSS",
    "rtprio": "RLIMIT_RTPRIO",
    "rttime": "RLIMIT_RTTIME",
    "sigpending": "RLIMIT_SIGPENDING",
    "stack": "RLIMIT_STACK",
}


class ProcessDriver:
    """Speaks the executor protocol. `launch` starts an executor where nobody else does; it is called when none answers.

    heard: set when an executor has said hello for the first time. workers: where the workers' directories are, once it has.
    """

    def __init__(self, path: str, listener: Listener, launch: Callable[[], None] | None = None) -> None:
        self._path = path
        self._listener = listener
        self._launch = launch
        self._link: _Link | None = None
        self._hello: dict[str, Any] | None = None
        self._closing = False
        self._leaving = False
        self._renewed = False
        self._attempt = 0
        self._uid = -1
        self._enforced: Mapping[str, Any] = _NO_CGROUP
        self._hears = False
        self._asked: dict[str, deque[asyncio.Future[Mapping[str, Any]]]] = {op: deque() for op in _ANSWERED}
        self._room = asyncio.Semaphore(_ASSISTANTS)
        self._watched: dict[tuple[str, str], int] = {}
        self._errands: dict[str, asyncio.Future[Assisted]] = {}
        self._name, self._count = secrets.token_hex(4), 0
        self._task: asyncio.Task[None] | None = None
        self._stalls: Mapping[str, int] = {}
        self.on_pressure: Callable[[], None] = lambda: None
        self.on_unseen: Callable[[str], None] = lambda problem: None
        self.on_pong: Callable[[], None] = lambda: None
        self.on_left: Callable[[], None] = lambda: None
        self.on_tended: Callable[[Mapping[str, Any]], None] = lambda found: None
        self.heard = asyncio.Event()
        self.workers: str | None = None

    # --- connection ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to connect; `Listener.connected` tells when it is done."""
        self._task = asyncio.get_running_loop().create_task(self._connect())

    def close(self) -> None:
        """Leaves the executor as it is."""
        self._closing = True
        if self._task:
            self._task.cancel()
        if self._link:
            self._link.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closing:
            if self._attempt:
                await asyncio.sleep(_RETRY[min(self._attempt, len(_RETRY)) - 1])
            self._attempt += 1  # until it has said hello: one that talks nonsense is not to be asked in haste
            try:
                await loop.create_unix_connection(lambda: _Link(self), self._path)
                return
            except OSError as error:
                if self._attempt == len(_RETRY):
                    log.warning("cannot reach the executor at %s: %s; trying on", self._path, error.strerror)
                self._launch_one()

    def _launch_one(self) -> None:
        if self._launch is None:
            return
        try:
            self._launch()
        except OSError as error:
            log.warning("cannot start the executor: %s; trying on", error)

    def linked(self, link: _Link, uid: int) -> None:
        """A connection to an executor of user `uid` stands: ask what it holds."""
        self._link, self._uid = link, uid
        link.send({"op": "hello"})

    def unlinked(self, link: _Link, reason: str) -> None:
        """The connection is gone: try again at once."""
        if self._link is not link:
            return
        known, self._link, self._hello = self._hello is not None, None, None
        self._watched.clear()
        for op, asked in self._asked.items():
            while asked:
                self._answer(op, {})
        for errand in list(self._errands):
            self._assisted(errand, Assisted(reason=f"the executor cannot be reached: {reason}"))
        if self._closing:
            self.on_left()
            return
        if known:
            self._listener.lost(reason)
        self.open()

    # --- asked --------------------------------------------------------------------------------------------------------

    def spawn(self, worker: Worker) -> None:
        """Start `worker.run`; an unknown user, or a required limit that cannot be enforced, is told as its end."""
        assert worker.run is not None
        try:
            who = identify(worker.spec.user, worker.spec.group, worker.owner, self._uid)
        except UnknownUserError as error:
            self._refuse(worker, "user", str(error))
            return
        if worker.spec.isolation.confines and (self._uid if who.uid is None else who.uid) == 0:
            self._refuse(
                worker, "isolation", "could not start: isolation does not hold root; set user to somebody else"
            )
            return
        lacking = [limit.text for limit in self.unmet(worker.spec) if limit.required]
        if worker.spec.watchdog is not None and not self._hears:
            lacking.append("watchdog: the executor is of an earlier version; restart rdagentd-executor.service")
        if lacking:
            self._refuse(worker, "limits", f"could not start: {'; '.join(lacking)}")
        else:
            self._send(spawn_message(worker, who, self._enforced["files"]))

    @property
    def uid(self) -> int:
        """The executor's user; -1 while none was reached."""
        return self._uid

    def _refuse(self, worker: Worker, stage: str, reason: str) -> None:
        assert worker.run is not None
        ended = Exit(ExitKind.COULD_NOT_START, stage=stage, reason=reason)
        self._listener.ended(EndedRun(worker.name, worker.run.id, ended, None, None))

    def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal by name."""
        self._send({"op": "signal", "run": run, "signal": int(signals.Signals[signal]), "scope": scope})

    def freeze(self, run: str) -> None:
        """Stop the whole tree from running."""
        self._send({"op": "freeze", "run": run})

    def thaw(self, run: str) -> None:
        """Let it go on."""
        self._send({"op": "thaw", "run": run})

    def kill(self, run: str) -> None:
        """End the whole tree."""
        self._send({"op": "kill", "run": run})

    def ack(self, run: str) -> None:
        """The end of this run is on disk."""
        self._send({"op": "ack", "run": run})

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Tell once when the log's end is beyond offset. The executor keeps one for each log: the lowest of all."""
        offset = min(offset, self._watched.get((worker, stream), offset))
        self._watched[worker, stream] = offset
        self._send({"op": "watch", "worker": worker, "stream": stream, "offset": offset})

    async def catch_up(self, worker: str) -> None:
        """Nothing: the executor writes at once."""

    def forget(self, worker: str) -> None:
        """Remove the worker's log."""
        self._send({"op": "forget", "worker": worker})

    def unmet(self, spec: Spec) -> Sequence[Unmet]:
        """As the executor's `hello` says."""
        return unmet(spec.limits, self._enforced) if self._hello is not None else ()

    def waits(self, run: str) -> str | None:
        """For nothing."""
        return None

    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What is not answered, because the executor is gone, is not known."""
        firsts = range(0, len(runs) if self._hello is not None else 0, _AT_ONCE)
        answers = [self._ask("usage", runs=list(runs[first : first + _AT_ONCE])) for first in firsts]
        return {run: used for answer in answers for run, used in (await answer).get("runs", {}).items()}

    async def evict(self, container: str) -> int | None:
        """Has all that is of a container of Docker's killed, whatever the engine knows of it; how many processes these were,
        None if the executor cannot be asked."""
        return (await self._ask("evict", container=container)).get("found") if self._hello is not None else None

    async def channels(self, runs: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
        """Has sockets for these runs in containers (with their workers), and for no others: path of the directory to mount,
        and what was told on it. Empty if the executor cannot be asked, or has none to give.
        """
        return (await self._ask("channels", runs=dict(runs))).get("runs", {}) if self._hello is not None else {}

    def _ask(self, op: str, **fields: Any) -> asyncio.Future[Mapping[str, Any]]:
        """The answer to come; those to one operation come in the order of the requests. Empty if there will be none."""
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[op].append(answer)
        self._send({"op": op, **fields})
        return answer

    def _answer(self, op: str, message: Mapping[str, Any]) -> None:
        answer = self._asked[op].popleft()
        if not answer.done():  # whoever asked may have gone away
            answer.set_result(message)

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        """Have a command done as the worker's user; without an executor, and for an unknown user, the reason is told."""
        try:
            who = identify(worker.spec.user, worker.spec.group, worker.owner, self._uid)
        except UnknownUserError as error:
            return Assisted(reason=str(error))
        self._count += 1
        name = f"{self._name}-{self._count}"
        async with self._room:
            if self._hello is None:
                return Assisted(reason="the executor cannot be reached")
            self._errands[name] = asyncio.get_running_loop().create_future()
            self._send(assist_message(worker, who, errand, name, self._enforced["files"]))
            return await self._errands[name]

    def _assisted(self, name: str, told: Assisted) -> None:
        answer = self._errands.pop(name, None)  # None: of a daemon before us
        if answer is not None and not answer.done():
            answer.set_result(told)

    async def own_usage(self) -> tuple[float, int] | None:
        """CPU seconds and bytes of memory (resident) of the executor itself; None if it does not answer, or does not know."""
        if self._hello is None:
            return None
        told = await self._ask("ping")
        return (told["cpu"], told["memory"]) if "cpu" in told else None  # an earlier version says no more than pong

    def watch_pressure(self, stalls: Mapping[str, int]) -> None:
        """`on_pressure` is called when programs wait for a resource for so many microseconds in 10 seconds; `on_unseen` with
        the reason if that cannot be known, and with "" while it may."""
        self._stalls = stalls
        self._send({"op": "pressure", "stalls": dict(stalls)})
        self.on_unseen("")

    def tend(self, worker: str, cache: CacheDirectory | None) -> bool:
        """`on_tended` is called with what the worker's directories hold; False if the executor cannot be asked."""
        limits = None if cache is None else {"size": cache.size, "age": cache.age}
        self._send({"op": "tend", "worker": worker, "cache": limits})
        return self._hello is not None

    def ping(self) -> None:
        """`on_pong` is called when the executor answers."""
        if self._hello is not None:
            self._ask("ping")

    def leave(self) -> None:
        """Have the executor exit; `on_left` is called when it is gone. One that is only just being started is waited for."""
        if self._leaving:
            return
        self._leaving = True
        if self._hello is not None:
            self._leave()
        elif self._launch is None:
            self.on_left()
        else:
            asyncio.get_running_loop().call_later(_LEAVE, self.on_left)

    def _leave(self) -> None:
        self._closing = True
        self._send({"op": "leave"})

    def facts(self) -> Mapping[str, Any] | None:
        """pid and version of the executor; None while it cannot be reached."""
        return self._hello

    def _send(self, message: dict[str, Any]) -> None:
        # Before its hello the executor is not spoken to: what still matters then is said again, and nothing else may be.
        if self._link is not None and self._hello is not None:
            self._link.send(message)

    # --- told ---------------------------------------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """One notice of the executor."""
        notice = message.get("notice")
        handler = _NOTICES.get(notice) if isinstance(notice, str) else None
        if handler is None:
            log.warning("cannot understand the executor's notice %r", notice)
        elif self._hello is not None or notice in (
            "hello",
            "refused",
        ):  # what happens before it stands in it, and in order
            handler(self, message)

    def _on_hello(self, message: dict[str, Any]) -> None:
        if message["version"] != __version__ and not self._renewed and self._link is not None:
            self._renewed = True  # once: it may be that there is no other program where it was started from
            log.info("the executor is version %s: it is asked to become %s", message["version"], __version__)
            self._link.send({"op": "reexec"})
            return
        runs = [held_run(run) for run in message["runs"]]
        ended = [ended_run(exit_) for exit_ in message["exits"]]
        epoch, facts = message["epoch"], {"pid": message["pid"], "version": message["version"]}
        self.workers = message.get("workers")
        self._hello, self._attempt = facts, 0
        self._enforced = message.get("cgroup", _NO_CGROUP)
        self._hears = message.get("notify", False)
        self._listener.connected(epoch, runs, ended)
        if self._stalls:
            self.watch_pressure(self._stalls)
        self.heard.set()
        if self._leaving:
            self._leave()

    def _on_started(self, message: dict[str, Any]) -> None:
        self._listener.started(held_run(message))

    def _on_exited(self, message: dict[str, Any]) -> None:
        self._listener.ended(ended_run(message))

    def _on_grew(self, message: dict[str, Any]) -> None:
        self._watched.pop((message["worker"], message["stream"]), None)
        self._listener.grew(message["worker"], message["stream"], message["end"])

    def _on_told(self, message: dict[str, Any]) -> None:
        if message["fields"]:
            self._listener.told(message["worker"], message["run"], message["fields"])
        if message["trouble"]:
            self._listener.noted(message["worker"], "notice", message["trouble"])

    def _on_channels(self, message: dict[str, Any]) -> None:
        self._answer("channels", message)

    def _on_usage(self, message: dict[str, Any]) -> None:
        self._answer("usage", message)

    def _on_evicted(self, message: dict[str, Any]) -> None:
        self._answer("evict", message)

    def _on_assisted(self, message: dict[str, Any]) -> None:
        told = Assisted(message["code"], message["signal"], message["output"], message["reason"])
        self._assisted(message["id"], told)

    def _on_pressure(self, message: dict[str, Any]) -> None:
        self.on_pressure()

    def _on_tended(self, message: dict[str, Any]) -> None:
        self.on_tended(message)

    def _on_pong(self, message: dict[str, Any]) -> None:
        self.on_pong()
        self._answer("ping", message)

    def _on_refused(self, message: dict[str, Any]) -> None:
        log.warning("the executor refused %s: %s", message.get("op"), message.get("reason"))
        if message.get("op") == "reexec" and self._link is not None:
            self._link.send({"op": "hello"})  # then as it is
        if message.get("op") == "pressure":
            self.on_unseen(f"pressure on this host is not seen: {message.get('reason')}")
        if message.get("op") == "tend":
            self.on_tended({"worker": message.get("worker"), "problem": message.get("reason")})
        if message.get("op") == "assist":  # an earlier version names none
            for name in [message["id"]] if "id" in message else list(self._errands):
                self._assisted(name, Assisted(reason=str(message.get("reason"))))
        if message.get("op") in self._asked:  # an earlier version
            self._answer(message["op"], {})
        if message.get("op") == "leave":  # asked again when the run that is still there has ended
            self._leaving = self._closing = False

    def _on_done(self, message: dict[str, Any]) -> None:
        """frozen, thawed: as it was asked."""

    def _on_forgotten(self, message: dict[str, Any]) -> None:
        for stream in STREAMS:
            self._watched.pop((message["worker"], stream), None)
        self._listener.forgotten(message["worker"])


_NOTICES: dict[str, Callable[[ProcessDriver, dict[str, Any]], None]] = {
    "hello": ProcessDriver._on_hello,
    "started": ProcessDriver._on_started,
    "exited": ProcessDriver._on_exited,
    "grew": ProcessDriver._on_grew,
    "told": ProcessDriver._on_told,
    "channels": ProcessDriver._on_channels,
    "usage": ProcessDriver._on_usage,
    "evicted": ProcessDriver._on_evicted,
    "assisted": ProcessDriver._on_assisted,
    "pressure": ProcessDriver._on_pressure,
    "tended": ProcessDriver._on_tended,
    "pong": ProcessDriver._on_pong,
    "refused": ProcessDriver._on_refused,
    "frozen": ProcessDriver._on_done,
    "thawed": ProcessDriver._on_done,
    "forgotten": ProcessDriver._on_forgotten,
}


class _Link(asyncio.Protocol):
    """One connection: frames in, frames out."""

    def __init__(self, driver: ProcessDriver) -> None:
        self._driver = driver
        self._decoder = frames.Decoder(frames.MAX_FRAME, None)
        self._frames: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connection = cast(socket.socket, transport.get_extra_info("socket"))
        _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        self._driver.linked(self, uid)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._driver.receive(message)
        except frames.FrameError as error:
            log.error("cannot understand the executor: %s; connecting again", error)
            self.close()
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:  # a field missing or wrong, or not asked for
            log.error("cannot understand the executor: %s: %s; connecting again", type(error).__name__, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.unlinked(self, str(exc) if exc else "it closed the connection")

    def send(self, message: dict[str, Any]) -> None:
        self._frames.append(frames.pack(message))  # one system call for all effects of one batch
        if len(self._frames) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        packed, self._frames = b"".join(self._frames), []
        if self._transport is not None:
            self._transport.write(packed)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


# --- messages ---------------------------------------------------------------------------------------------------------


def spawn_message(worker: Worker, who: Identity, files: Sequence[str] = ()) -> dict[str, Any]:
    """The executor's `spawn` for a worker's run. files: what there is in its cgroup."""
    spec, run = worker.spec, worker.run
    assert run is not None
    values = cgroup_values(spec.limits, files)
    wished = {**spec.environment, **_gpus(run.holds), **watchdog_variables(spec)}
    environment, defaults = {**who.environment, **wished}, sorted(who.environment.keys() - wished.keys())
    directories = [kind for kind in ("state", "cache") if getattr(spec, kind) is not None]
    options = sandbox(spec.isolation, environment, _own_directories(spec), run.id)
    return {
        "op": "spawn",
        "run": run.id,
        "worker": worker.name,
        "argv": list(_command(worker)),
        "cwd": spec.directory or "/",
        "env": environment,
        "env_files": list(spec.environment_file),
        "uid": who.uid,
        "gid": who.gid,
        "groups": who.groups,
        "umask": spec.umask,
        "nice": spec.nice,
        "rlimits": _rlimits(spec.limits),
        "log": {
            "cap": spec.log.cap,
            "segment": spec.log.segment,
            "separate": spec.log.separate,
            **({} if spec.log.redact else {"redact": False}),  # an older executor knows no such field, here and below
        },
        "linger": spec.stop.grace,
        **({"credentials": dict(spec.credentials)} if spec.credentials else {}),
        **({"secret_environment": dict(spec.secret_environment)} if spec.secret_environment else {}),
        **({"cgroup": values} if values else {}),
        **({"sandbox": options} if options else {}),
        **({"directories": directories} if directories else {}),
        **({"env_defaults": defaults} if spec.environment_file else {}),
        **({"egress": class_of(ports)} if (ports := spec.isolation.egress) else {}),
    }


def _command(worker: Worker) -> tuple[str, ...]:
    """Its own, or the one that goes on from the checkpoint which was chosen."""
    spec, chosen = worker.spec, worker.run.checkpoint if worker.run else None
    if chosen is None or spec.checkpoints is None or not spec.checkpoints.resume:
        return spec.command
    return filled(spec.checkpoints.resume, spec.directory or "/", chosen)


def assist_message(
    worker: Worker, who: Identity, errand: Errand, name: str, files: Sequence[str] = ()
) -> dict[str, Any]:
    """The executor's `assist`: whatever confines a run of the worker holds for it too."""
    spec, run = worker.spec, worker.run.id if worker.run and not worker.run.exit else None
    environment = {**who.environment, **spec.environment, **errand.environment}
    return {
        "op": "assist",
        "id": name,
        "run": run,
        "worker": worker.name,
        "argv": list(errand.command),
        "cwd": spec.directory or "/",
        "env": environment,
        "uid": who.uid,
        "gid": who.gid,
        "groups": who.groups,
        "cgroup": cgroup_values(spec.limits, files),
        "sandbox": sandbox(spec.isolation, environment, _own_directories(spec), run or ""),
        "egress": class_of(ports) if (ports := spec.isolation.egress) else "",
        "timeout": errand.timeout,
        "most": errand.most,
        **({"directories": ["snapshots"]} if errand.snapshots else {}),
    }


def _gpus(holds: Requests) -> dict[str, str]:
    """The GPUs that it has on lease. By default CUDA counts the fastest as the first; ids are in the order of the bus."""
    if isinstance(holds.gpus, int):
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(holds.gpus)}


def _own_directories(spec: Spec) -> tuple[str, ...]:
    return () if spec.directory in (None, "/") else (spec.directory,)


def _rlimits(limits: Limits) -> dict[str, list[int]]:
    chosen: dict[str, list[int]] = {}
    for field, name in _RLIMITS.items():
        limit: Rlimit | None = getattr(limits, field)
        if limit is not None:
            chosen[name] = [-1 if bound is None else bound for bound in (limit.soft, limit.hard)]
    return chosen


def held_run(message: dict[str, Any]) -> HeldRun:
    """A run as `started` and `hello` tell it."""
    return HeldRun(
        worker=message["worker"],
        run=message["run"],
        pid=message["pid"],
        start_ticks=message["start_ticks"] or 0,
        at=message["at"],
        frozen=message.get("frozen", False),
        log=message["log"],
        told=message.get("told", {}),
    )


def ended_run(message: dict[str, Any]) -> EndedRun:
    """A run as `exited` tells it."""
    usage, started = message.get("usage"), message.get("started")
    ended = Exit(
        kind=ExitKind(message["kind"]),
        code=message["code"],
        signal=message["signal"],
        core=bool(message["core"]),
        stage=message["stage"],
        errno=message["errno"],
        reason=_in_words(message),
    )
    return EndedRun(
        worker=message["worker"],
        run=message["run"],
        exit=ended,
        at=message["at"],
        usage=Usage(**{key: usage[key] for key in _USAGE if key in usage}) if usage else None,
        log=message["log"],
        started=held_run(started) if started else None,
        told=message.get("told", {}),
    )


_USAGE = [field.name for field in fields(Usage)]

_CANNOT = "cannot start: "
"""How the executor's own words about a start that failed begin."""


def _in_words(message: dict[str, Any]) -> str:
    said: str = message.get("reason") or ""
    match message["kind"]:
        case "code":
            return f"exited with code {message['code']}"
        case "signal":
            return f"killed by {message['signal']}" + (" (core dumped)" if message["core"] else "")
        case "out_of_memory":
            main = _in_words({**message, "kind": "signal" if message["signal"] else "code"})
            return f"out of memory: {_memory(message)}; {main}"
        case "could_not_start":
            if said.startswith(_CANNOT):
                return f"could not start: {said.removeprefix(_CANNOT)}"
            return f"could not start: {message['stage']}: {said or os.strerror(message['errno'] or 0)}"
        case _:
            return said or "lost: nobody saw how it ended"


def _memory(message: dict[str, Any]) -> str:
    limit, peak = message.get("memory_limit"), (message.get("usage") or {}).get("memory_peak")
    text = "the host had none left" if limit is None else f"its limit is {format_size(limit)}"
    return text if peak is None else f"{text}, its peak was {format_size(peak)}"
