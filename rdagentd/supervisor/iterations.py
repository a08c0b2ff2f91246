"""How long the iterations of Ralph take: between two that its runs tell, since the daemon began."""

from __future__ import annotations

from attrs import define

from rdagentd.model.worker import Worker
from rdagentd.supervisor.traffic import Durations

BOUNDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Of the histogram, in seconds."""


def is_ralph(worker: Worker) -> bool:
    """Whether it was made from a profile of Ralph's."""
    return worker.spec.labels.get("profile", "").startswith("ralph")


@define(eq=False)
class _Under:
    """An iteration that is under way. at: monotonic time since which it is known to be."""

    run: str
    iteration: int
    at: float


class Iterations:
    """durations: by worker. Each iteration counts once, by its number, however often it is told."""

    def __init__(self) -> None:
        self.durations: dict[str, Durations] = {}
        self._under_way: dict[str, _Under] = {}

    def saved(self, worker: Worker, now: float) -> None:
        """A worker is like this now; now: monotonic seconds."""
        run, under = worker.run, self._under_way.get(worker.name)
        if run is None or run.measures.iteration is None or not is_ralph(worker):
            return
        iteration, over = run.measures.iteration, run.exit is not None
        known = under is not None and under.run == run.id
        if known and under is not None and (iteration > under.iteration or over):
            self._took(worker.name, now - under.at, iteration - under.iteration + over)
        if over:
            self._under_way.pop(worker.name, None)
        elif not known or under is None or iteration > under.iteration:
            self._under_way[worker.name] = _Under(run.id, iteration, now)

    def _took(self, name: str, seconds: float, count: int) -> None:
        """So many of them took so long together: several at once if nobody told of each."""
        durations = self.durations.setdefault(name, Durations(BOUNDS))
        for _ in range(min(count, 1000)):
            durations.add(seconds / count)

    def forgotten(self, name: str) -> None:
        """A worker is gone."""
        self.durations.pop(name, None)
        self._under_way.pop(name, None)
