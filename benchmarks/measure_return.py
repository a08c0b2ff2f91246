"""The supervisor is killed with -9 under many workers and started again, until it serves and has adopted all of them."""

from __future__ import annotations

import os
import signal
import time

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (
    Row("return", "killed and started again under 1000 workers, to serving", "s", target=2.0),
    Row("copies", "workers there afterwards, of 100 (adopted: 100; second copies beside them: 200)", "%"),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """For rdagentd the time; for the others, which do not adopt, with few workers, how many are there afterwards."""
    if not issubclass(peer, Rdagentd):
        return {"copies": Sample([_copies(peer, bench, scale.left_behind)])}
    took = []
    for _ in range(scale.rounds):
        with peer(bench, bench.crowd(scale.crowd)) as running:
            assert isinstance(running, Rdagentd)
            before = _pids(running)
            os.kill(running.pids()[0], signal.SIGKILL)
            begin = time.perf_counter()
            running.launch_daemon()
            while (after := _pids(running)).keys() != before.keys() and time.perf_counter() - begin < 60:
                time.sleep(0.005)
            took.append(time.perf_counter() - begin)
            if after != before:
                raise RuntimeError(f"{len(before.items() ^ after.items())} workers changed their pid or are gone")
    return {"return": Sample(took), "copies": Sample([100.0])}


def _pids(running: Rdagentd) -> dict[str, int]:
    return {row["name"]: row["run"]["pid"] for row in running.rows() if row["state"] == "running"}


def _copies(peer: type[Peer], bench: Bench, count: int) -> float:
    with peer(bench, bench.crowd(count)) as running:
        for pid in running.pids():
            os.kill(pid, signal.SIGKILL)
        running.begin()
        running._await_crowd()
        own = set(running.pids())
        return 100.0 * len([pid for pid in processes.within(bench.root / "sleep") if pid not in own]) / count
