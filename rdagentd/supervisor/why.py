"""Why a worker is where it is, in sentences: what it is, why, what comes next, and what somebody could do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rdagentd.config.units import format_duration
from rdagentd.core.budgets import amount
from rdagentd.core.engine import BEHIND, Engine
from rdagentd.core.pool import RESOURCES, shares
from rdagentd.core.words import listed
from rdagentd.drivers.limits import Unmet
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.worker import HELD, LIVE, State, Worker
from rdagentd.supervisor.ailing import Answers, how_it_is
from rdagentd.supervisor.met import met_at_end, met_on_the_way
from rdagentd.supervisor.rows import budget_rows, since_boot, worker_row


def why(  # noqa: PLR0913
    engine: Engine,
    worker: Worker,
    runs: Sequence[Run],
    now: float,
    unmet: Sequence[Unmet] = (),
    *,
    waits: str | None = None,
    answers: Answers | None = None,
) -> dict[str, Any]:
    """Sentences and facts about a worker. runs: newest first; now: monotonic seconds. unmet: limits not enforced.

    waits: what its run waits for, by its driver. answers: what its last probes came to.
    """
    sentences = [_HEAD[worker.state](engine, worker, now), f"It {waits}." if waits else "", _away(engine, worker)]
    sentences += [*how_it_is(worker, answers or {}), _holds(worker), *_past(worker, runs), _misread(worker)]
    told = worker.reason.text if worker.reason else ""  # a run that was refused has said it already
    sentences += [f"{_capital(limit.text)}." for limit in unmet if limit.text not in told]
    sentences += [*_slowed(worker), _budgets(engine, worker, now), *_hints(worker)]
    facts = worker_row(engine, worker, now)
    return {"name": worker.name, "sentences": [text for text in sentences if text], "facts": facts}


def _queued(engine: Engine, worker: Worker, now: float) -> str:
    reason = engine.waits_for(worker)
    holders = engine.held_by(worker) if reason.code in ("slot", *RESOURCES) else []
    taken = f"; held by {listed(holders)}" if holders else ""
    unseen = f" {_capital(engine.pressure.problem)}." if engine.pressure.problem else ""
    return f"{worker.name} is queued: it {reason.text}{taken}.{unseen}"


def _starting(engine: Engine, worker: Worker, now: float) -> str:
    known = engine.trouble(worker)
    return f"{worker.name} is starting: {known or f'{BEHIND[worker.spec.driver]} was asked to start it'}."


def _running(engine: Engine, worker: Worker, now: float) -> str:
    run = worker.run
    pid = run.pid if run else None
    since = "" if run is None or run.started_at is None else f" for {format_duration(_lasts(run))}"
    limit = (
        "" if worker.deadline is None else f"; its time limit comes in {format_duration(max(0, worker.deadline - now))}"
    )
    what = f"container {run.container[:12]}" if run and run.container else f"process {pid}"
    return f"{worker.name} is running{since} as {what} (attempt {worker.attempt}){limit}."


def _lasts(run: Run) -> float:
    """Seconds since a run began."""
    began = since_boot(run)
    if began is None:
        return max(0, time.time() - (run.started_at or 0))
    return max(0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)


def _paused(engine: Engine, worker: Worker, now: float) -> str:
    left = "" if worker.time_left is None else f" {format_duration(worker.time_left)} of its time limit are left."
    return f"{worker.name} is paused by request.{left}"


def _stopping(engine: Engine, worker: Worker, now: float) -> str:
    stop = worker.spec.stop
    text = worker.reason.text if worker.reason else "it was asked to"
    if worker.step == HELD:
        ending = listed(engine.dependents.ending(worker.name))
        return f"{worker.name} is stopping: {text}; it is asked to end once these have, which depend on it: {ending}."
    if worker.due is None:
        return f"{worker.name} is stopping: {text}; SIGKILL was sent to its whole tree."
    sent = ", ".join(stop.signals[: worker.step + 1]) or "no signal"
    last = worker.step >= len(stop.signals) - 1
    coming = "SIGKILL to its whole tree" if last else stop.signals[worker.step + 1]
    return f"{worker.name} is stopping: {text}; {sent} sent, {coming} follows in {format_duration(max(0, worker.due - now))}."


def _backoff(engine: Engine, worker: Worker, now: float) -> str:
    left = format_duration(max(0, worker.due - now)) if worker.due is not None else "a moment"
    return f"{worker.name} waits to be restarted: {_reason(worker)}; that is in {left} (attempt {worker.attempt + 1})."


def _resting(engine: Engine, worker: Worker, now: float) -> str:
    again = "" if worker.due is None else f" The next attempt is in {format_duration(max(0, worker.due - now))}."
    return f"{worker.name} {_RESTS[worker.state]}: {_reason(worker)}.{again}"


_RESTS = {
    State.STOPPED: "is stopped",
    State.COMPLETED: "has completed",
    State.FAILED: "has failed",
}

_HEAD: dict[State, Callable[[Engine, Worker, float], str]] = {
    State.QUEUED: _queued,
    State.STARTING: _starting,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.STOPPING: _stopping,
    State.BACKOFF: _backoff,
    State.STOPPED: _resting,
    State.COMPLETED: _resting,
    State.FAILED: _resting,
}


def _away(engine: Engine, worker: Worker) -> str:
    """That nobody knows how it fares; it is no less alive for that."""
    trouble = engine.trouble(worker) if worker.state in (State.RUNNING, State.PAUSED, State.STOPPING) else None
    if trouble is None:
        return ""
    return f"{_capital(trouble)}: until it does, nobody knows how {worker.name} fares, and nothing reaches it."


def _holds(worker: Worker) -> str:
    """What it has of the host, until nothing of its run is left."""
    held = shares(worker.run.holds) if worker.run and worker.state in LIVE else ""
    return f"It holds {held}." if held else ""


def _past(worker: Worker, runs: Sequence[Run]) -> list[str]:
    """The last end, where the head does not tell it, and how often it was restarted."""
    over = [run for run in runs if run.exit is not None]
    sentences = []
    if over and worker.state in (State.QUEUED, State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING):
        last = over[0]
        ago = "" if last.ended_at is None else f", {format_duration(max(0, time.time() - last.ended_at))} ago"
        sentences.append(f"Its run before that {last.exit.reason if last.exit else ''}{ago}.")
    if worker.restarts:
        sentences.append(f"It was restarted {_times(worker.restarts)} so far.")
    return sentences


def _misread(worker: Worker) -> str:
    """What of that which its latest run tells could not be read."""
    reading = worker.run.reading if worker.run else None
    if reading is None or not reading.errors:
        return ""
    return f"Of what it tells something could not be read, {_times(reading.errors)}; the last: {reading.trouble}."


def _budgets(engine: Engine, worker: Worker, now: float) -> str:
    """What is used of its budgets, and of those that it shares."""
    used = [
        f"{amount(one['measure'], one['used'])} of {amount(one['measure'], one['budget'])} ({one['of']})"
        for one in budget_rows(engine, worker, now)
    ]
    return f"Of its budgets it has used {', '.join(used)}." if used else ""


def _slowed(worker: Worker) -> list[str]:
    """What its limits did to a run that is over."""
    over = worker.run is not None and worker.run.exit is not None
    return list(met_on_the_way(worker.spec.limits, worker.run.usage)) if worker.run and over else []


def _hints(worker: Worker) -> list[str]:
    """What somebody could do."""
    name, ended = worker.name, worker.run.exit if worker.run else None
    if worker.orphaned:
        gone = f"Its file {worker.source} is gone"
        return [f"{gone}: put it back and reload, or forget the worker: rdagentctl remove {name}"]
    if worker.state is State.PAUSED:
        return [f"To let it go on: rdagentctl resume {name}"]
    if worker.state not in (State.FAILED, State.BACKOFF, State.STOPPED):
        return []
    hints = []
    if ended is not None and ended.stage == "limits":
        hints.append(f"Nothing of it was executed. Its limits: rdagentctl show {name}")
    elif ended is not None and ended.kind is ExitKind.COULD_NOT_START:
        hints.append(f"Nothing of it was executed. Look at its command, directory and user: rdagentctl show {name}")
    elif ended is not None and worker.state is not State.STOPPED:
        hints.append(f"Its last words: rdagentctl logs {name} --run -1 --tail 20")
    if ended is not None:
        hints += _remedies(worker, ended)
    if worker.state is not State.BACKOFF:
        hints.append(f"To start it anew: rdagentctl start {name}")
    return hints


def _remedies(worker: Worker, ended: Exit) -> list[str]:
    """Which limit to raise."""
    found = [_REMEDIES[ended.kind].format(name=worker.name)] if ended.kind in _REMEDIES else []
    if ended.kind is ExitKind.OUT_OF_MEMORY and worker.spec.limits.memory is not None:
        found.append("To give it more, raise `limits.memory` in its spec.")
    if worker.state is not State.STOPPED:
        found += met_at_end(worker.spec.limits, ended, worker.run.usage if worker.run else None)
    return found


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


_REMEDIES = {
    ExitKind.TIMED_OUT: "To give it longer, raise `timeout` in its spec.",
    ExitKind.UNHEALTHY: "If its check asks too much, raise `timeout`, `retries` or `start_period` in [health] of its spec.",
    ExitKind.OVER_BUDGET: "To let it spend more: rdagentctl budget {name} --raise MEASURE=AMOUNT",
    ExitKind.STALLED: "What it looked like then: rdagentctl events {name} --kind stalled --json",
    ExitKind.OVER_QUOTA: "Make room in its $STATE_DIRECTORY, or raise `state.quota` in its spec.",
}


def _reason(worker: Worker) -> str:
    return worker.reason.text if worker.reason else "no reason was kept"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
