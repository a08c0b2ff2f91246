"""How fast output is captured, in big writes and in short lines, with caps on; and what it costs."""

from __future__ import annotations

import os
import subprocess

from benchmarks import processes
from benchmarks.bench import Bench, Program
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

_BARE = "to a file directly"
ROWS = (
    Row("blocks", "log capture, 64 KiB writes", "MB/s", 1e-6, 450, more_is_better=True, bare=_BARE),
    Row("lines", "log capture, 100-byte lines", "MB/s", 1e-6, 90, more_is_better=True, bare=_BARE),
    Row("blocks_cpu", "its CPU, 64 KiB writes", "s/GB", target=2.0),
    Row("lines_cpu", "its CPU, 100-byte lines", "s/GB"),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """The same writers with a file as their output."""

    def once(program: Program) -> float:
        path = bench.root / "direct"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        process = subprocess.Popen(program.argv, stdout=descriptor)
        os.close(descriptor)
        begin, end = bench.told()
        process.wait()
        path.unlink()
        return int(program.argv[-1]) / (end - begin) * 1e9

    return {
        key: Sample(once(_writer(bench, key, number, scale)) for number in range(scale.rounds))
        for key in ("blocks", "lines")
    }


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """By the writer's own clock: what it has written the supervisor has read, but for one pipe's content."""
    values: dict[str, list[float]] = {row.key: [] for row in ROWS}
    writers = [
        (key, _writer(bench, key, number, scale)) for key in ("blocks", "lines") for number in range(scale.rounds)
    ]
    with peer(bench, [program for _, program in writers]) as running:
        pids = running.pids()
        for key, program in writers:
            before = processes.cpu(pids)
            running.start(program.name)
            begin, end = bench.told()
            running.await_rest([program.name])
            written = int(program.argv[-1])
            values[key].append(written / (end - begin) * 1e9)
            values[f"{key}_cpu"].append((processes.cpu(pids) - before) / written * 1e9)
    return {key: Sample(found) for key, found in values.items()}


def _writer(bench: Bench, key: str, number: int, scale: Scale) -> Program:
    size, total = {"blocks": (65536, scale.block_bytes), "lines": (100, scale.line_bytes)}[key]
    return bench.write(f"{key}-{number}", size, total)
