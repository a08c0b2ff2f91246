"""What has happened to workers since the daemon began, counted as it happens: stories, ends of runs, restarts.

Nothing of it outlives the daemon: who reads counters knows that they begin anew.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from rdagentd.core.effects import Story
from rdagentd.model.run import ExitKind
from rdagentd.model.worker import Worker
from rdagentd.supervisor.iterations import Iterations


class Happenings:
    """What has happened to workers."""

    def __init__(self) -> None:
        self.stories: Counter[str] = Counter()
        self.exits: Counter[str] = Counter({kind.value: 0 for kind in ExitKind})
        self.exits_of: dict[str, Counter[str]] = {}
        self.restarts = 0
        self.iterations = Iterations()
        self._restarts: dict[str, int] = {}

    def begin(self, workers: Iterable[Worker]) -> None:
        """What was before does not count."""
        self._restarts = {worker.name: worker.restarts for worker in workers}

    def told(self, story: Story) -> None:
        """A sentence of a story is on disk."""
        self.stories[story.kind] += 1
        if story.kind == "exited" and story.worker is not None:
            kind = story.data["exit"]
            self.exits[kind] += 1
            self.exits_of.setdefault(story.worker, Counter())[kind] += 1

    def saved(self, worker: Worker) -> None:
        """A worker is like this now."""
        self.restarts += worker.restarts - self._restarts.get(worker.name, 0)
        self._restarts[worker.name] = worker.restarts
        self.iterations.saved(worker, time.monotonic())

    def forgotten(self, name: str) -> None:
        """A worker is gone."""
        self._restarts.pop(name, None)
        self.exits_of.pop(name, None)
        self.iterations.forgotten(name)
