"""A store that commits when it is told to, and a driver that notes what it was asked; both write into one diary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.model.container import DriverName
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.store.errors import StoreError
from rdagentd.store.writes import AddEvent, Write
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.ids import RunIds
from rdagentd.supervisor.rows import Rows
from rdagentd.supervisor.supervisor import Supervisor

Diary = list[tuple[Any, ...]]


class FakeStore:
    """Commits at once; with `hold`, when `settle` is called. `failure`: what commits fail with."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.failure: str | None = None
        self.hold = False
        self.is_alive = True
        self._held: list[tuple[Sequence[Write], Future[list[int]]]] = []
        self._seq = 0

    def commit(self, writes: Sequence[Write]) -> Future[list[int]]:
        future: Future[list[int]] = Future()
        self._held.append((list(writes), future))
        if not self.hold:
            self.settle()
        return future

    def settle(self) -> None:
        """Answers all commits that wait."""
        held, self._held = self._held, []
        for writes, future in held:
            if self.failure is not None:
                self.diary.append(("failed",))
                future.set_exception(StoreError(self.failure))
                continue
            self.diary.append(("kept", *(type(write).__name__ for write in writes)))
            numbers = []
            for write in writes:
                if isinstance(write, AddEvent):
                    self._seq += 1
                    numbers.append(self._seq)
            future.set_result(numbers)

    def alive(self) -> bool:
        return self.is_alive


class FakeDriver:
    """Notes every request; `broken` names those that raise."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.broken: set[str] = set()
        self.known: Mapping[str, Any] | None = {"pid": 1, "version": "0"}

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note(*args: Any) -> None:
            shown = tuple(arg.run.id if isinstance(arg, Worker) and arg.run else arg for arg in args)
            self.diary.append((name, *shown))
            if name in self.broken:
                raise RuntimeError(f"{name} is broken")

        return note

    def facts(self) -> Mapping[str, Any] | None:
        return self.known


class Shell:
    """A supervisor between the two."""

    def __init__(self, connected: bool = True) -> None:
        self.diary: Diary = []
        self.store = FakeStore(self.diary)
        self.driver = FakeDriver(self.diary)
        self.engine = Engine(RunIds())
        self.supervisor = Supervisor(self.engine, self.store, Hub(), {DriverName.PROCESS: "epoch"})  # type: ignore[arg-type]
        self.supervisor.driver = self.driver  # type: ignore[assignment]
        self.supervisor.rows = Rows(self.engine)
        if connected:
            self.supervisor.connected("epoch", [], [])

    async def turns(self, count: int = 20) -> None:
        """Lets the loop go round."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def submit(self, name: str = "w", start: bool = True, **fields: Any) -> Worker:
        """A worker, once it is kept."""
        spec = Spec(name, **{"command": ("/bin/true",), **fields})
        await self.supervisor.ask(ev.SubmitRequested(spec, 0, start))
        return self.engine.workers[name]


def in_shell(test: Callable[[Shell], Awaitable[None]], connected: bool = True) -> None:
    """Runs a test inside a loop of its own."""

    async def run() -> None:
        await test(Shell(connected))

    asyncio.run(run())
