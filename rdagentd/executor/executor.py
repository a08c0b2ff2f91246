"""The executor: one thread, one loop. What comes in is an operation, a report, a signal, output, or a deadline."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import ChainMap
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from itertools import chain
from typing import Any, cast

import msgpack

from rdagentd.executor import proc, report
from rdagentd.executor.assist import Assistant, Assistants, answer, as_spawn
from rdagentd.executor.cgroup import Cgroups
from rdagentd.executor.failpoint import reach
from rdagentd.executor.journal import Journal
from rdagentd.executor.link import Link
from rdagentd.executor.log import Log
from rdagentd.executor.notify import Channels
from rdagentd.executor.pipes import Pipes
from rdagentd.executor.policy import Policy
from rdagentd.executor.pressure import Pressure
from rdagentd.executor.run import Notice, Run, exited, failed
from rdagentd.executor.search import Search
from rdagentd.executor.spawn import HANDLED, Request, Spawner
from rdagentd.executor.tree import Tree
from rdagentd.protocol.frames import FrameError
from rdagentd.protocol.redaction import Redactor
from rdagentd.protocol.segments import STREAMS

BATCH = 16
"""Requests handled before everything else gets its turn."""

REST = 0.001
"""Seconds that the pipes rest when little was in them: short lines then cost a read per millisecond, not one per line. And
that the channels do, so that who floods them waits."""

Handle = Callable[["Executor", Notice], None]


class Executor:
    """Runs from spawn to acknowledged exit. leaving: exits when the last run has ended, and starts none.

    arguments: those that it was started with.
    home: where the cgroups of runs are made; where there is none, `problem` says why.
    """

    def __init__(  # noqa: PLR0913
        self,
        journal: Journal,
        pipes: Pipes,
        spawner: Spawner,
        lock: int,
        policy: Policy | None,
        *,
        home: str = "",
        problem: str = "",
    ) -> None:
        self.journal = journal
        self.pipes = pipes
        self.spawner = spawner
        self.lock = lock
        self.policy = policy
        self.arguments: list[str] = []
        self.runs: dict[str, Run] = {}
        self.mains: dict[int, Run] = {}
        self.epoll = select.epoll()
        self.assistants = Assistants(self.epoll, self.kill)
        trees: list[MutableMapping[str, Run]] = [self.runs, cast(MutableMapping[str, Run], self.assistants.live)]
        self.tree: Tree = Cgroups(home, self.epoll) if home else Search(ChainMap(*trees), self.mains, problem)
        self.channels = Channels(spawner.credentials.home, self._belongs)
        self.watches: dict[tuple[str, str], int] = {}
        self.pressure = Pressure(self.epoll)
        self.leaving = False
        self._reports: dict[int, Run] = {}
        self._tended: dict[int, str] = {}
        self._ending: set[Run] = set()
        self._asked: set[Run] = set()
        self._hunted: set[Run] = set()
        self._unseen = True
        self._resting: dict[int, float] = {}
        self._woken = True
        self._wake = _wake_on_signals()
        self.epoll.register(self._wake, select.EPOLLIN)
        for inner in (pipes.epoll, self.channels.epoll):
            self.epoll.register(inner.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def serve(self, link: Link, handle: Handle) -> None:
        """Until it may leave. A fault, such as lack of memory or descriptors, delays, and ends nothing."""
        self.link = link
        while not (self.leaving and not self.runs and not self.assistants.live):
            try:
                self._turn(handle)
            except Exception as error:
                note(f"cannot go on: {error!r}; trying again in a second")
                self._woken = True
                time.sleep(1)

    def spawn(self, request: Request) -> None:
        """Starts a run that was never seen before; whatever goes wrong becomes its exit record."""
        name, worker, settings = request["run"], request["worker"], request["log"]
        reach("before-spawn")
        run = Run(name, worker, request["linger"])
        stage, ends = "journal", []
        try:
            self.tree.put(name, request["egress"])
            self.journal.spawned(name, worker, self.tree.where(name))
            stage = "policy"
            self._judge(request)
            for stage in chain(self.spawner.credentials.give(request), self.spawner.directories.give(request)):  # noqa: B007
                pass
            run.secrets = request["secrets"] if settings["redact"] else None
            stage = "notify socket"
            self._open_channel(run, request)
            stage = "pipe"
            for stream in STREAMS if settings["separate"] else STREAMS[:1]:
                opened, write = self.pipes.open(worker, stream, settings["cap"], settings["segment"])
                run.streams.append(opened)
                ends.append(write)
            for stage in self.tree.begin(request):  # noqa: B007
                pass
            entrance = self.tree.entrance(name)
            ends += [entrance] if entrance >= 0 else []
            stage = "fork"
            run.at = time.time()  # nothing that it writes is older
            run.pid, run.report = self.spawner.spawn(request, ends[0], ends[len(run.streams) - 1], entrance)
        except OSError as error:
            for opened in run.streams:
                self.pipes.close(opened)
            if run.channel is not None:
                self.channels.close(run.channel)
            self.spawner.credentials.remove(name)
            self.tree.over(name)
            self.record(exited(name, worker, time.time(), **failed(error, stage)))
            return
        finally:
            for write in ends:
                os.close(write)
        run.ticks = proc.start_ticks(run.pid)
        self.adopt(run)
        self.journal.born(name, run.pid, run.ticks, run.at, run.starts())
        reach("after-spawn")

    def _open_channel(self, run: Run, request: Request) -> None:
        """Without one a run goes on, unless it is to give signs of life there. Raises OSError."""
        try:
            run.channel = self.channels.open(request)
        except OSError as error:
            if "WATCHDOG_USEC" in request["env"]:
                raise
            note(f"run {run.id} of {run.worker} has no NOTIFY_SOCKET: {error.strerror}")

    def _belongs(self, name: str, pid: int) -> bool:
        """Whether a process is in the cgroup of a run, if that has one. Of one that has ended meanwhile, as whoever only tells
        one thing has, nobody knows: then its uid must do. systemd-notify of root says that it is its parent, which we may be.
        """
        run = self.runs.get(name)
        try:
            return run is None or not self.tree.where(name) or pid == os.getpid() or self.tree.has(run, pid)
        except OSError:
            return True

    def assist(self, request: Request) -> None:
        """Starts an assistant; whatever goes wrong becomes its answer."""
        beside = request["run"] not in self.runs
        request = as_spawn(request, beside=beside)
        assistant = Assistant(request["run"], request["worker"], request["timeout"], request["most"])
        read, write = os.pipe()
        stage, ends = "policy", [write]
        try:
            os.set_blocking(read, False)
            self._judge(request)
            for stage in self.spawner.directories.give(request):  # noqa: B007
                pass
            self.tree.put(assistant.id, request["egress"], "" if beside else request["of"])
            for stage in self.tree.begin(request):  # noqa: B007
                pass
            entrance = self.tree.entrance(assistant.id)
            ends += [entrance] if entrance >= 0 else []
            stage = "fork"
            assistant.pid, assistant.report = self.spawner.spawn(request, write, write, entrance)
        except OSError as error:
            os.close(read)
            self.tree.over(assistant.id)
            self.link.send(answer(assistant.id, failed(error, stage)["reason"], {}))
            return
        finally:
            for fd in ends:
                os.close(fd)
        assistant.ticks = proc.start_ticks(assistant.pid)
        self.assistants.begin(assistant, read)
        self.adopt(assistant)

    def _judge(self, request: Request) -> None:
        """As whom it happens, by the policy. Raises OSError."""
        if self.policy is not None:
            who = self.policy.judge(request["uid"], request["gid"])
            request["uid"], request["gid"], request["groups"] = who

    def adopt(self, run: Run) -> None:
        """Takes up a run, or an assistant, whose main process is our child."""
        if isinstance(run, Assistant):
            self.assistants.live[run.id] = run
        else:
            self.runs[run.id] = run
        if run.status is None:
            self.mains[run.pid] = run
        else:
            self._ending.add(run)
        if run.report >= 0:
            self._reports[run.report] = run
            self.epoll.register(run.report, select.EPOLLIN)
        else:
            self._listen(run)
        if run.deadline is not None:
            self._asked.add(run)
        if run.killing:
            self._hunted.add(run)

    def kill(self, run: Run) -> None:
        """SIGKILL to all of it, until nothing is left."""
        run.killing = True
        self._hunted.add(run)
        self._woken = True

    def terminate(self) -> None:
        """SIGTERM to all runs, SIGKILL after their linger, and then the executor leaves."""
        self.leaving = True
        self._ask(list(self.runs.values()))
        self.assistants.dismiss()

    def tend(self, worker: str, cache: dict[str, Any] | None) -> None:
        """Has the worker's directories looked after; `tended` follows. Raises OSError."""
        fd = self.spawner.directories.tend(worker, cache)
        self._tended[fd] = worker
        self.epoll.register(fd, select.EPOLLIN)

    def _tell_tended(self, fd: int) -> None:
        """It is told in one piece, or not at all if whoever looked was ended."""
        told = os.read(fd, 1 << 16)
        self.epoll.unregister(fd)
        os.close(fd)
        found = msgpack.unpackb(told) if told else {"problem": "it was ended"}
        self.link.send({"notice": "tended", "worker": self._tended.pop(fd), **found})

    def record(self, notice: Notice) -> None:
        """Keeps an exit until it is acknowledged, and tells it."""
        reach("before-exit-record")
        self.journal.exited(notice)
        reach("after-exit-record")
        self.link.send(notice)

    def grew(self, worker: str, stream: str, end: int) -> None:
        """Tells whoever watches a log that it has grown; once."""
        offset = self.watches.get((worker, stream))
        if offset is not None and end > offset:
            del self.watches[worker, stream]
            self.link.send({"notice": "grew", "worker": worker, "stream": stream, "end": end})

    def _turn(self, handle: Handle) -> None:
        for fd, events in self.epoll.poll(self._timeout(), 64):
            self._ready(fd, events)
        for fd in [fd for fd, until in self._resting.items() if time.monotonic() >= until]:
            del self._resting[fd]
            self.epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        if self.channels.due is not None and time.monotonic() >= self.channels.due:
            for notice in self.channels.tell():
                self.link.send(notice)
        if self.pipes.due is not None and time.monotonic() >= self.pipes.due:
            self._tell_growth(self.pipes.show())
        for _ in range(min(BATCH, len(self.link.messages))):
            handle(self, self.link.messages.popleft())
        if self._woken or self._asked:
            self._tend()

    def _ready(self, fd: int, events: int) -> None:
        if fd == self._wake:
            self._signalled()
        elif fd in self._reports:
            self.reported(self._reports[fd])
        elif fd == self.pipes.epoll.fileno():
            self._pump()
        elif fd == self.channels.epoll.fileno():
            self._resting[fd] = time.monotonic() + REST
            self.channels.pump()
        elif fd in self._tended:
            self._tell_tended(fd)
        elif fd in self.assistants.outputs:
            self.assistants.hear(fd)
        elif fd in self.pressure.triggers:
            self.link.send({"notice": "pressure", "resource": self.pressure.triggers[fd]})
        elif events & select.EPOLLPRI:  # a cgroup is not populated any more, or is
            self._woken = self._unseen = True
        else:
            self._talk(fd, events)

    def _timeout(self) -> float | None:
        if self.link.messages or self._woken:
            return 0
        times = [run.deadline for run in self._asked if run.deadline is not None]
        times += self._resting.values()
        times += [due for due in (self.pipes.due, self.channels.due) if due is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _talk(self, fd: int, events: int) -> None:
        try:
            if fd == self.link.peer:
                self.link.ready(events)
            elif fd == self.link.listener.fileno() and self.link.accept():
                self.watches.clear()
                self.assistants.dismiss()
                self.pressure.watch({})
        except (FrameError, PermissionError) as error:
            note(str(error))

    def _signalled(self) -> None:
        numbers = os.read(self._wake, 4096)
        self._woken = True
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.terminate()

    def _pump(self) -> None:
        began = time.monotonic()
        little, logs = self.pipes.pump()
        self._resting[self.pipes.epoll.fileno()] = began + (REST if little else 0.0)
        self._tell_growth(logs)

    def _tell_growth(self, logs: list[Log]) -> None:
        if self.watches:
            for log in logs:
                self.grew(log.worker, log.stream, log.end)

    def reported(self, run: Run) -> None:
        """The child has come as far as exec, or tells why not."""
        if self._hear(run):
            if report.heir(run.told):  # it waited for the end of bwrap, before its exec
                self._unseen |= self._reap()
            if run.report >= 0:
                self._conclude(run)

    def _hear(self, run: Run) -> bool:
        """What the child tells; whether that was all."""
        with suppress(BlockingIOError):
            for _ in range(
                2
            ):  # all that a pipe holds; that it is closed. Not until then: whoever fills it would hold us up
                text = os.read(run.report, 1 << 16)
                if not text:
                    return True
                run.told = report.kept(run.told + text)
        return False

    def _conclude(self, run: Run) -> None:
        """Nothing more is told: it has started, or not."""
        self.epoll.unregister(run.report)
        del self._reports[run.report]
        os.close(run.report)
        run.report = -1
        if run.secrets is not None:
            run.secrets += report.secrets(run.told)
        run.failure, run.told = report.failure(run.told), b""
        self._listen(run)
        if run.failure is None and not isinstance(run, Assistant):
            self.link.send(run.started())

    def _listen(self, run: Run) -> None:
        """Takes the output of a run: all of its secrets are known now."""
        for stream in run.streams:
            if stream.redactor is None and run.secrets is not None:
                stream.redactor = Redactor(run.secrets)
            self.pipes.listen(stream)
        if run.channel is not None:
            run.channel.secrets = run.secrets
            self.channels.listen(run.channel)

    def _inherit(self, run: Run) -> bool:
        """The main process has ended: whether another, which bwrap had forked, takes its place."""
        heir = report.heir(run.told)
        stat = proc.stat(heir) if heir else None
        if stat is None or stat.parent != os.getpid() or heir in self.mains or not self.tree.has(run, heir):
            return False
        self.tree.reaped(heir)  # no stray, if it was taken for one
        run.pid, run.ticks = heir, stat.ticks
        self.mains[heir] = run
        if not isinstance(run, Assistant):
            self.journal.born(run.id, run.pid, run.ticks, run.at, run.starts())
        return True

    def _tend(self) -> None:
        """Reaps, and sees to the runs whose main process has ended, and to those that are to be killed."""
        self._woken = False
        self._unseen |= self._reap()
        if self._ending and self._unseen:
            self.tree.look()
            self._hunted |= {run for run in self._ending if run.killing}
            self._unseen = False
        for run in list(self._ending):
            if not self.tree.left(run):
                self._finish(run)
            elif isinstance(run, Assistant) and not run.killing:
                self.kill(run)
        self._ask([run for run in self._ending if run.deadline is None and not run.killing and self.tree.left(run)])
        now = time.monotonic()
        for run in [run for run in self._asked if run.deadline is not None and run.deadline <= now]:
            run.deadline, run.killing = None, True
            self._asked.discard(run)
            self._hunted.add(run)
        if self._hunted:
            self.tree.kill(self._hunted)
            self._hunted.clear()

    def _ask(self, runs: list[Run]) -> None:
        """SIGTERM to all of these runs; what is stopped could not hear it, so it goes on."""
        if runs:
            self.tree.signal(runs, signal.SIGTERM, signal.SIGCONT)
        for run in runs:
            if run.frozen:
                self.tree.thaw(run)
            run.deadline = time.monotonic() + run.linger
            self._asked.add(run)

    def _reap(self) -> bool:
        """Takes every exit status there is."""
        reaped = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return reaped
            if not pid:
                return reaped
            reaped = True
            main = self.mains.pop(pid, None)
            if main is not None and main.report >= 0:
                self._hear(main)
            if main is not None and not (main.report >= 0 and self._inherit(main)):
                main.status = status
                self._ending.add(main)
                if main.report >= 0:
                    self._conclude(main)
            for run in (main,) if main else self.tree.reaped(pid):
                run.used(usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)

    def _finish(self, run: Run) -> None:
        self._ending.discard(run)
        self._asked.discard(run)
        self._hunted.discard(run)
        if isinstance(run, Assistant):
            self.tree.over(run.id)
            if answered := self.assistants.over(run):
                self.link.send(answered)
            return
        used, killed = self.tree.total(run), self.tree.out_of_memory(run)
        if run.channel is not None:
            self.channels.close(run.channel)
            if run.channel.trouble:
                self.link.send(run.channel.notice())
        self.tree.over(run.id)
        for stream in run.streams:
            self.pipes.close(stream)
            self.grew(run.worker, stream.name, stream.log.end)
        self.spawner.credentials.remove(run.id)
        del self.runs[run.id]
        self.record(run.exited(time.time(), used, killed))


def note(text: str) -> None:
    """A warning on stderr, for the journal with its priority (sd-daemon(3)); what cannot be written there is lost."""
    with suppress(OSError):
        found = os.fstat(2)
        mark = "<4>" if os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" else ""
        os.write(2, f"{mark}rdagentd executor: {text}\n".encode("utf-8", "replace"))


def _wake_on_signals() -> int:
    """A descriptor that becomes readable with the numbers of the signals that came."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # blocked while one executor replaced itself by another
    return read
