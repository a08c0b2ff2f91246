"""The two drivers as one for the supervisor, and the supervisor as the listener of the one that speaks to Docker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rdagentd.drivers.base import Assisted, Driver, EndedRun, Errand, HeldRun
from rdagentd.drivers.docker import DockerDriver
from rdagentd.drivers.limits import Unmet
from rdagentd.model.container import DriverName
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.supervisor.supervisor import Supervisor


class Drivers:
    """Asks the driver whose run, or worker, it is. driver_of: how the runs of a worker happen."""

    def __init__(self, process: Driver, docker: DockerDriver, driver_of: Callable[[str], DriverName]) -> None:
        self._process = process
        self._docker = docker
        self._driver_of = driver_of

    def _called(self, name: DriverName) -> Driver:
        return self._docker if name is DriverName.DOCKER else self._process

    def _of(self, run: str) -> Driver:
        return self._docker if self._docker.holds(run) else self._process

    def spawn(self, worker: Worker) -> None:
        """Start `worker.run`."""
        self._called(worker.spec.driver).spawn(worker)

    def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal by name."""
        self._of(run).signal(run, signal, scope)

    def freeze(self, run: str) -> None:
        """Stop all of it from running."""
        self._of(run).freeze(run)

    def thaw(self, run: str) -> None:
        """Let it go on."""
        self._of(run).thaw(run)

    def kill(self, run: str) -> None:
        """End all of it."""
        self._of(run).kill(run)

    def ack(self, run: str) -> None:
        """The end of this run is on disk."""
        self._of(run).ack(run)

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Tell once when the log's end is beyond offset."""
        self._called(self._driver_of(worker)).watch(worker, stream, offset)

    def forget(self, worker: str) -> None:
        """Remove the worker's log, whoever has one."""
        self._docker.forget(worker)
        self._process.forget(worker)

    def ping(self) -> None:
        """Ask the executor for a sign of life."""
        self._process.ping()

    def unmet(self, spec: Spec) -> Sequence[Unmet]:
        """Which limits of a spec cannot be enforced."""
        return self._called(spec.driver).unmet(spec)

    def waits(self, run: str) -> str | None:
        """What a run still waits for."""
        return self._of(run).waits(run)

    async def usage(self, runs: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What those of these runs that live use now."""
        contained = [run for run in runs if self._docker.holds(run)]
        others = [run for run in runs if not self._docker.holds(run)]
        found = await asyncio.gather(self._docker.usage(contained), self._process.usage(others))
        return {**found[0], **found[1]}

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        """Have a command done as the worker's user."""
        return await self._called(worker.spec.driver).assist(worker, errand)

    def facts(self) -> Mapping[str, Any] | None:
        """pid and version of the executor; None while it cannot be reached."""
        return self._process.facts()

    async def catch_up(self, worker: str) -> None:
        """What the worker has written until now can be read afterwards."""
        if self._driver_of(worker) is DriverName.DOCKER:
            await self._docker.catch_up(worker)


class DockerListener:
    """Passes on to the supervisor what the Docker driver tells."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.started = supervisor.started
        self.ended = supervisor.ended
        self.grew = supervisor.grew
        self.told = supervisor.told
        self.noted = supervisor.noted

    def connected(self, epoch: str, runs: Sequence[HeldRun], ended: Sequence[EndedRun]) -> None:
        """The engine can be asked from now on, and this is what it holds."""
        self._supervisor.connected(epoch, runs, ended, DriverName.DOCKER)

    def lost(self, reason: str, trouble: str) -> None:
        """The engine cannot be reached, or does not answer."""
        self._supervisor.lost(reason, DriverName.DOCKER, trouble)
