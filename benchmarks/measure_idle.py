"""What many idle workers cost: wake-ups, CPU and memory of the supervisor's own processes."""

from __future__ import annotations

import time

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (
    Row("wakeups", "1000 idle workers: wake-ups", "/s", target=0.1),
    Row("idle_cpu", "1000 idle workers: CPU", "ms/s", 1e3, 0.3),
    Row("memory_base", "memory (PSS), no worker", "MB", 1e-6, 45),
    Row("memory_each", "memory (PSS), each worker", "KiB", 1 / 1024, 10),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """First without a worker, then with many; nobody asks anything meanwhile."""
    with peer(bench, []) as running:
        pids = running.pids()
        time.sleep(scale.settle)
        base = processes.pss(pids)
    with peer(bench, bench.crowd(scale.crowd)) as running:
        pids = running.pids()
        time.sleep(scale.settle)
        before = processes.switches(pids), processes.cpu(pids), time.monotonic()
        time.sleep(scale.idle)
        after = processes.switches(pids), processes.cpu(pids), time.monotonic()
        crowded = processes.pss(pids)
    took = after[2] - before[2]
    return {
        "wakeups": Sample([(after[0] - before[0]) / took]),
        "idle_cpu": Sample([(after[1] - before[1]) / took]),
        "memory_base": Sample([base]),
        "memory_each": Sample([(crowded - base) / scale.crowd]),
    }
