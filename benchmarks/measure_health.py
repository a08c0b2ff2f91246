"""What health checks cost the daemon: a thousand workers asked by HTTP every 30 s, beside as many that are not asked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import ALL, Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

ROWS = (
    Row("health_cpu", "1000 health checks by HTTP every 30 s: CPU of the daemon", "ms/s", 1e3, 30),
    Row("health_cpu_none", "the same workers without checks", "ms/s", 1e3),
    Row("health_ping", "`ping` meanwhile, 99th percentile", "ms", 1e3, 5, quantile=0.99),
    Row("health_ping_none", "the same without checks", "ms", 1e3, quantile=0.99),
)

_PAUSE = 0.01
"""Seconds between two pings."""

_SERVER = """
import asyncio
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/health"
            cpu, pings = _watched(bench, scale, {"health": {"http": url}})
        finally:
            server.kill()
    none, quiet = _watched(bench, scale, {})
    return {"health_cpu": cpu, "health_cpu_none": none, "health_ping": pings, "health_ping_none": quiet}


def _watched(bench: Bench, scale: Scale, more: Mapping[str, Any]) -> tuple[Sample, Sample]:
    """CPU seconds of the daemon in each second, without what the pings cost; seconds of each ping."""
    with Rdagentd(bench, bench.crowd(scale.crowd), more=more) as running:
        daemon = running.pids()[:1]
        running.ask("wait", ALL | {"until": "ready"})
        time.sleep(scale.settle)
        before, begin = processes.cpu(daemon), time.monotonic()
        time.sleep(1.2 * scale.idle)  # in full, an interval
        cpu = (processes.cpu(daemon) - before) / (time.monotonic() - begin)
        pings = []
        end = time.monotonic() + scale.idle
        while time.monotonic() < end:
            asked = time.perf_counter()
            running.ping()
            pings.append(time.perf_counter() - asked)
            time.sleep(_PAUSE)
        _check(running, more)
    return Sample([cpu]), Sample(pings)


def _check(running: Rdagentd, more: Mapping[str, Any]) -> None:
    ill = [row["name"] for row in running.rows() if row["health"] != ("healthy" if more else None)]
    if ill:
        raise RuntimeError(f"{len(ill)} workers are not as they should be, such as {ill[0]}")
