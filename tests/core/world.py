"""A strict engine with a clock of its own, and short words for what happens to its workers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from rdagentd.core import effects as fx
from rdagentd.core import events as ev
from rdagentd.core.engine import Engine
from rdagentd.core.health import schedule
from rdagentd.model.checkpoints import Found
from rdagentd.model.health import Check
from rdagentd.model.requests import NO_CAPACITY, Capacity
from rdagentd.model.run import Exit, ExitKind
from rdagentd.model.spec import Breaker, Policy, Restart, Spec, Stop
from rdagentd.model.worker import State, Worker

PERSON = 1000
"""uid of whoever asks."""

RESTART = Restart(Policy.ON_FAILURE, delay=5.0, retries=9, breaker=Breaker(failures=2, window=600.0, cooldown=100.0))
STOP = Stop(signals=("SIGINT", "SIGTERM"), interval=2.0, grace=10.0)


def a_spec(name: str = "w", **fields: Any) -> Spec:
    """A spec that has something of everything."""
    return Spec(name, **{"command": ("/bin/agent",), "restart": RESTART, "stop": STOP, "timeout": 60.0, **fields})


def code(number: int) -> Exit:
    """An exit with a code."""
    return Exit(ExitKind.CODE, number, reason=f"exited with code {number}")


KILLED = Exit(ExitKind.SIGNAL, signal="SIGKILL", reason="killed by SIGKILL")


class World:
    """`world(event)` lets the engine decide; `now` is the clock, which moves only when it is told to."""

    def __init__(
        self,
        slots: Mapping[str, int | None] | None = None,
        connected: bool = True,
        limit: int = 100,
        capacity: Capacity = NO_CAPACITY,
    ) -> None:
        ids = itertools.count(1)
        self.engine = Engine(lambda: f"r{next(ids)}", slots, limit, strict=True, capacity=capacity)
        self.now = 1000.0
        if connected:
            self(ev.ExecutorConnected(True))

    def __call__(self, event: ev.Event) -> list[fx.Effect]:
        return self.engine.handle(event, self.now)

    def worker(self, name: str = "w") -> Worker:
        return self.engine.workers[name]

    def run(self, name: str = "w") -> str:
        run = self.worker(name).run
        assert run is not None
        return run.id

    def submit(self, name: str = "w", start: bool = True, **fields: Any) -> list[fx.Effect]:
        return self(ev.SubmitRequested(a_spec(name, **fields), PERSON, start))

    def start(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.StartRequested(name, PERSON))

    def stop(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.StopRequested(name, PERSON))

    def restart(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.RestartRequested(name, PERSON))

    def pause(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.PauseRequested(name, PERSON))

    def resume(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.ResumeRequested(name, PERSON))

    def kill(self, name: str = "w") -> list[fx.Effect]:
        return self(ev.KillRequested(name, PERSON))

    def signal(self, signal: str, scope: str = "main", name: str = "w") -> list[fx.Effect]:
        return self(ev.SignalRequested(name, PERSON, signal, scope))

    def remove(self, force: bool = False, name: str = "w") -> list[fx.Effect]:
        return self(ev.RemoveRequested(name, PERSON, force))

    def change(self, name: str = "w", **fields: Any) -> list[fx.Effect]:
        return self(ev.SpecChanged(name, a_spec(name, **fields), PERSON))

    def prepared(self, *found: Found, name: str = "w", run: str | None = None) -> list[fx.Effect]:
        """Its checkpoints were looked for."""
        return self(ev.Prepared(name, run or self.run(name), found))

    def started(self, name: str = "w", run: str | None = None) -> list[fx.Effect]:
        return self(ev.RunStarted(name, run or self.run(name), 42, 4242, 5e8, {"out": 10}))

    def exited(self, ended: Exit | None = None, name: str = "w", run: str | None = None) -> list[fx.Effect]:
        return self(ev.RunExited(name, run or self.run(name), ended or code(0), 6e8, None, {"out": 20}))

    def due(self, name: str = "w", at: float | None = None) -> list[fx.Effect]:
        """The deadline of the worker's state comes: the one that it has, or `at`."""
        return self._fire(ev.Timer.STATE, name, self.worker(name).due if at is None else at)

    def limit(self, name: str = "w", at: float | None = None) -> list[fx.Effect]:
        """The run-time limit comes."""
        return self._fire(ev.Timer.LIMIT, name, self.worker(name).deadline if at is None else at)

    def exceeded(
        self, used: int = 3 << 30, quota: int = 2 << 30, name: str = "w", run: str | None = None
    ) -> list[fx.Effect]:
        """Its state directory holds more than it may."""
        return self(ev.QuotaExceeded(name, run or self.run(name), used, quota))

    def probe(self, check: Check = Check.HEALTH, name: str = "w", at: float | None = None) -> list[fx.Effect]:
        """The next probe is due: when the schedule says, or `at`."""
        plan = schedule(self.worker(name), check)
        timer = {Check.HEALTH: ev.Timer.HEALTH, Check.READY: ev.Timer.READY}[check]
        return self._fire(timer, name, plan.after(self.now) if plan is not None and at is None else at)

    def checked(
        self, ok: bool, text: str = "connection refused", check: Check = Check.HEALTH, name: str = "w", run: str = ""
    ) -> list[fx.Effect]:
        """What a probe came to."""
        return self(ev.Checked(name, run or self.run(name), check, ok, text))

    def reported(self, name: str = "w", run: str | None = None, **told: Any) -> list[fx.Effect]:
        """The run tells of itself."""
        return self(ev.Reported(name, run or self.run(name), **{"values": {}, "source": "test", **told}))

    def silence(self, name: str = "w", at: float | None = None) -> list[fx.Effect]:
        """The time for a sign of life is over."""
        return self._fire(ev.Timer.WATCHDOG, name, self.worker(name).watchdog_at if at is None else at)

    def notified(self, name: str = "w", run: str | None = None, **fields: str) -> list[fx.Effect]:
        """A run tells something of its life."""
        return self(ev.Notified(name, run or self.run(name), fields))

    def audit(self, name: str = "w") -> list[fx.Effect]:
        """Time alone may have exceeded a budget."""
        at = self.engine.purse.due if name == "" else self.worker(name).budget_due
        return self._fire(ev.Timer.BUDGET, name, at)

    def silent(self, name: str = "w") -> list[fx.Effect]:
        """It is time for the next step of the watch for stalls."""
        return self._fire(ev.Timer.STALL, name, self.worker(name).stall_due)

    def _fire(self, timer: ev.Timer, name: str, at: float | None) -> list[fx.Effect]:
        at = self.now if at is None else at
        self.now = max(self.now, at)
        return self(ev.Due(name, timer, at))

    def slots(self, **slots: int | None) -> list[fx.Effect]:
        return self(ev.GroupsChanged(slots))

    def live(self, name: str = "w", **fields: Any) -> None:
        """A running worker."""
        self.submit(name, **fields)
        self.started(name)


