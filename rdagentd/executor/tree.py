"""The contract: what the executor needs to know of the processes of its runs, and to do to them.

`cgroup.py` asks the kernel, which knows; `search.py` looks for them, where there are no cgroups that we may use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from rdagentd.executor.run import Run

Usage = dict[str, Any]
"""user, system: seconds; memory, memory_peak, read, written: bytes; tasks, tasks_peak: a number. throttled (seconds of
CPUs), forks_refused: by the limits of the run. None: nobody knows."""


class Tree(Protocol):
    """The processes of all runs."""

    def enforces(self) -> dict[str, Any]:
        """`files`: what of FILES a run can be given, and `problem`: why it is not more, if it is not."""

    def put(self, run: str, egress: str, within: str = "") -> None:
        """A run is to be among those of a class of egress; "" for none. within: another run, of which it is to be a part."""

    def where(self, run: str) -> str:
        """The place of a run that the next executor will look at, if this one dies; "" for none."""

    def begin(self, request: dict[str, Any]) -> Iterator[str]:
        """Makes what a run needs before its first process; yields what is done next. Raises OSError."""

    def entrance(self, run: str) -> int:
        """A descriptor into which the child writes "0" as its first step; -1 for none. Raises OSError."""

    def has(self, run: Run, pid: int) -> bool:
        """Whether a process that lives, or is not reaped, is one of a run's."""

    def left(self, run: Run) -> bool:
        """Whether something of a run is left, its main process aside. `look` first."""

    def look(self) -> None:
        """Something has ended: find out what is new."""

    def reaped(self, pid: int) -> Iterable[Run]:
        """A process that was no main process is gone: the runs that it may have belonged to."""

    def signal(self, runs: Collection[Run], *numbers: int, group: bool = False) -> None:
        """Signals all of the runs at this moment, or all that are in a main's process group."""

    def freeze(self, run: Run) -> None:
        """Stops the whole run."""

    def thaw(self, run: Run) -> None:
        """Lets a run go on."""

    def kill(self, runs: Collection[Run]) -> None:
        """SIGKILL to all of the runs."""

    def usage(self, runs: Collection[Run]) -> dict[Run, Usage]:
        """What runs that live use now, and have used so far."""

    def total(self, run: Run) -> Usage:
        """What a run whose end is come has used, beside what wait4(2) told."""

    def out_of_memory(self, run: Run) -> dict[str, Any] | None:
        """`limit` in bytes or None, if the kernel has killed something of the run because memory ran out."""

    def over(self, run: str) -> None:
        """Nothing is left of a run."""

    def state(self) -> dict[str, Any]:
        """What a program that takes our place has to know."""

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up what was known before; the runs are there already."""

    def close(self) -> None:
        """The executor leaves."""
