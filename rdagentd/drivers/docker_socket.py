"""The process driver, for runs that may use the Docker engine as well: each has a socket of the proxy's while it lives.

Composed round the process driver, whose listener it is. A run with a socket is opened at the proxy before the executor is
asked to spawn it, and ended there before its end is told: so a run is over when nothing of it is left, containers included.
What is wanted of the proxy for a run is said until it is done; all can be said twice. Nothing is kept here that is not kept
elsewhere: the executor repeats an end until it is acknowledged, and the proxy has a list of what is open. What stands there
and is nobody's, after a crash of ours, is ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

from attrs import define, evolve

from rdagentd.drivers.around import Around
from rdagentd.drivers.base import EndedRun, HeldRun
from rdagentd.drivers.base import Listener as BaseListener
from rdagentd.drivers.identity import Identity, UnknownUserError, identify
from rdagentd.drivers.proxy_link import ProxyAwayError, ProxyLink, ProxyRefusedError
from rdagentd.drivers.socket_rules import Granted, rules_of
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.worker import Worker

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that the proxy may take for a request, beside the grace that the containers are given."""

_SOON = 15.0
"""Seconds that it may take to say how it is, the engine's ping included."""

_LONG = 8.0
"""Seconds that a proxy is away until nobody who kills a run waits for it any more."""

