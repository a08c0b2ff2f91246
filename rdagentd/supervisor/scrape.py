"""A scrape: the daemon as it is at one moment, as families of metrics, packed one by one so that nobody is held up for long."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgpack

from rdagentd import __version__
from rdagentd.config.metrics import Metrics
from rdagentd.core.budgets import Account, accounts
from rdagentd.core.engine import Engine
from rdagentd.model.container import DriverName, Way
from rdagentd.model.provider import Phase
from rdagentd.model.worker import LIVE, State, Worker
from rdagentd.supervisor.families import EACH, FAMILIES, OF_WORKERS, Line, One, Snapshot, head
from rdagentd.supervisor.load import LoadMeter
from rdagentd.supervisor.supervisor import Supervisor
from rdagentd.supervisor.traffic import Traffic
from rdagentd.supervisor.used import Found, LastFound

_PAGE = os.sysconf("SC_PAGE_SIZE")
_NONE: Mapping[str, Any] = {}
_RESOURCES = ("cpu", "io", "memory")

_QUIET = frozenset({State.STOPPED, State.COMPLETED})
"""Workers whose series are the first to go, where there are too many."""


class Scraper:
    """Answers `metrics`. looks: what runs use, by driver. settings: as configured at the moment."""

    def __init__(
        self,
        supervisor: Supervisor,
        traffic: Traffic,
        looks: Mapping[DriverName, LastFound],
        meter: LoadMeter,
        settings: Callable[[], Metrics],
    ) -> None:
        self._supervisor = supervisor
        self._traffic = traffic
        self._looks = looks
        self._meter = meter
        self._settings = settings
        self._started_at = time.time()

    async def packed(self) -> list[bytes]:
        """Each family as msgpack. Waits for what runs use at most as long as `LastFound` does."""
        runs: dict[DriverName, list[str]] = {name: [] for name in self._looks}
        workers = self._supervisor.engine.workers
        for worker in workers.values():
            if worker.run is not None and worker.state in LIVE:
                runs[worker.spec.driver].append(worker.run.id)
        found = await asyncio.gather(*(look.look(runs[name]) for name, look in self._looks.items()))
        settings = self._settings()
        told = _told(workers.values(), settings.workers)
        snapshot, ones = self._snapshot(found, len(workers) - len(told), settings), self._ones(told, found)
        families = [msgpack.packb({**head(family), "samples": family.samples([((), snapshot)])}) for family in FAMILIES]
        for of in OF_WORKERS:
            if of.name not in settings.leave_out:
                await asyncio.sleep(0)  # a thousand samples each: others have their turn in between
                families.append(msgpack.packb({**head(of, EACH), "samples": of.samples(ones)}))
        return families

    def _snapshot(self, found: Iterable[Found], untold: int, settings: Metrics) -> Snapshot:
        supervisor = self._supervisor
        engine = supervisor.engine
        programs = {"daemon": (time.process_time(), _resident())}
        for of in found:
            if of.executor is not None:
                programs["executor"] = of.executor
        return Snapshot(
            version=__version__,
            started_at=self._started_at,
            programs=programs,
            drivers=_drivers(engine),
            store=supervisor.store_error is None,
            load=self._meter.read(),
            traffic=self._traffic,
            workers=Counter(worker.state for worker in engine.workers.values()),
            workers_max=engine.max_workers,
            untold=untold,
            lines=_lines(engine, settings.workers),
            held={name: any(held.startswith(name) for held in engine.pressure.held) for name in _RESOURCES},
            happened=supervisor.happened,
            providers=_providers(engine, settings.workers),
            budgets=_parts(engine.purse.account(key, time.monotonic()) for key in engine.purse.budgets),
        )

    def _ones(self, workers: Iterable[Worker], found: Iterable[Found]) -> list[tuple[tuple[str, ...], One]]:
        counted: dict[str, Mapping[str, Any]] = {}
        for of in found:
            counted |= of.runs
        exits, disk = self._supervisor.happened.exits_of, self._supervisor.disk
        iterations, now = self._supervisor.happened.iterations.durations, time.monotonic()
        ones: list[tuple[tuple[str, ...], One]] = []
        now = time.monotonic()
        for worker in workers:
            name, live = worker.name, worker.run.id if worker.run is not None and worker.state in LIVE else ""
            one = One(
                worker, exits.get(name, _NONE), counted.get(live, _NONE), disk(name), iterations.get(name), now,
                _parts(accounts(worker, now)),
            )  # fmt: skip
            ones.append(((name, worker.spec.queue.group), one))
        return ones


def _parts(budgets: Iterable[Account]) -> dict[str, float]:
    """What is used of each, by key and measure. Of one of nothing there are no parts."""
    return {
        f"{account.key}.{name}": account.used(name) / limit
        for account in budgets
        for name, limit in account.limits()
        if limit
    }


def _told(workers: Iterable[Worker], most: int) -> list[Worker]:
    """Those with series of their own: where there are too many, first who is not at rest or has failed, then by name."""
    chosen = list(workers)
    if len(chosen) > most:
        chosen.sort(key=lambda worker: (worker.state in _QUIET, worker.name))
    return chosen[:most]


def _drivers(engine: Engine) -> dict[str, bool]:
    """The executor always; what only some workers need, where there are some or it answers."""
    needed = {way for worker in engine.workers.values() for way in (worker.spec.driver, worker.spec.way)}
    return {way.value: way not in engine.away for way in Way if way in needed | {Way.PROCESS} or way not in engine.away}


def _lines(engine: Engine, most: int) -> dict[str, Line]:
    queue = engine.queue
    return {
        group: Line(queue.line(group), queue.slots(group), queue.taken(group))
        for group in queue.groups()[: max(most, 1)]
    }


def _providers(engine: Engine, most: int) -> dict[str, bool]:
    """Whether each is out, at most so many: clients make up names."""
    providers = engine.providers
    named = sorted(providers.names(), key=lambda name: providers.of(name).phase is Phase.CLOSED)
    return {name: providers.of(name).phase is not Phase.CLOSED for name in named[: max(most, 1)]}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
