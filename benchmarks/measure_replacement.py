"""kill -9 of a worker, until its replacement runs."""

from __future__ import annotations

import os
import random
import signal
import time

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (
    Row("replacement", "kill -9 of a worker to its replacement, p50", "ms", 1e3, 5.0),
    Row("replacement", "the same, p99", "ms", 1e3, 15.0, quantile=0.99),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """At random moments, so that one who looks from time to time is met at any phase of its tick; fewer for those."""
    chance = random.Random(1)
    with peer(bench, [bench.hold("held")]) as running:
        pid, _ = bench.told()
        values = []
        for _ in range(scale.ticking_kills if running.tick else scale.kills):
            time.sleep(chance.uniform(0.01, 0.03 + running.tick))
            begin = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            pid, began = bench.told()
            values.append((began - begin) / 1e9)
    return {"replacement": Sample(values)}
