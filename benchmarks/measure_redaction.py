"""What it costs to take secrets out of captured output: the executor's own way from pipe to log, with and without."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale
from rdagentd.executor.log import Home
from rdagentd.executor.pipes import Pipes
from rdagentd.protocol.redaction import Redactor


def _row(key: str, title: str) -> Row:
    return Row(key, title, "MB/s", 1e-6, more_is_better=True, over_bare=True, bare="as it comes")


ROWS = (
    _row("redact_flood", "log capture without secrets, 100-byte lines of one letter, none known"),
    _row("redact_log", "log capture without secrets, an agent's log, none known"),
    _row("redact_one", "the same, 1 known"),
    _row("redact_ten", "the same, 10 known"),
)
_KNOWN = {"redact_flood": 0, "redact_log": 0, "redact_one": 1, "redact_ten": 10}

_LINES = (
    "2026-01-02 12:{0:02}:{1:02},{2} INFO rdagent.core.loop: step_{0} of loop_{1} done in {2} s, tokens_used={1}",
    '{{"role": "assistant", "content": "I will look at factor_{0} and its information coefficient.", "finish_reason": "stop"}}',
    'HTTP Request: POST https://api.example.com/v1/chat/completions "HTTP/1.1 200 OK"',
    "Epoch {0}/{1}: train_loss=0.{2} valid_loss=0.{1} lr=0.000{0}",
    '  File "/usr/lib/python3/dist-packages/qlib/data/dataset/loader.py", line {2}, in _load_group_df',
    "def calculate_momentum(df, window_size={0}):  # the ask side of the book",
    "Downloading https://files.example.org/packages/numpy-1.{0}.0-cp311-manylinux_x86_64.whl ({1}.{2} MB)",
    "The hypothesis is that a longer look-back window makes the signal more robust; we test it with {0} days.",
    "-" * 79,
    '+    return df["$close"].rolling(window).mean() / df["$close"] - 1',
)


def bare(bench: Bench, scale: Scale) -> Values:
    """Nothing is taken out."""
    return _measured(bench, scale, False)


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors take nothing out."""
    return _measured(bench, scale, True) if peer.name == "rdagentd" else {}


def _measured(bench: Bench, scale: Scale, redact: bool) -> Values:
    chance = random.Random(1)
    log, flood = bench.home() / "log", bench.home() / "flood"
    numbers = (tuple(chance.randrange(60) for _ in range(3)) for _ in range(40_000))
    log.write_text("".join(chance.choice(_LINES).format(*three) + "\n" for three in numbers))
    flood.write_text(("x" * 99 + "\n") * 40_000)
    secrets = [(f"KEY_{number}", chance.randbytes(20).hex().encode()) for number in range(10)]
    return {
        key: Sample(
            _speed(bench, flood if key == "redact_flood" else log, scale, secrets[:known] if redact else None)
            for _ in range(scale.rounds)
        )
        for key, known in _KNOWN.items()
    }


def _speed(bench: Bench, text: Path, scale: Scale, secrets: Iterable[tuple[str, bytes]] | None) -> float:
    """Bytes per second from a program that writes a file again and again."""
    pipes = Pipes(Home(str(bench.home()), None))
    stream, write = pipes.open("w", "out", 50 << 20, 10 << 20)
    stream.redactor = None if secrets is None else Redactor(secrets)
    pipes.listen(stream)
    size = text.stat().st_size
    times = max(1, scale.line_bytes // size)
    begin = time.perf_counter()
    with subprocess.Popen(["cat", *[text] * times], stdout=write):
        os.close(write)
        while stream.fd >= 0:
            pipes.epoll.poll()
            pipes.pump()
    assert stream.dropped == 0
    pipes.close(stream)
    pipes.epoll.close()
    return size * times / (time.perf_counter() - begin)
