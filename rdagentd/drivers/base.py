"""The contract of a driver: what it is asked, and what it tells. Everything is asynchronous; nothing here may block.

A driver repeats the end of a run to whoever connects until it is acknowledged, starts a run id at most once, and treats every
request as one that may come twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import Factory, frozen

from rdagentd.drivers.limits import Unmet
from rdagentd.model.run import Exit, Usage
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker


@frozen
class HeldRun:
    """A run that the driver holds. pid is None while its start is under way; at: seconds since the epoch.

    container: id of its container, None for a process. told: what it told on its NOTIFY_SOCKET, of each field the last value.
    """

    worker: str
    run: str
    pid: int | None
    start_ticks: int
    at: float
    frozen: bool = False
    log: Mapping[str, int] = Factory(dict)
    container: str | None = None
    told: Mapping[str, str] = Factory(dict)


@frozen
class EndedRun:
    """The end of a run, told until it is acknowledged. started: how it began, None if it did not or nobody knows. told: as in
    HeldRun.
    """

    worker: str
    run: str
    exit: Exit
    at: float | None
    usage: Usage | None
    log: Mapping[str, int] = Factory(dict)
    started: HeldRun | None = None
    told: Mapping[str, str] = Factory(dict)


@frozen
class Errand:
    """What an assistant is to do: a command with the identity, the directory and the confinement of a worker.

    timeout: in seconds, at most 3600, after which all of it is killed. most: bytes of its output, both streams in one, that are
    wanted; at most 512 KiB. environment: beside that of the worker. snapshots: whether it gets $SNAPSHOTS_DIRECTORY, a
    directory of the worker's that its runs are not told of.
    """

    command: Sequence[str]
    timeout: float
    most: int = 1 << 16
    environment: Mapping[str, str] = Factory(dict)
    snapshots: bool = False


@frozen
class Assisted:
    """How an assistant ended: a code, a signal, or neither if it did not start. reason: why there is no answer, else ""."""

    code: int | None = None
    signal: str | None = None
    output: bytes = b""
    reason: str = ""


class Listener(Protocol):
    """Whom a driver tells."""

    def connected(self, epoch: str, runs: Sequence[HeldRun], ended: Sequence[EndedRun]) -> None:
        """The driver can be asked from now on, and this is what it holds. epoch names its memory: a new one forgot."""

    def lost(self, reason: str) -> None:
        """The driver cannot be reached."""

    def started(self, run: HeldRun) -> None:
        """A run's program is executing."""

    def ended(self, run: EndedRun) -> None:
        """A run is over and nothing of it is left."""

    def forgotten(self, worker: str) -> None:
        """The worker's log is gone."""

    def grew(self, worker: str, stream: str, end: int) -> None:
        """The log that was watched has grown to `end`."""

    def told(self, worker: str, run: str, fields: Mapping[str, str]) -> None:
        """What a run tells on its NOTIFY_SOCKET, the oldest first; of each field the last value, at most ten times a second."""

    def noted(self, worker: str, kind: str, text: str) -> None:
        """Something for the worker's story that changes nothing."""


class Driver(Protocol):
    """Whom the supervisor asks."""

    def spawn(self, worker: Worker) -> None:
        """Start `worker.run`; for an id that was seen, tell where it stands."""

    def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal by name to a run's main process, its group, or its tree."""

    def freeze(self, run: str) -> None:
        """Stop the whole tree from running."""

    def thaw(self, run: str) -> None:
        """Let it go on."""

    def kill(self, run: str) -> None:
        """SIGKILL to the whole tree until nothing is left."""

    def ack(self, run: str) -> None:
        """The end of this run is on disk."""

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Tell once when the log's end is beyond offset."""

    def forget(self, worker: str) -> None:
        """Remove the worker's log."""

    def ping(self) -> None:
        """Ask for a sign of life."""

    async def catch_up(self, worker: str) -> None:
        """What the worker has written until now can be read afterwards, if what is behind the driver answers."""

    def unmet(self, spec: Spec) -> Sequence[Unmet]:
        """Which limits of a spec cannot be enforced; none while it cannot be reached."""

    def waits(self, run: str) -> str | None:
        """What a run that was asked for, or has ended, still waits for, as a verb phrase; None if for nothing."""

    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What those of these runs that live use now: user, system (seconds), memory, memory_peak, read, written (bytes),
        tasks, tasks_peak, each None if nobody knows, and log: {stream: end}. active: when it last wrote output, in seconds
        since the epoch, 0 if it did not; missing where nobody knows."""

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        """Have a command done as the worker's user, within the limits of its run if it has one that lives. Raises nothing."""

    def facts(self) -> Mapping[str, Any] | None:
        """pid and version of what is behind it; None while it cannot be reached."""
