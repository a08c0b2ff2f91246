"""One turn: a worker, an event, and what is decided about them. Handlers write into it; the engine reads it."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import attrs
from attrs import define

from rdagentd.core import effects as fx
from rdagentd.core.events import WorkerEvent
from rdagentd.model.worker import Reason, Worker

_NAMES = tuple(field.name for field in attrs.fields(Worker))
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_VALUES = attrgetter(*_NAMES)


@define(eq=False)
class Turn:
    """now: monotonic seconds. worker: as it becomes; `gone` once it is forgotten. order: hands out places in the queue.

    ending: those that depend on a worker and are being stopped. outage: which of its providers is out, "" for none.
    """

    event: WorkerEvent
    worker: Worker
    now: float
    order: Callable[[], int]
    effects: list[fx.Effect]
    ending: Callable[[str], list[str]]
    outage: Callable[[Worker], str]
    gone: bool = False

    def change(self, **fields: Any) -> None:
        """Replaces fields of the worker."""
        values = list(_VALUES(self.worker))  # attrs.evolve does the same in three times the time
        for name, value in fields.items():
            values[_PLACES[name]] = value
        self.worker = Worker(*values)

    def do(self, effect: fx.Effect) -> None:
        """Adds an effect."""
        self.effects.append(effect)

    def tell(self, kind: str, text: str, **data: Any) -> None:
        """Adds a sentence to the worker's story."""
        run = self.worker.run.id if self.worker.run else None
        by = getattr(self.event, "by", None)
        self.effects.append(fx.Story(self.worker.name, run, kind, text, by, data))

    def because(self, code: str, text: str) -> None:
        """Sets the reason for which the worker is where it is."""
        self.change(reason=Reason(code, text))

    def refuse(self, code: str, text: str) -> None:
        """Answers that the request cannot be done."""
        self.effects.append(fx.Refused(code, text))

    @property
    def run_id(self) -> str:
        """Id of the worker's run. Only for states that have one."""
        run = self.worker.run
        assert run is not None, f"{self.worker.name} is {self.worker.state} without a run"
        return run.id
