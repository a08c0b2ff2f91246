"""What is true after a crash, a restart or a reboot: what was kept, compared with what its driver holds.

A live worker's run is held by the driver (adopted), or its end follows (settled), or neither. Neither means: never
started, if we only intended it and the executor's journal is still the one that would know; else lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.checkpoints import launching
from rdagentd.core.endings import NEVER
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Policy
from rdagentd.model.worker import HELD, LIVE, Reason, State, Want, Worker

_LOST = "lost: nobody saw how it ended (the machine or the executor died with it)"
UNREADABLE = "unreadable"
"""Code of the reason of a worker whose row in the database cannot be read."""


def is_unreadable(worker: Worker) -> bool:
    """Whether only the name of this worker is known."""
    return worker.reason is not None and worker.reason.code == UNREADABLE


def after_boot(worker: Worker, now: float) -> Worker:
    """A kept worker, with deadlines that make sense on a monotonic clock that began anew."""
    changes: dict[str, object] = {
        "ends": (), "launched": now, "deadline": None, "paused_at": None, "watchdog_at": None, "probed_from": now,
        "budget_due": None, "quiet": None, "before_today": 0.0,
    }  # fmt: skip
    if worker.due is not None:
        wait = worker.spec.restart.breaker.cooldown if worker.state is State.FAILED else 0.0
        changes["due"] = now + wait
    always = worker.spec.restart.policy is Policy.ALWAYS and not worker.orphaned
    if always and worker.state is State.STOPPED and worker.run is not None:
        reason = Reason("boot", "the machine was started; its policy is always")
        changes.update(want=Want.UP, state=State.QUEUED, due=None, attempt=0, reason=reason)
    return evolve(worker, **changes)  # type: ignore[arg-type]


def reconcile(
    workers: Mapping[str, Worker], event: ev.ExecutorConnected, effects: list[fx.Effect]
) -> Iterator[ev.WorkerEvent]:
    """Events that bring the live workers in line with the executor; effects that fence what nobody owns."""
    held = {run.run: run for run in event.runs}
    for worker in list(workers.values()):
        run = worker.run
        if worker.spec.driver is not event.driver or worker.state not in LIVE or run is None or run.id in event.exited:
            continue
        found = held.pop(run.id, None)
        if found is not None:
            if found.pid is not None:
                yield ev.RunStarted(
                    worker.name, run.id, found.pid, found.start_ticks, found.at, found.log, found.container
                )
            _resume_wish(workers[worker.name], found, effects)
        elif (never := run.pid is None and (event.same_epoch or not run.prepared)) and worker.state is State.STARTING:
            effects.append(launching(worker))
        else:
            yield ev.RunExited(worker.name, run.id, Exit(ExitKind.LOST, reason=NEVER if never else _LOST))
    for stray in held.values():
        owner = workers.get(stray.worker)
        if owner is not None and is_unreadable(owner):  # its row may be mended yet: hours of work are not thrown away
            text = f"run {stray.run} of {stray.worker} goes on although its row cannot be read"
            effects.append(fx.Story(stray.worker, stray.run, "left", text))
            continue
        effects.append(fx.Kill(stray.run))
        effects.append(
            fx.Story(None, stray.run, "fenced", f"run {stray.run} of {stray.worker} has no owner; it is ended")
        )


def _resume_wish(worker: Worker, found: ev.Held, effects: list[fx.Effect]) -> None:
    """Says again what the executor may have missed. Each of these is harmless twice."""
    state, step = worker.state, worker.step
    if state is State.STOPPING and worker.due is None and step != HELD:  # beyond the ladder
        effects.append(fx.Kill(found.run))
    elif state is State.STOPPING and step != HELD:
        effects += [fx.Signal(found.run, name) for name in worker.spec.stop.signals[step : step + 1]]
    if state is State.PAUSED and not found.frozen:
        effects.append(fx.Freeze(found.run))
    elif state is not State.PAUSED and found.frozen:
        effects.append(fx.Thaw(found.run))
