"""Directories of a worker's own as people write them."""

from __future__ import annotations

from collections.abc import Callable

from rdagentd.config.kinds import duration, size
from rdagentd.config.resources import optional
from rdagentd.config.section import Conflict, Section
from rdagentd.model.container import DriverName
from rdagentd.model.directories import CacheDirectory, StateDirectory
from rdagentd.model.spec import Spec

_SIZE = optional(size(1 << 20))

STATE = Section(
    StateDirectory,
    {"quota": (_SIZE, "What it may hold on disk; a run that is found to have more is stopped: `over_quota`.")},
    hints={"size": "did you mean quota?", "limit": "did you mean quota?"},
    optional=True,
)

CACHE = Section(
    CacheDirectory,
    {
        "size": (_SIZE, "What it may hold on disk; beyond, the files that were not used for longest are removed."),
        "age": (duration(unlimited=True, zero=False), "Files that were not read or written for so long are removed."),
    },
    hints={"quota": "did you mean size?", "max_age": "did you mean age?"},
    optional=True,
)


def _processes_only(field: str) -> Callable[[Spec], str]:
    def found(spec: Spec) -> str:
        docker = spec.driver is DriverName.DOCKER and getattr(spec, field) is not None
        return "is for processes; a container has container.volumes" if docker else ""

    return found


CONFLICTS = tuple(Conflict(key, (key, "driver", "container"), _processes_only(key)) for key in ("state", "cache"))
"""What is wrong with a whole spec because of them."""
