"""What it costs to know what a thousand runs use: CPU, memory and I/O when somebody asks, directories from time to time."""

from __future__ import annotations

import time

from benchmarks import cgroups, processes
from benchmarks.bench import Bench
from benchmarks.measure_status import timed
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import ALL, Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale


def _row(key: str, title: str) -> Row:
    return Row(key, title, "ms", 1e3, bare="without cgroups: by search")


ROWS = (
    Row(
        "looked_at",
        "1000 workers with a cache directory, while nobody asks: CPU, its measuring included",
        "ms/s",
        1e3,
        150,
    ),
    _row("usage", "usage of 1000 running workers, by cgroup: request"),
    _row("usage_cpu", "the same, CPU of daemon and executor for it"),
    _row("status_long", "`status --long`, whole process, 1000 workers, by cgroup"),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """An executor that finds no cgroups."""
    return (
        _measured(Rdagentd(bench, bench.crowd(scale.crowd), before=cgroups.hidden()), scale) if cgroups.usable() else {}
    )


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors do not account."""
    if peer is not Rdagentd or not cgroups.usable():
        return {}
    return {**_measured(Rdagentd(bench, bench.crowd(scale.crowd)), scale), "looked_at": _looked_at(bench, scale)}


def _looked_at(bench: Bench, scale: Scale) -> Sample:
    """In the first half minute, when it is most: what does not change is looked at ever less often."""
    with Rdagentd(bench, bench.crowd(scale.crowd), more={"cache": {}}) as running:
        pids = running.pids()
        before = processes.cpu(pids) + processes.children_cpu(pids), time.monotonic()
        time.sleep(scale.idle)
        after = processes.cpu(pids) + processes.children_cpu(pids), time.monotonic()
    return Sample([(after[0] - before[0]) / (after[1] - before[1])])


def _measured(peer: Rdagentd, scale: Scale) -> Values:
    took, cpu = [], []
    with peer as running:
        pids = running.pids()
        for _ in range(scale.commands):
            before = processes.cpu(pids), time.perf_counter()
            used = running.ask("usage", ALL)
            took.append(time.perf_counter() - before[1])
            cpu.append(processes.cpu(pids) - before[0])
            if len(used) != scale.crowd or None in (one["usage"]["memory"] for one in used):
                raise RuntimeError(f"usage is known of {len(used)} workers of {scale.crowd}")
        command = running.status_command("--long")
        timed(command)  # the first one may have to compile its modules
        shown = Sample(timed(command) for _ in range(scale.commands))
    return {"usage": Sample(took), "usage_cpu": Sample(cpu), "status_long": shown}
