"""Sentences about every state."""

from __future__ import annotations

import os
import time

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.drivers.limits import Unmet
from rdagentd.model.container import DriverName
from rdagentd.model.run import Exit, ExitKind, Run, Usage
from rdagentd.model.spec import Limits, Queue, Rlimit, Spec, Stop
from rdagentd.model.worker import Reason, State, Worker
from rdagentd.supervisor.why import why
from tests.supervisor.test_rows import engine_with
from tests.supervisor.values import RUNS, SECRET, workers

NOW = 1000.0
WALL = 1_700_000_000.0
SPEC = Spec("w", ("/bin/agent",), stop=Stop(("SIGINT", "SIGTERM")), timeout=60.0)
FAILED = Exit(ExitKind.CODE, 3, reason="exited with code 3")


def live(**fields) -> Run:
    return Run("r2", "w", 1, pid=42, started_at=WALL - 90, **fields)


def over(ended: Exit) -> Run:
    return Run("r1", "w", 1, pid=41, started_at=WALL - 300, ended_at=WALL - 120, exit=ended)


CASES = {
    "starting": (Worker("w", SPEC, 0, state=State.STARTING), [], ["w is starting: the executor was asked"]),
    "running": (
        Worker("w", SPEC, 0, state=State.RUNNING, run=live(), attempt=2, deadline=NOW + 30),
        [over(FAILED)],
        ["running for 1 min 30 s as process 42 (attempt 2)", "time limit comes in 30 s", "exited with code 3, 2 min ago"],
    ),
    "paused": (
        Worker("w", SPEC, 0, state=State.PAUSED, run=live(), time_left=12.0),
        [],
        ["paused by request", "12 s of its time limit are left", "rdagentctl resume w"],
    ),
    "first step of the ladder": (
        Worker("w", SPEC, 0, state=State.STOPPING, run=live(), reason=Reason("stopping", "stop was requested"), due=NOW + 2),
        [],
        ["stop was requested; SIGINT sent, SIGTERM follows in 2 s"],
    ),
    "last step of the ladder": (
        Worker("w", SPEC, 0, state=State.STOPPING, run=live(), step=1, due=NOW + 9),
        [],
        ["SIGINT, SIGTERM sent, SIGKILL to its whole tree follows in 9 s"],
    ),
    "killing": (Worker("w", SPEC, 0, state=State.STOPPING, run=live(), step=2), [], ["SIGKILL was sent to its whole tree"]),
    "backoff": (
        Worker("w", SPEC, 0, state=State.BACKOFF, reason=Reason("backoff", "exited with code 3"), due=NOW + 5, attempt=1),
        [over(FAILED)],
        ["waits to be restarted: exited with code 3; that is in 5 s (attempt 2)"],
    ),
    "stopped": (
        Worker("w", SPEC, 0, reason=Reason("stopped", "stopped by request")),
        [],
        ["w is stopped: stopped by request", "rdagentctl start w"],
    ),
    "completed": (
        Worker("w", SPEC, 0, state=State.COMPLETED, reason=Reason("done", "exited with code 0"), restarts=1),
        [],
        ["w has completed: exited with code 0", "restarted once so far"],
    ),
    "failed": (
        Worker("w", SPEC, 0, state=State.FAILED, run=over(FAILED), reason=Reason("x", "exited with code 3"), restarts=2),
        [over(FAILED)],
        ["w has failed: exited with code 3", "restarted 2 times", "rdagentctl logs w", "rdagentctl start w"],
    ),
    "breaker open": (
        Worker("w", SPEC, 0, state=State.FAILED, due=NOW + 60, reason=Reason("breaker", "the breaker opened")),
        [],
        ["the breaker opened", "The next attempt is in 1 min"],
    ),
    "could not start": (
        Worker("w", SPEC, 0, state=State.FAILED, run=over(Exit(ExitKind.COULD_NOT_START, stage="exec", reason="no such file"))),
        [],
        ["Nothing of it was executed", "rdagentctl show w"],
    ),
    "out of memory": (
        Worker("w", evolve(SPEC, limits=Limits(memory=1 << 20)), 0, state=State.FAILED,
               run=over(Exit(ExitKind.OUT_OF_MEMORY, reason="out of memory")), reason=Reason("x", "out of memory: its limit")),
        [],
        ["w has failed: out of memory: its limit", "raise `limits.memory`"],
    ),
    "over quota": (
        Worker("w", SPEC, 0, state=State.FAILED, run=over(Exit(ExitKind.OVER_QUOTA, reason="it holds 2 GiB")),
               reason=Reason("over_quota", "its state directory holds 2 GiB, its quota is 1 GiB; no restart")),
        [],
        ["w has failed: its state directory holds 2 GiB, its quota is 1 GiB", "raise `state.quota`"],
    ),
    "too large a file": (
        Worker("w", evolve(SPEC, limits=Limits(fsize=Rlimit(1 << 20, 1 << 20))), 0, state=State.FAILED,
               run=over(Exit(ExitKind.SIGNAL, signal="SIGXFSZ")), reason=Reason("x", "killed by SIGXFSZ")),
        [],
        ["w has failed: killed by SIGXFSZ", "`limits.fsize` is 1 MiB"],
    ),
    "held up": (
        Worker("w", evolve(SPEC, limits=Limits(cpu=1.5)), 0, state=State.COMPLETED,
               run=evolve(over(Exit(ExitKind.CODE, 0)), usage=Usage(throttled=7.0)), reason=Reason("x", "exited with code 0")),
        [],
        ["w has completed", "held up for 7 s in all, because `limits.cpu` is 1.5"],
    ),
    "timed out": (
        Worker("w", SPEC, 0, state=State.FAILED, run=over(Exit(ExitKind.TIMED_OUT, reason="ran into its time limit"))),
        [],
        ["raise `timeout`"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_sentences_name_the_reason(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: WALL)
    worker, runs, expected = CASES[case]
    told = " ".join(why(engine_with(worker), worker, runs, NOW)["sentences"])
    for words in expected:
        assert words in told, told


def test_limits_that_do_not_hold_are_told_once() -> None:
    lacking = [
        Unmet("tasks", False, "limits.tasks cannot be enforced: no"),
        Unmet("memory", True, "limits.memory cannot"),
    ]
    worker = Worker(
        "w", SPEC, 0, state=State.FAILED, reason=Reason("x", "could not start: limits.memory cannot; and so on")
    )
    told = why(engine_with(worker), worker, [], NOW, lacking)["sentences"]
    assert "Limits.tasks cannot be enforced: no." in told
    assert len([text for text in told if "memory" in text]) == 1


def test_a_queued_worker_names_those_who_hold_its_slots() -> None:
    holders = [
        Worker(f"h{n}", Spec(f"h{n}", ("true",), queue=Queue("gpu")), 0, state=State.RUNNING, run=live())
        for n in range(7)
    ]
    queued = Worker("w", Spec("w", ("true",), queue=Queue("gpu")), 0, state=State.QUEUED, order=9)
    engine = engine_with(*holders, queued)
    engine.queue.set_slots({"gpu": 7})
    (sentence,) = why(engine, queued, [], NOW)["sentences"]
    assert "group gpu (7 of 7 taken" in sentence and "and 2 more" in sentence and "h0" in sentence


def test_how_long_it_runs_is_true_on_a_clock_that_was_set_forward_by_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    booted = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: booted}.__getitem__)
    run = evolve(live(), started_at=time.time() - 86400, start_ticks=int((booted - 30) * os.sysconf("SC_CLK_TCK")))
    running = Worker("w", SPEC, 0, state=State.RUNNING, run=run)
    assert "running for 30" in why(engine_with(running), running, [], NOW)["sentences"][0]


def test_a_queued_worker_says_that_the_executor_is_away() -> None:
    queued = Worker("w", SPEC, 0, state=State.QUEUED)
    engine = engine_with(queued)
    engine.away = {DriverName.PROCESS: "cannot be reached"}
    assert "executor, which cannot be reached" in why(engine, queued, [], NOW)["sentences"][0]


def test_what_a_run_waits_for_is_told() -> None:
    worker = Worker("w", SPEC, 0, state=State.RUNNING)
    told = why(engine_with(worker), worker, [], NOW, waits="waits for the Docker proxy, which ends its containers")
    assert told["sentences"][1] == "It waits for the Docker proxy, which ends its containers."


@settings(deadline=None)
@given(workers(), st.lists(RUNS, max_size=3), st.booleans())
def test_there_is_always_an_answer_and_it_tells_no_secrets(worker, runs, connected) -> None:
    engine = engine_with(worker)
    engine.away = {} if connected else {DriverName.PROCESS: "cannot be reached"}
    told = why(engine, worker, runs, NOW)
    assert told["sentences"] and all(text.strip() for text in told["sentences"])
    assert told["sentences"][0].startswith(worker.name)
    assert SECRET not in repr(told)
