"""A scrape of a supervisor in this process: what is told of all, and how many are told one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgpack
from attrs import define, field

from rdagentd.config.metrics import Metrics, WorkerFamily
from rdagentd.core import events as ev
from rdagentd.drivers.base import HeldRun
from rdagentd.model.container import DriverName
from rdagentd.model.requests import NO_CAPACITY, Thresholds
from rdagentd.model.spec import Queue
from rdagentd.supervisor.load import LoadMeter
from rdagentd.supervisor.scrape import Scraper
from rdagentd.supervisor.traffic import Traffic
from rdagentd.supervisor.used import Found, LastFound
from tests.supervisor.fakes import Shell, in_shell


@define
class Scene:
    """A scraper of a shell. used: what runs use. asked: for which runs that was asked."""

    shell: Shell
    settings: Metrics = field(factory=Metrics)
    used: Found = field(factory=Found)
    asked: list[list[str]] = field(factory=list)
    scraper: Scraper = field(init=False)

    def __attrs_post_init__(self) -> None:
        async def ask(runs: Sequence[str]) -> Found:
            self.asked.append(list(runs))
            return self.used

        async def nothing(runs: Sequence[str]) -> Found:
            return Found()

        looks = {DriverName.PROCESS: LastFound(ask), DriverName.DOCKER: LastFound(nothing)}
        self.scraper = Scraper(self.shell.supervisor, Traffic(), looks, LoadMeter("/"), lambda: self.settings)

    async def scrape(self) -> dict[str, Any]:
        """By family the values by label values; those without labels as they are."""
        told = {}
        for packed in await self.scraper.packed():
            family = msgpack.unpackb(packed)
            samples = {tuple(labels): value for labels, value in family["samples"]}
            told[family["name"]] = samples if family["labels"] else samples.get(())
        return told


async def run(shell: Shell, name: str, **fields: Any) -> str:
    """A worker that runs; its run's id."""
    await shell.submit(name, **fields)
    await shell.turns()
    begun = shell.engine.workers[name].run
    assert begun is not None
    shell.supervisor.started(HeldRun(name, begun.id, 7, 1, 50.0, False, {}))
    await shell.turns()
    return begun.id


def test_workers_are_counted_by_state_and_told_one_by_one() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell)
        running = await run(shell, "w")
        await shell.submit("idle", start=False)
        told = await scene.scrape()
        assert told["rdagentd_workers"]["running",] == told["rdagentd_workers"]["stopped",] == 1
        assert told["rdagentd_workers"]["failed",] == 0 and told["rdagentd_workers_untold"] == 0
        assert told["rdagentd_worker_state"] == {("w", "default", "running"): 1, ("idle", "default", "stopped"): 1}
        assert scene.asked == [[running]], "only those that live are asked about"
        assert told["rdagentd_driver_up"] == {("process",): 1} and told["rdagentd_store_up"] == 1

    in_shell(test)


def test_there_are_no_more_series_than_configured_and_those_that_matter_come_first() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell, Metrics(workers=2))
        for name in ("a", "b"):
            await shell.submit(name, start=False)
        await run(shell, "z")
        told = await scene.scrape()
        assert [name for name, *_ in told["rdagentd_worker_state"]] == ["z", "a"]
        assert told["rdagentd_workers_untold"] == 1
        assert told["rdagentd_workers"]["stopped",] == 2, "the sums count all"
        scene.settings = Metrics(workers=0)
        told = await scene.scrape()
        assert told["rdagentd_worker_state"] == {} and told["rdagentd_workers_untold"] == 3

    in_shell(test)


def test_families_of_workers_can_be_left_out() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell, Metrics(leave_out=(WorkerFamily.STATE, WorkerFamily.DISK)))
        told = await scene.scrape()
        of_workers = {name for name in told if name in set(WorkerFamily)}
        assert of_workers == set(WorkerFamily) - {WorkerFamily.STATE, WorkerFamily.DISK}

    in_shell(test)


def test_what_was_found_of_another_run_is_not_told_of_this_one() -> None:
    async def test(shell: Shell) -> None:
        first = await run(shell, "w")
        scene = Scene(shell, used=Found({"another": {"tasks": 3, "user": 1.0, "system": 1.0, "log": {}}}, (2.5, 4096)))
        told = await scene.scrape()
        assert told["rdagentd_worker_tasks"] == {} and told["rdagentd_worker_cpu_seconds_total"] == {}
        assert told["rdagentd_process_cpu_seconds_total"]["executor",] == 2.5
        assert told["rdagentd_process_resident_memory_bytes"]["daemon",] > 1 << 20
        scene.used = Found({first: {"tasks": 3, "user": 1.0, "system": 1.0, "log": {}}})
        await scene.scrape()
        await shell.turns()
        assert (await scene.scrape())["rdagentd_worker_tasks"] == {("w", "default"): 3}

    in_shell(test)


def test_groups_their_slots_and_who_waits() -> None:
    async def test(shell: Shell) -> None:
        shell.supervisor.post(ev.GroupsChanged({"gpu": 1, "default": None, "idle": 3}))
        for name in ("a", "b", "c"):
            await shell.submit(name, queue=Queue("gpu"))
        await shell.submit("d", queue=Queue("adhoc"))
        await shell.turns()
        told = await Scene(shell).scrape()
        assert told["rdagentd_queue_length"] == {("gpu",): 2, ("default",): 0, ("idle",): 0, ("adhoc",): 0}
        assert told["rdagentd_slots"] == {("gpu",): 1, ("idle",): 3}, "no bound, no number"
        assert told["rdagentd_slots_used"] == {("gpu",): 1, ("default",): 0, ("idle",): 0, ("adhoc",): 1}
        told = await Scene(shell, Metrics(workers=3)).scrape()
        assert ("adhoc",) not in told["rdagentd_queue_length"], "whoever submits makes up groups"

    in_shell(test)


def test_pressure_that_holds_the_queue() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell)
        assert (await scene.scrape())["rdagentd_queue_held"] == {("cpu",): 0, ("io",): 0, ("memory",): 0}
        shell.supervisor.post(ev.HostChanged(NO_CAPACITY, Thresholds(memory_10s=10.0)))
        shell.supervisor.post(ev.PressureRead({"memory_10s": 50.0}))
        await shell.turns()
        assert (await scene.scrape())["rdagentd_queue_held"] == {("cpu",): 0, ("io",): 0, ("memory",): 1}

    in_shell(test)


def test_without_an_executor_and_with_a_disk_that_is_full() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell)
        told = await scene.scrape()
        assert told["rdagentd_driver_up"] == {("process",): 0}, "of Docker nothing: nobody needs it"
        shell.supervisor.store_error = "the disk is full"
        assert (await scene.scrape())["rdagentd_store_up"] == 0

    in_shell(test, connected=False)


def test_others_have_their_turn_while_a_scrape_is_under_way() -> None:
    async def test(shell: Shell) -> None:
        scene = Scene(shell)
        await scene.scrape()
        turns = 0
        scrape = asyncio.ensure_future(scene.scrape())
        while not scrape.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > len(WorkerFamily)

    in_shell(test)