def put(state: State, world: World, **fields: Any) -> None:
    """Leads the new worker w into a state, by events alone."""
    if state is State.QUEUED:
        world.slots(default=0)
    world.submit(start=state is not State.STOPPED, **fields)
    for step in _WAY.get(state, ()):
        step(world)
    assert world.worker().state is state


_WAY: dict[State, tuple[Any, ...]] = {
    State.RUNNING: (World.started,),
    State.PAUSED: (World.started, World.pause),
    State.STOPPING: (World.started, World.stop),
    State.BACKOFF: (World.started, lambda world: world.exited(code(1))),
    State.COMPLETED: (World.started, World.exited),
    State.FAILED: (
        World.started,
        lambda world: world.exited(code(1)),
        World.due,
        World.started,
        lambda world: world.exited(code(1)),
    ),
}


def kinds(effects: list[fx.Effect]) -> str:
    """The types of effects, in order."""
    return " ".join(type(effect).__name__ for effect in effects)


def done(effects: list[fx.Effect]) -> list[fx.Effect]:
    """What is to be done: all that is not kept."""
    return [effect for effect in effects if not isinstance(effect, fx.KEPT)]


def stories(effects: list[fx.Effect]) -> list[str]:
    """What was told, by kind."""
    return [effect.kind for effect in effects if isinstance(effect, fx.Story)]


def refusal(effects: list[fx.Effect]) -> tuple[str, str]:
    """Code and text of the one thing that happened: a refusal."""
    assert len(effects) == 1, effects
    assert isinstance(effects[0], fx.Refused)
    return effects[0].code, effects[0].text
