"""What a cgroup for each run costs, and what it saves: a start, and the end of a whole tree."""

from __future__ import annotations

import time

from benchmarks import cgroups
from benchmarks.bench import Bench, Program
from benchmarks.pairs import Pairs, in_turn
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row
from benchmarks.scale import Scale


def _row(key: str, title: str) -> Row:
    return Row(key, title, "ms", 1e3, over_bare=True, bare="without: by search")


ROWS = (
    _row("cgroup_start", "request to child's exec, in a cgroup of the run's own"),
    _row("cgroup_kill", "kill of a run with 100 processes to its recorded exit, by cgroup"),
)


def pairs(bench: Bench, scale: Scale) -> Pairs:
    """Two daemons side by side, one of which finds no cgroups."""
    if not cgroups.usable():
        return {}
    stamps = [bench.stamp(f"stamp-{number}") for number in range(scale.starts)]
    trees = [_tree(bench, f"tree-{number}", scale.tree) for number in range(scale.pairs)]
    with (
        Rdagentd(bench, [*stamps, *trees]) as inside,
        Rdagentd(bench, [*stamps, *trees], before=cgroups.hidden()) as outside,
    ):

        def start(running: Rdagentd, name: str) -> float:
            begin = time.monotonic_ns()
            running.start(name)
            _, began = bench.told()
            running.await_rest([name])
            return (began - begin) / 1e9

        def kill(running: Rdagentd, name: str) -> float:
            running.start(name)
            bench.told()
            begin = time.monotonic()
            running.ask("kill", {"select": {"names": [name], "labels": {}}})
            running.await_rest([name])
            return time.monotonic() - begin

        return {
            "cgroup_start": in_turn(stamps, lambda one: start(inside, one.name), lambda one: start(outside, one.name)),
            "cgroup_kill": in_turn(trees, lambda one: kill(inside, one.name), lambda one: kill(outside, one.name)),
        }


def _tree(bench: Bench, name: str, count: int) -> Program:
    """Tells when it has all its children."""
    sleep, worker, fifo = bench.root / "sleep", bench.root / "worker", bench.root / "fifo"
    script = f"for i in $(seq {count - 1}); do {sleep} 1000000 & done; {worker} stamp {fifo}; wait"
    return Program(name, ("sh", "-c", script))
