"""From the request to the child: when the first instruction of the started program runs."""

from __future__ import annotations

import subprocess
import time

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (Row("start", "request to child's exec", "ms", 1e3, 4.0, bare="subprocess.Popen"),)


def bare(bench: Bench, scale: Scale) -> Values:
    """The same program, started by the one who measures."""
    program = bench.stamp("bare")

    def once() -> float:
        begin = time.monotonic_ns()
        process = subprocess.Popen(program.argv)
        _, began = bench.told()
        process.wait()
        return (began - begin) / 1e9

    return {"start": Sample(once() for _ in range(scale.starts))}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """Each start is of a program that is known and has not run yet."""
    programs = [bench.stamp(f"stamp-{number}") for number in range(scale.starts)]
    with peer(bench, programs) as running:

        def once(name: str) -> float:
            begin = time.monotonic_ns()
            running.start(name)
            _, began = bench.told()
            time.sleep(0.02)  # what follows the start of one must not delay the next
            return (began - begin) / 1e9

        return {"start": Sample(once(program.name) for program in programs)}
