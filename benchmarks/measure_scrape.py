"""What a scrape costs the daemon: its metrics of a thousand running workers, over a kept connection."""

from __future__ import annotations

import time
from pathlib import Path
from socket import AF_UNIX, socket

from benchmarks.bench import Bench
from benchmarks.measure_metrics import _wait
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale
from rdagentd.protocol.frames import Decoder, pack

PAUSE = 0.3
"""Seconds after each scrape: what runs use is asked with one scrape and answered after it, and is part of what it costs."""

ROWS = (
    Row("scrape", "metrics of 1000 running workers: request", "ms", 1e3),
    Row("scrape_loop", "the same, CPU of the daemon's loop for it, asking what runs use included", "ms", 1e3, 15),
    Row("scrape_ping", "`ping` of another client while it is answered", "ms", 1e3),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    took, loop, pings = [], [], []
    with Rdagentd(bench, bench.crowd(scale.crowd)) as running:
        other = _Other(running)
        daemon = running.pids()[0]
        _wait(running, scale.crowd)  # the first one waits for what runs use, but not for long
        time.sleep(PAUSE)
        for _ in range(scale.commands):
            before, begin = _loop_cpu(daemon), time.perf_counter()
            running.ask("metrics", {})
            took.append(time.perf_counter() - begin)
            time.sleep(PAUSE)
            loop.append(_loop_cpu(daemon) - before)
        for _ in range(scale.commands):
            other.send("metrics")
            begin = time.perf_counter()
            running.ping()
            pings.append(time.perf_counter() - begin)
            _check(other.answer(), scale.crowd)
            time.sleep(PAUSE)
    return {"scrape": Sample(took), "scrape_loop": Sample(loop), "scrape_ping": Sample(pings)}


class _Other:
    """A second client."""

    def __init__(self, running: Rdagentd) -> None:
        self._socket = socket(AF_UNIX)
        self._socket.connect(str(running.home / "rdagentd.sock"))
        self._decoder = Decoder(64 << 20, None)

    def send(self, op: str) -> None:
        self._socket.sendall(pack({"v": 1, "id": 0, "op": op, "args": {}}))

    def answer(self) -> dict[str, list[dict[str, list[object]]]]:
        while not (answers := self._decoder.feed(self._socket.recv(1 << 20))):
            pass
        return answers[0]["result"]


def _check(told: dict[str, list[dict[str, list[object]]]], workers: int) -> None:
    samples = {family["name"]: len(family["samples"]) for family in told["families"]}
    if samples["rdagentd_worker_memory_bytes"] != workers:
        raise RuntimeError(f"metrics tell of {samples['rdagentd_worker_memory_bytes']} workers of {workers}")


def _loop_cpu(daemon: int) -> float:
    """CPU seconds of the daemon's first thread, which is the one of its loop."""
    return int(Path(f"/proc/{daemon}/task/{daemon}/schedstat").read_text().split()[0]) / 1e9
