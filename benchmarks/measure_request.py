"""A request over a kept connection, beside an asyncio server that only echoes."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.peers.base import PATIENCE, ROOT, Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale
from rdagentd.protocol.frames import Decoder, pack

ROWS = (
    Row("ping", "kept connection: ping", "µs", 1e6, 2.0, over_bare=True, bare="asyncio msgpack echo"),
    Row("list", "kept connection: list of 100", "ms", 1e3, 0.4),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """The echo, on the interpreter that the daemon runs on."""
    path = str(bench.root / "echo.sock")
    server = subprocess.Popen([ROOT / ".venv/bin/python", "-m", "benchmarks.echo", path], cwd=ROOT)
    try:
        connection = _connected(path)
        decoder = Decoder()

        def echo() -> None:
            connection.sendall(pack({"v": 1, "id": 0, "op": "ping", "args": {}}))
            while not decoder.feed(connection.recv(65536)):
                pass

        return {"ping": _sample(echo, scale.requests)}
    finally:
        server.kill()
        server.wait()


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """Among a hundred workers."""
    with peer(bench, bench.crowd(scale.few)) as running:
        return {
            "ping": _sample(running.ping, scale.requests),
            "list": _sample(running.running, max(1, scale.requests // 10)),
        }


def _connected(path: str) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return connection


def _sample(request: Callable[[], object], count: int) -> Sample:
    def timed() -> float:
        begin = time.perf_counter()
        request()
        return time.perf_counter() - begin

    return Sample([timed() for _ in range(count + count // 10)][count // 10 :])
