"""The Docker engine through the proxy of a run: what comes out of `docker logs` and `docker cp`, and what goes in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.pairs import Pairs, in_turn
from benchmarks.peers.base import ROOT
from benchmarks.row import Row
from benchmarks.scale import Scale

sys.path.insert(0, str(ROOT))  # the tests' engine: it is not installed
from rdagentd.dockerproxy.rules import Rules, to_wire
from rdagentd.protocol.frames import Decoder, pack
from tests.engine import IMAGE, Engine, unavailable


def _row(key: str, title: str) -> Row:
    return Row(key, title, "MB/s", 1e-6, 0.8, more_is_better=True, over_bare=True, bare="the engine's own socket")


ROWS = (
    _row("docker_logs", "docker logs, lines of 100 bytes, by the run's socket"),
    _row("docker_out", "docker cp from a container, 128 MiB in one file"),
    _row("docker_in", "docker cp into a container, chunks of 32 KiB"),
)


def pairs(bench: Bench, scale: Scale) -> Pairs:
    """One container, read and written by either socket in turn."""
    if unavailable() is not None:
        return {}
    with Engine() as engine, _proxied(engine, bench) as proxy:
        number = _container(proxy, scale)
        direct, turns = str(engine.socket), range(scale.pairs)
        logs, out = f"/containers/{number}/logs?stdout=1", f"/containers/{number}/archive?path=/big"

        def compared(speed: Callable[[str], float]) -> list[tuple[float, float]]:
            return in_turn(turns, lambda _: speed(proxy), lambda _: speed(direct))

        return {
            "docker_logs": compared(lambda path: _out(path, logs)),
            "docker_out": compared(lambda path: _out(path, out)),
            "docker_in": compared(lambda path: _in(path, number, scale.big_bytes)),
        }


@contextmanager
def _proxied(engine: Engine, bench: Bench) -> Iterator[str]:
    home = bench.home()
    control = home / "control"
    places = ("--socket", str(control), "--runtime-dir", str(home / "run"), "--state-dir", str(home / "state"))
    command = [sys.executable, "-m", "rdagentd", "docker-proxy", "--engine", str(engine.socket), *places]
    with subprocess.Popen(
        [*command, "--daemon-uid", str(os.geteuid())], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as proxy:
        try:
            assert proxy.stderr is not None
            assert "listening" in proxy.stderr.readline()
            with socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(str(control))
                rules = to_wire(Rules("bench", os.geteuid(), os.getegid(), "/rdagentd-bench"))
                daemon.sendall(pack({"id": 1, "op": "open", "run": "bench", "rules": rules}))
                yield Decoder().feed(daemon.recv(65536))[0]["result"]["socket"]
                daemon.sendall(pack({"id": 2, "op": "end", "run": "bench", "grace": 0}))
                daemon.recv(65536)
        finally:
            proxy.terminate()


def _container(path: str, scale: Scale) -> str:
    """The id of one that has written its log and has the large file."""
    lines = f"yes {'x' * 99} | head -c {scale.log_bytes}"
    command = f"{lines}; busybox truncate -s {scale.big_bytes} /big; exec sleep 1000000"
    host = ("docker", "-H", f"unix://{path}")
    made = subprocess.run(
        [*host, "run", "-d", "--network", "none", IMAGE, "sh", "-c", command],
        capture_output=True,
        text=True,
        check=True,
    )
    number = made.stdout.strip()
    subprocess.run([*host, "exec", number, "sh", "-c", "until test -e /big; do sleep 0.1; done"], check=True)
    return number


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _out(path: str, target: str) -> float:
    """Bytes per second of a reply."""
    begin, total, buffer = time.perf_counter(), 0, bytearray(1 << 20)
    with _connect(path) as connection:
        connection.sendall(f"GET /v1.41{target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        while got := connection.recv_into(buffer):
            total += got
    return total / (time.perf_counter() - begin)


def _in(path: str, number: str, size: int) -> float:
    """Bytes per second of a tar that is sent as the docker command does: in chunks of 32 KiB."""
    header = bytearray(512)
    header[:3] = b"big"
    header[100:108], header[124:136], header[148:156] = b"0000644\0", b"%011o\0" % size, b" " * 8
    header[156:157] = b"0"
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    chunk = b"8000\r\n" + bytes(1 << 15) + b"\r\n"
    begin = time.perf_counter()
    with _connect(path) as connection:
        connection.sendall(
            f"PUT /v1.41/containers/{number}/archive?path=/tmp HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
            "Transfer-Encoding: chunked\r\nContent-Type: application/x-tar\r\n\r\n".encode()
        )
        connection.sendall(b"200\r\n" + header + b"\r\n")
        for _ in range(size >> 15):
            connection.sendall(chunk)
        connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n0\r\n\r\n")
        status = connection.recv(65536).split()[1]
        assert status == b"200", status
    return size / (time.perf_counter() - begin)
