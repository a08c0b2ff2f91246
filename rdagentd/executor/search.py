"""The processes of a run where there is no cgroup for it: looked for by parent, session, group and tag.

The executor is a child subreaper: whatever of a run loses its parent becomes our child (a stray). So nothing is left of a run
if its main process was reaped and no stray belongs to it. As only we can reap them, the pids of our own children are never
reused behind our back; all others are compared with their start time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from errno import ENOTSUP
from typing import Any

from rdagentd.executor import proc
from rdagentd.executor.proc import Stat
from rdagentd.executor.run import Run
from rdagentd.executor.tree import Usage

ROUNDS = 100
"""Most times that a tree is searched for processes born while it was being stopped."""

Found = dict[int, int]
"""pid → start ticks."""


class Search:
    """mains: main processes not reaped yet. problem: why there are no cgroups."""

    def __init__(self, runs: Mapping[str, Run], mains: dict[int, Run], problem: str) -> None:
        self.owners: dict[int, set[Run]] = {}
        self._left: dict[Run, set[int]] = {}
        self._runs = runs
        self._mains = mains
        self._problem = problem

    def enforces(self) -> dict[str, Any]:
        """Nothing for a run as a whole."""
        return {"files": [], "problem": self._problem}

    def put(self, run: str, egress: str, within: str = "") -> None:
        """Nowhere."""

    def where(self, run: str) -> str:
        """Its tag is enough to find it."""
        return ""

    def begin(self, request: dict[str, Any]) -> Iterator[str]:
        """Refuses what only a cgroup could do."""
        if request["egress"]:
            yield "egress"
            raise OSError(ENOTSUP, f"needs cgroups: {self._problem}")
        for file, value in request["cgroup"].items():
            yield f"cgroup {file}: {value}"
            raise OSError(ENOTSUP, os.strerror(ENOTSUP))

    def entrance(self, run: str) -> int:
        """None."""
        return -1

    def has(self, run: Run, pid: int) -> bool:
        """By its tag."""
        return proc.tag(pid) == run.tag

    def left(self, run: Run) -> bool:
        """Whether there is a stray that is of this run alone."""
        return bool(self._left.get(run))

    def _adopt(self, pid: int, owners: set[Run]) -> None:
        self.owners[pid] = owners
        self._own(pid, owners)

    def reaped(self, pid: int) -> Iterable[Run]:
        """Forgets a stray."""
        owners = self.owners.pop(pid, ())
        for run in owners:
            self._left.get(run, set()).discard(pid)
        return owners

    def over(self, run: str) -> None:
        """Strays that might have been of it are of the other ones."""
        for pid, owners in self.owners.items():
            for owner in [owner for owner in owners if owner.id == run]:
                owners.discard(owner)
                self._own(pid, owners)
        for owner in [owner for owner in self._left if owner.id == run]:
            del self._left[owner]

    def look(self) -> None:
        """Finds new strays."""
        self._adopt_children(self._stats())

    def signal(self, runs: Collection[Run], *numbers: int, group: bool = False) -> None:
        """Signals all that is found at this moment."""
        mains = {run.pid for run in runs}
        for pid, stat in self._members(runs).items():
            if not group or pid in mains or stat.group in mains:
                for number in numbers:
                    self._send(pid, stat.ticks, number)

    def freeze(self, run: Run) -> None:
        """Stops a run until nothing of it is found that is not stopped."""
        stop(lambda: self._find((run,)), self._send)

    def thaw(self, run: Run) -> None:
        """Lets a run go on."""
        self.signal((run,), signal.SIGCONT)

    def kill(self, runs: Collection[Run]) -> None:
        """Stops the runs, so that nothing new is born, and sends SIGKILL to all that was found."""
        for pid, ticks in stop(lambda: self._find(runs), self._send).items():
            self._send(pid, ticks, signal.SIGKILL)

    def usage(self, runs: Collection[Run]) -> dict[Run, Usage]:
        """The sum over what is found; of those that have ended, what wait4(2) told."""
        used = {run: proc.usage(found) for run, found in self._trees(runs).items()}
        for run, sums in used.items():
            sums["user"], sums["system"] = sums["user"] + run.usage[0], sums["system"] + run.usage[1]
        return used

    def total(self, run: Run) -> Usage:
        """Nothing beside that."""
        return {}

    def out_of_memory(self, run: Run) -> dict[str, Any] | None:
        """Nobody tells."""
        return None

    def state(self) -> dict[str, Any]:
        """Whose the strays are."""
        owners = {pid: [run.id for run in runs] for pid, runs in self.owners.items()}
        return {"owners": owners, "problem": self._problem}

    def resume(self, state: Mapping[str, Any]) -> None:
        """The strays, as they were known before."""
        for pid, names in state["owners"].items():
            self._adopt(pid, {self._runs[name] for name in names})

    def close(self) -> None:
        """Nothing to leave behind."""

    def _own(self, pid: int, owners: set[Run]) -> None:
        if len(owners) == 1:
            self._left.setdefault(next(iter(owners)), set()).add(pid)

    def _send(self, pid: int, ticks: int, number: int) -> None:
        if not proc.send(pid, ticks, number) and pid in self.owners:
            self.reaped(pid)  # it got another user's rights, which we have not: no run can wait for it
            self.owners[pid] = set()

    def _adopt_children(self, stats: dict[int, Stat]) -> None:
        me = os.getpid()
        for pid, stat in stats.items():
            if stat.parent == me and pid not in self._mains and pid not in self.owners:
                self._adopt(pid, self._whose(pid, stat))

    def _stats(self, runs: Collection[Run] = ()) -> dict[int, Stat]:
        """Every process, save those of which cheaper questions tell that they are none of `runs`.

        Is it the main process of another run, or in the session of one? Has it no session: is it the kernel's, or of whoever
        entered the executor's pid namespace from outside? A main process that is only just born is still in the executor's own.
        """
        mine = {run.pid for run in runs}
        others = self._mains.keys() - mine
        found = {}
        for pid in proc.pids():
            session = proc.session(pid)
            if pid in mine or (pid not in others and session and session not in others):
                stat = proc.stat(pid)
                if stat is not None:
                    found[pid] = stat
        return found

    def _whose(self, pid: int, stat: Stat) -> set[Run]:
        tag = proc.tag(pid)
        for run in self._runs.values():
            if run.tag == tag or run.pid in (stat.session, stat.group):
                return {run}
        return {run for run in self._runs.values() if run.ticks <= stat.ticks}

    def _members(self, runs: Collection[Run]) -> dict[int, Stat]:
        """Everything that belongs to the runs and is found at this moment, main processes first."""
        return {pid: stat for found in self._trees(runs).values() for pid, stat in found.items()}

    def _trees(self, runs: Collection[Run]) -> dict[Run, dict[int, Stat]]:
        """The same for each run, by one look at all processes."""
        stats = self._stats(runs)
        self._adopt_children(stats)
        mains = {run.pid for run in runs if self._mains.get(run.pid) is run}
        below: dict[int, list[int]] = {}
        heads: dict[int, list[int]] = {}
        for pid, stat in stats.items():
            below.setdefault(stat.parent, []).append(pid)
            for main in {pid, stat.session, stat.group} & mains:
                heads.setdefault(main, []).append(pid)
        trees = {}
        for run in runs:
            level = [*sorted(heads.get(run.pid, ()), key=run.pid.__ne__), *self._left.get(run, ())]
            found: dict[int, Stat] = {}
            while level:
                found |= {pid: stats[pid] for pid in level if pid in stats}
                level = [child for pid in level for child in below.get(pid, ()) if child not in found]
            trees[run] = found
        return trees

    def _find(self, runs: Collection[Run]) -> Found:
        return {pid: stat.ticks for pid, stat in self._members(runs).items()}


def stop(find: Callable[[], Found], send: Callable[[int, int, int], Any]) -> Found:
    """Sends SIGSTOP to all that `find` finds, until it finds nothing new; returns them."""
    stopped: Found = {}
    for _ in range(ROUNDS):
        new = {pid: ticks for pid, ticks in find().items() if stopped.get(pid) != ticks}
        if not new:
            break
        for pid, ticks in new.items():
            send(pid, ticks, signal.SIGSTOP)
        stopped |= new
    return stopped
