"""Rows, and that a kept one is never stale."""

from __future__ import annotations

import msgpack
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.core.engine import Engine
from rdagentd.model.container import DriverName
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Reason, State, Worker
from rdagentd.protocol import frames
from rdagentd.supervisor.ids import RunIds
from rdagentd.supervisor.rows import Rows, pack_reply, run_row, worker_row
from tests.supervisor.values import RUNS, SECRET, workers


def engine_with(*workers: Worker, slots: int | None = None) -> Engine:
    """An engine that holds these workers."""
    engine = Engine(RunIds(), {"default": slots})
    engine.away = {}
    for worker in workers:
        engine.workers[worker.name] = worker
        engine.queue.follow(None, worker)
    return engine


@settings(max_examples=40, deadline=None)
@given(st.lists(workers(), min_size=1, max_size=12))
def test_a_row_is_that_of_the_worker_as_it_is_now(history) -> None:
    engine = Engine(RunIds())
    rows = Rows(engine)
    for worker in history:
        before = engine.workers.get(worker.name)
        engine.workers[worker.name] = worker
        engine.queue.follow(before, worker)
        for _ in range(2):
            (packed,) = rows.packed([worker])
            row, fresh = msgpack.unpackb(packed), worker_row(engine, worker, 0.0)
            assert row.pop("due_in") is None or worker.due is not None
            fresh.pop("due_in")
            assert row == fresh
            assert SECRET.encode() not in packed


def test_the_row_of_a_queued_worker_follows_the_queue() -> None:
    spec = Spec("w", ("true",))
    queued = Worker("w", spec, 0, state=State.QUEUED, order=2)
    ahead = Worker("v", evolve(spec, name="v"), 0, state=State.QUEUED, order=1)
    engine = engine_with(ahead, queued, slots=0)
    rows = Rows(engine)
    assert "1 ahead" in msgpack.unpackb(rows.packed([queued])[0])["reason"]["text"]
    engine.queue.follow(ahead, None)
    assert "next in line" in msgpack.unpackb(rows.packed([queued])[0])["reason"]["text"]
    engine.away = {DriverName.PROCESS: "cannot be reached"}
    assert msgpack.unpackb(rows.packed([queued])[0])["reason"]["code"] == "executor"


def test_a_row_is_packed_once_for_as_long_as_nothing_changes() -> None:
    worker = Worker("w", Spec("w", ("true",)), 0, reason=Reason("x", "y"))
    rows = Rows(engine_with(worker))
    first = rows.packed([worker])[0]
    assert rows.packed([worker])[0] is first
    rows.drop("w")
    assert rows.packed([worker])[0] == first
    rows.drop("nobody")


def test_due_in_counts_down_and_never_below_zero() -> None:
    worker = Worker("w", Spec("w", ("true",)), 0, state=State.BACKOFF, due=100.0)
    engine = engine_with(worker)
    assert worker_row(engine, worker, 40.0)["due_in"] == 60.0
    assert worker_row(engine, worker, 140.0)["due_in"] == 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(workers(), max_size=3), st.integers() | st.text())
def test_a_reply_of_packed_rows_is_an_ordinary_reply(history, request) -> None:
    if isinstance(request, int) and not -(2**63) <= request < 2**64:
        return
    engine = engine_with(*history)
    (message,) = frames.Decoder().feed(pack_reply(request, Rows(engine).packed(history)))
    assert message["id"] == request and message["ok"] is True
    assert [row["name"] for row in message["result"]] == [worker.name for worker in history]


@given(RUNS)
def test_a_run_s_row_can_be_packed_and_holds_all_of_it(run) -> None:
    row = msgpack.unpackb(msgpack.packb(run_row(run)))
    assert row["id"] == run.id and row["log_end"] == dict(run.log_end)
    assert (row["exit"] is None) == (run.exit is None)
