"""A driver round the process driver: passes on, both ways, what it has no say in."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from rdagentd.drivers.base import Assisted, Driver, Errand, Listener
from rdagentd.drivers.limits import Unmet
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker


class Process(Driver, Protocol):
    """The driver within."""

    @property
    def uid(self) -> int:
        """The executor's user."""


class Around:
    """listener: whom it tells. `process` is to be set before anything is asked."""

    process: Process

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    # --- the executor tells -------------------------------------------------------------------------------------------

    def forgotten(self, worker: str) -> None:
        """The worker's log is gone."""
        self._listener.forgotten(worker)

    def grew(self, worker: str, stream: str, end: int) -> None:
        """The log that was watched has grown."""
        self._listener.grew(worker, stream, end)

    def told(self, worker: str, run: str, fields: Mapping[str, str]) -> None:
        """What a run tells of itself."""
        self._listener.told(worker, run, fields)

    def noted(self, worker: str, kind: str, text: str) -> None:
        """Something for the worker's story."""
        self._listener.noted(worker, kind, text)

    # --- asked --------------------------------------------------------------------------------------------------------

    def watch(self, worker: str, stream: str, offset: int) -> None:
        """Tell once when the log's end is beyond offset."""
        self.process.watch(worker, stream, offset)

    def forget(self, worker: str) -> None:
        """Remove the worker's log."""
        self.process.forget(worker)

    def ping(self) -> None:
        """Ask the executor for a sign of life."""
        self.process.ping()

    async def catch_up(self, worker: str) -> None:
        """What the worker has written until now can be read afterwards."""
        await self.process.catch_up(worker)

    def unmet(self, spec: Spec) -> Sequence[Unmet]:
        """Which limits of a spec cannot be enforced."""
        return self.process.unmet(spec)

    def usage(self, runs: Sequence[str]) -> Coroutine[Any, Any, Mapping[str, Mapping[str, Any]]]:
        """What the processes of these runs use now."""
        return self.process.usage(runs)

    def assist(self, worker: Worker, errand: Errand) -> Coroutine[Any, Any, Assisted]:
        """Have a command done as the worker's user."""
        return self.process.assist(worker, errand)

    def facts(self) -> Mapping[str, Any] | None:
        """pid and version of the executor."""
        return self.process.facts()
