"""What a person waits for: `status` as a whole process, beside the bare start of the interpreter."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

_BARE = "python3 -I -S -c pass"
ROWS = (
    Row("status_1", "`status`, whole process, 1 worker", "ms", 1e3, 2.5, over_bare=True, bare=_BARE),
    Row("status_many", "`status`, whole process, 1000 workers", "ms", 1e3, 4.0, over_bare=True, bare=_BARE),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """The interpreter alone, in the same environment."""
    sample = _sample(["/usr/bin/python3", "-I", "-S", "-c", "pass"], scale.commands * 2)
    return {row.key: sample for row in ROWS}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """With one worker and with many."""
    values = {}
    for row, count in zip(ROWS, (1, scale.crowd), strict=True):
        with peer(bench, bench.crowd(count)) as running:
            values[row.key] = _sample(running.status_command(), scale.commands)
    return values


def _sample(command: Sequence[str], count: int) -> Sample:
    timed(command)  # the first one may have to compile its modules
    return Sample(timed(command) for _ in range(count))


def timed(command: Sequence[str]) -> float:
    """Seconds that a command takes; its output goes nowhere. Raises RuntimeError if it fails."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1)]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=nowhere)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - begin
    if status != 0:
        raise RuntimeError(f"{command[0]} … {command[-1]} ended with {os.waitstatus_to_exitcode(status)}")
    return took