_RETRY = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts; the last one repeats."""

_GRACE = 10
"""Seconds for containers of a run whose worker nobody knows any more."""

_DEADLY = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "SIGHUP"})
"""Signals that end a run which did not begin yet, as they would end a process that did nothing about them."""


class Listener(BaseListener, Protocol):
    """Whom this driver tells."""

    def proxy(self, trouble: str | None) -> None:
        """The proxy can be asked (None), or not: what is wrong, as a verb phrase."""


class Op(StrEnum):
    """What is said to the proxy about a run."""

    OPEN = "open"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"


@define(eq=False)
class _Run:
    """A run with a socket. want: what the proxy is to do; said: what it has done last.

    worker: None for one that nobody knows any more. begins: the executor is to be asked once the socket is there. exit: its
    process is over, which is told once its containers are too. hurry: somebody killed it. trouble: why it could not be done;
    stuck: again and again.
    """

    id: str
    worker: Worker | None
    want: Op
    said: Op | None = None
    begins: bool = False
    exit: EndedRun | None = None
    hurry: bool = False
    trouble: str = ""
    stuck: bool = False
    task: asyncio.Task[None] | None = None


class SocketDriver(Around):
    """path: the proxy's socket; owner: what tells this daemon's runs there from another's.

    known: the worker of a name; granted: what the configuration says at the moment.

    `process` is to be set before anything is asked.
    """

    _listener: Listener

    def __init__(
        self,
        path: str,
        owner: str,
        listener: Listener,
        known: Callable[[str], Worker | None],
        granted: Callable[[], Granted],
    ) -> None:
        super().__init__(listener)
        self._owner = owner
        self._known = known
        self._granted = granted
        self._link = ProxyLink(path, self._look)
        self._runs: dict[str, _Run] = {}
        self._held: dict[str, HeldRun] | None = None
        self._open: set[str] = set()
        self._there = asyncio.Event()
        self._trouble: str | None = ""
        self._gone = False
        self._looking: asyncio.Task[None] | None = None

    # --- the proxy ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to connect to the proxy, if it was not done; `Listener.proxy` tells how it went."""
        if not self._there.is_set():
            self._look()

    def close(self) -> None:
        """Leaves proxy and executor as they are."""
        for task in (self._looking, *(run.task for run in self._runs.values())):
            if task is not None:
                task.cancel()
        self._link.close()

    def _look(self) -> None:
        """Something went wrong, or is new: see how the proxy is."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._find())
            self._looking.add_done_callback(_complain)

    async def _find(self) -> None:
        attempt, begin = 0, time.monotonic()
        while True:
            try:
                await self._link.connect()
                told = await self._link.ask("hello", _SOON, owner=self._owner)
                if told.get("problem") is None:
                    break
                self._tell(told["problem"])
            except (ProxyAwayError, ProxyRefusedError) as error:
                self._tell(str(error))
            self._gone = time.monotonic() - begin >= _LONG
            for run in list(self._runs.values()):
                self._give_up(run)
            await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
            attempt += 1
        self._open = set(told["runs"])
        self._gone = False
        self._take_stock()
        self._there.set()
        self._tell(None)

    def _tell(self, trouble: str | None) -> None:
        """The same is not told twice."""
        if trouble is not None:
            self._there.clear()
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble is not None:
                log.warning("the Docker proxy %s", trouble)
            self._listener.proxy(trouble)

    def _take_stock(self) -> None:
        """What is open there and is nobody's is ended, once it is known what the executor holds."""
        for run in self._runs.values():
            if run.said is None and run.want is not Op.OPEN and run.id in self._open:
                run.said = Op.OPEN
            elif run.said not in (None, Op.END) and run.id not in self._open:
                run.said = None  # it has forgotten: its directory was lost
                self._do(run)
        if self._held is None:
            return
        for name in self._open - self._runs.keys():
            if name in self._held:
                self._adopt(self._held[name])
            else:
                log.info("run %s is over; what it left in Docker is ended", name)
                self._want(self._runs.setdefault(name, _Run(name, None, Op.END)), Op.END)

    # --- one run ------------------------------------------------------------------------------------------------------

    def _want(self, run: _Run, want: Op) -> None:
        run.want = want
        self._do(run)

    def _do(self, run: _Run) -> None:
        if run.task is None and run.want is not run.said:
            run.task = asyncio.get_running_loop().create_task(self._settle(run))
            run.task.add_done_callback(_complain)

    async def _settle(self, run: _Run) -> None:
        """Says what is wanted until it is done; one thing at a time, so that each comes after the one before."""
        attempt = 0
        try:
            while run.want is not run.said:
                await self._there.wait()
                op = Op.OPEN if run.said in (None, Op.END) and run.want is not Op.END else run.want
                try:
                    await self._say(run, op)
                    run.trouble, run.stuck, attempt = "", False, 0
                except ProxyAwayError as error:
                    run.trouble, run.stuck = str(error), attempt >= len(_RETRY)
                    self._give_up(run)
                    self._look()
                    await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
                    attempt += 1
        finally:
            run.task = None

    async def _say(self, run: _Run, op: Op) -> None:
        """Raises ProxyAwayError."""
        try:
            patience, fields = self._request(run, op)
            told = await self._link.ask(op, patience, run=run.id, **fields)
        except (ProxyRefusedError, UnknownUserError) as error:
            self._refused(run, op, str(error))
            return
        run.said = op
        if op is Op.OPEN:
            self._open.add(run.id)
            self._begin(run, told["socket"])
        elif op is Op.END:
            self._open.discard(run.id)
            self._over(run)

    def _request(self, run: _Run, op: Op) -> tuple[float, dict[str, Any]]:
        """Patience in seconds, and the fields. Raises UnknownUserError."""
        if op is Op.END:
            grace = 0 if run.hurry else math.ceil(run.worker.spec.stop.grace) if run.worker is not None else _GRACE
            return PATIENCE + grace, {"grace": grace}
        if op is not Op.OPEN:
            return PATIENCE, {}
        assert run.worker is not None
        who = self._who(run.worker)
        rules = rules_of(run.worker, who, self.process.uid, self._granted())
        return PATIENCE, {"rules": {**rules, "owner": self._owner}}

    def _who(self, worker: Worker) -> Identity:
        return identify(worker.spec.user, worker.spec.group, worker.owner, self.process.uid)

    def _knows_who(self, worker: Worker) -> bool:
        try:
            return bool(self._who(worker))
        except UnknownUserError:
            return False

    def _refused(self, run: _Run, op: Op, reason: str) -> None:
        """Asking again would not help."""
        log.error("run %s: the Docker proxy does not %s it: %s", run.id, op.value, reason)
        run.said = op
        if run.begins:
            reason = f"could not start: docker_socket: {reason}"
            self._never_began(run, Exit(ExitKind.COULD_NOT_START, stage="docker_socket", reason=reason))
        elif op is Op.END:
            self._over(run)

    def _begin(self, run: _Run, path: str) -> None:
        if run.begins and run.worker is not None:
            run.begins = False
            worker = run.worker
            environment = {**worker.spec.environment, "DOCKER_HOST": f"unix://{path}"}
            self.process.spawn(evolve(worker, spec=evolve(worker.spec, environment=environment)))

    def _never_began(self, run: _Run, ended: Exit) -> None:
        assert run.worker is not None
        run.begins = False
        self._want(run, Op.END)
        self._listener.ended(EndedRun(run.worker.name, run.id, ended, None, None))

    def _over(self, run: _Run) -> None:
        """Nothing of it is left, or nobody waits for what is."""
        if run.said is Op.END and run.want is Op.END:
            self._runs.pop(run.id, None)
        ended, run.exit = run.exit, None
        if ended is not None:
            self._listener.ended(ended)

    def _adopt(self, held: HeldRun) -> _Run:
        """A run of before. Whether its containers are paused as it is, is said again."""
        want = Op.PAUSE if held.frozen else Op.RESUME
        said = Op.OPEN if held.run in self._open else None
        run = self._runs.setdefault(held.run, _Run(held.run, self._known(held.worker), want, said))
        self._want(run, want)
        return run

    def _has_socket(self, worker: str, run: str) -> bool:
        """Whether the core waits for the end of this run, and it has a socket."""
        known = self._known(worker)
        if known is None or known.run is None or known.run.id != run:
            return False
        return run in self._runs or run in self._open or known.spec.docker_socket

    # --- the executor tells -------------------------------------------------------------------------------------------

    def connected(self, epoch: str, runs: Sequence[HeldRun], ended: Sequence[EndedRun]) -> None:
        """A run that ended while nobody looked is told as held until its containers are gone too."""
        later = [end for end in ended if self._has_socket(end.worker, end.run)]
        self._held = {run.run: run for run in runs}
        for run in runs:
            if run.run not in self._runs and self._has_socket(run.worker, run.run):
                self._adopt(run)
        unfinished = [end.started or HeldRun(end.worker, end.run, None, 0, end.at or 0.0) for end in later]
        others = [end for end in ended if end not in later]
        self._listener.connected(epoch, [*runs, *unfinished], others)
        for end in later:
            self.ended(end)
        if self._there.is_set():
            self._take_stock()

    def lost(self, reason: str) -> None:
        """What was not begun is not begun on the next connection, unless it is said again."""
        self._held = None
        for run in self._runs.values():
            run.begins = False
        self._listener.lost(reason)

    def started(self, run: HeldRun) -> None:
        """A run's program is executing."""
        if self._held is not None:
            self._held[run.run] = run
        self._listener.started(run)

    def ended(self, run: EndedRun) -> None:
        """The process and its tree are over: now its containers."""
        if self._held is not None:
            self._held.pop(run.run, None)
        if not self._has_socket(run.worker, run.run):
            self._listener.ended(run)
            return
        known = self._runs.setdefault(run.run, _Run(run.run, self._known(run.worker), Op.END))
        known.exit = run
        self._want(known, Op.END)
        self._give_up(known)

    def _give_up(self, run: _Run) -> None:
        """Who kills a run does not wait for long for a proxy that is away: what is left in Docker is ended once it is back."""
        if run.hurry and run.exit is not None and (self._gone or run.stuck):
            trouble = self._trouble or run.trouble
            text = (
                f"its containers could not be ended, because the Docker proxy {trouble}; they are ended when it is back"
            )
            self._listener.noted(run.exit.worker, "docker", text)
            self._over(run)

    # --- asked --------------------------------------------------------------------------------------------------------

    def spawn(self, worker: Worker) -> None:
        """Start `worker.run`, after its socket if it has one."""
        assert worker.run is not None
        if not (worker.spec.docker_socket and self._knows_who(worker)):  # who is unknown is refused in its words
            self.process.spawn(worker)
            return
        run = self._runs.setdefault(worker.run.id, _Run(worker.run.id, worker, Op.OPEN))
        if run.exit is not None:
            return  # it is over, and its end is told when it may be
        run.worker, run.begins, run.said = worker, True, None if run.task is None else run.said
        self._want(run, Op.OPEN)

    def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal to processes. One that is not begun yet is over by it."""
        known = self._runs.get(run)
        if known is None or not (known.begins or known.exit):
            self.process.signal(run, signal, scope)
        elif signal in _DEADLY and known.begins:
            self._never_began(known, Exit(ExitKind.SIGNAL, signal=signal, reason=f"ended by {signal} before it began"))

    def kill(self, run: str) -> None:
        """End all of it, at once."""
        known = self._runs.get(run)
        if known is None or not (known.begins or known.exit):
            self.process.kill(run)
        elif known.begins:
            self.signal(run, "SIGKILL", "tree")
        if known is not None:
            known.hurry = True
            self._look()  # it may hang: then it is known soon
            self._give_up(known)

    def freeze(self, run: str) -> None:
        """Stop all of it from running: first who could start another container."""
        self._turn(run, Op.PAUSE, self.process.freeze)

    def thaw(self, run: str) -> None:
        """Let it go on."""
        self._turn(run, Op.RESUME, self.process.thaw)

    def _turn(self, run: str, want: Op, process: Callable[[str], None]) -> None:
        known = self._runs.get(run)
        if known is None or known.exit is None:
            process(run)
        if known is not None and known.want is not Op.END:
            self._want(known, want)

    def ack(self, run: str) -> None:
        """The end of this run is on disk. One that was never told from here is lost: what it left in Docker is ended."""
        self.process.ack(run)
        known = self._runs.get(run)
        if known is not None and known.exit is None:
            self._want(known, Op.END)
        elif known is None and run in self._open:
            self._want(self._runs.setdefault(run, _Run(run, None, Op.END)), Op.END)

    def waits(self, run: str) -> str | None:
        """For the proxy, before or after it runs."""
        known = self._runs.get(run)
        trouble = known and (self._trouble or known.trouble)
        if known is None or not (known.begins or known.exit is not None):
            return None
        if known.exit is None:
            return f"waits for the Docker proxy, which {trouble or 'was asked for its socket'}"
        return f"is over ({known.exit.exit.reason}), and waits for the Docker proxy, which {trouble or 'ends its containers'}"


def _complain(task: asyncio.Task[None]) -> None:
    """A defect of ours must be seen."""
    if not task.cancelled() and task.exception() is not None:
        log.error("defect: something that was asked of the Docker proxy was not done", exc_info=task.exception())
