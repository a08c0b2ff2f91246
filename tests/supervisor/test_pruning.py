"""Old checkpoints go while a worker runs, and when it has ended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from rdagentd.core import events as ev
from rdagentd.drivers.base import Assisted, Errand
from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Verify
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor import pruning
from rdagentd.supervisor.pruning import Pruning
from tests.look.conftest import FILES, Trace


class Here:
    """A driver whose assistants are children of the test."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        if self.fails:
            return Assisted(reason=self.fails)
        done = subprocess.run(list(errand.command), check=False, capture_output=True)
        return Assisted(code=done.returncode, output=done.stdout)


def worker_in(top: Path) -> Worker:
    checkpoints = Checkpoints(FILES, ("loop", "step"), Verify.SIGNED_PICKLE, "key", 2)
    spec = Spec("w", ("x",), directory=str(top), checkpoints=checkpoints)
    began = Checkpoint("trace/__session__/1/0_direct_exp_gen", 0, 0)
    return Worker("w", spec, os.getuid(), state=State.RUNNING, run=Run("r1", "w", 1, checkpoint=began), life=1.0)


def test_while_it_runs_and_as_often_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "EVERY", 0.01)
    trace = Trace(tmp_path)
    trace.loops(5)
    worker = worker_in(tmp_path)

    async def run() -> list[ev.Event]:
        told: asyncio.Queue[ev.Event] = asyncio.Queue()
        made = Pruning(Here, {"w": worker}.get, told.put_nowait)  # type: ignore[arg-type]
        made.follow(worker)
        first = await asyncio.wait_for(told.get(), 60)
        for step in range(5):  # the loop that comes next: what is old may vanish at any time
            trace.write(5, step)
        second = await asyncio.wait_for(told.get(), 60)
        made.follow(evolve(worker, state=State.STOPPED))
        assert made._task is not None
        await asyncio.wait_for(made._task, 60)
        return [first, second]

    events = asyncio.run(run())
    assert all(isinstance(event, ev.Noted) and event.kind == "pruned" for event in events)
    assert isinstance(events[0], ev.Noted) and events[0].text.startswith("old checkpoints were removed: 14, ")
    kept = {name.split("/")[2] for name in trace.names()}
    assert {"4", "5"} <= kept
    assert (tmp_path / "trace/__session__/1/0_direct_exp_gen").exists(), "the one that its run began from"


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.STOPPED])
def test_once_more_when_it_has_ended(tmp_path: Path, state: State) -> None:
    trace = Trace(tmp_path)
    trace.loops(5)
    worker = worker_in(tmp_path)
    now = {"w": worker}

    async def run() -> ev.Event:
        told: asyncio.Queue[ev.Event] = asyncio.Queue()
        made = Pruning(Here, now.get, told.put_nowait)  # type: ignore[arg-type]
        made.follow(worker)
        made.follow(evolve(worker, state=State.BACKOFF))
        now["w"] = evolve(worker, state=state)
        made.follow(now["w"])
        event = await asyncio.wait_for(told.get(), 60)
        assert made._task is None
        return event

    event = asyncio.run(run())
    assert isinstance(event, ev.Noted) and event.text.startswith("old checkpoints were removed: 14, ")


def test_nobody_is_waited_for_who_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in its backoff may be removed, and never come to rest."""
    monkeypatch.setattr(pruning, "EVERY", 0.01)
    worker = worker_in(tmp_path)

    async def run() -> None:
        made = Pruning(Here, {}.get, print)  # type: ignore[arg-type]
        made.follow(worker)
        task = made._task
        assert task is not None
        made.follow(evolve(worker, state=State.BACKOFF))
        await asyncio.wait_for(task, 60)

    asyncio.run(run())


def test_one_whose_spec_keeps_all_from_now_on_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "EVERY", 0.01)
    Trace(tmp_path).loops(5)
    before = Trace(tmp_path).names()
    worker = worker_in(tmp_path)
    assert worker.spec.checkpoints is not None
    everything = evolve(worker, spec=evolve(worker.spec, checkpoints=evolve(worker.spec.checkpoints, keep=0)))

    async def run() -> None:
        made = Pruning(Here, {"w": everything}.get, print)  # type: ignore[arg-type]
        made.follow(worker)
        task = made._task
        assert task is not None
        made.follow(everything)
        made.follow(evolve(everything, state=State.COMPLETED))
        await asyncio.wait_for(task, 60)

    asyncio.run(run())
    assert Trace(tmp_path).names() == before


def test_what_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    told: list[ev.Event] = []
    made = Pruning(lambda: Here("no room"), lambda name: None, told.append)  # type: ignore[arg-type,return-value]
    asyncio.run(made.prune(worker_in(tmp_path)))
    assert told == [ev.Noted("w", "pruned", "its old checkpoints could not be removed: no room", None)]


def test_nothing_is_done_for_those_that_keep_all(tmp_path: Path) -> None:
    worker = worker_in(tmp_path)
    assert worker.spec.checkpoints is not None
    everything = evolve(worker, spec=evolve(worker.spec, checkpoints=evolve(worker.spec.checkpoints, keep=0)))

    async def run() -> None:
        made = Pruning(Here, lambda name: None, print)  # type: ignore[arg-type]
        made.follow(everything)
        assert made._task is None

    asyncio.run(run())


def test_json_is_what_a_look_is_asked_and_answers(tmp_path: Path) -> None:
    """The command line is what `rdagentd.look` reads."""
    asked: list[Errand] = []

    class Notes(Here):
        async def assist(self, worker: Worker, errand: Errand) -> Assisted:
            asked.append(errand)
            return Assisted(code=0, output=b'{"removed": 0, "bytes": 0}')

    asyncio.run(Pruning(Notes, lambda name: None, print).prune(worker_in(tmp_path)))  # type: ignore[arg-type]
    wanted = json.loads(asked[0].command[-1])
    assert (wanted["keep"], wanted["spare"], wanted["since"]) == (2, "trace/__session__/1/0_direct_exp_gen", 10**9)
