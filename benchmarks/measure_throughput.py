"""Many short jobs: accepted, run, and their exits recorded."""

from __future__ import annotations

import os
import time

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (
    Row(
        "throughput",
        "1000 x /bin/true accepted, run, exit recorded",
        "/s",
        target=400,
        more_is_better=True,
        bare="fork + exec + wait",
    ),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """One process that forks, executes and waits, one after the other, and remembers nothing."""
    path = str(bench.root / "true")

    def once() -> float:
        begin = time.perf_counter()
        for _ in range(scale.runs):
            pid = os.fork()
            if pid == 0:
                try:
                    os.execv(path, [path])
                finally:
                    os._exit(127)
            os.waitpid(pid, 0)
        return scale.runs / (time.perf_counter() - begin)

    return {"throughput": Sample(once() for _ in range(scale.rounds))}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """Each round with a fresh supervisor."""

    def once(number: int) -> float:
        jobs = [bench.nothing(f"job-{number}-{index}") for index in range(scale.runs)]
        with peer(bench, [], jobs) as running:
            begin = time.perf_counter()
            running.run()
            return scale.runs / (time.perf_counter() - begin)

    return {"throughput": Sample(once(number) for number in range(scale.rounds))}
