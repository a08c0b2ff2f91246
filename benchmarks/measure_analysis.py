"""How fast a log is analysed: `rdagentctl analyse` without the way from the daemon to it, beside one grep for its words."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers.base import Peer
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale
from rdagentctl.commands.analyse import Blocks

_PIECE = 64 << 10
"""Bytes that come at once from the daemon."""


def _row(key: str, title: str) -> Row:
    return Row(key, title, "MB/s", 1e-6, more_is_better=True, over_bare=True, bare="grep -c")


ROWS = (
    _row("analyse_log", "analysing a log, an agent's: 2 % of its lines tell something"),
    _row("analyse_errors", "the same, each line an error"),
)

_PLAIN = (
    "2026-01-02 12:{0:02}:{1:02}.{2:03} | INFO     | rdagent.core.loop:step:{0} - loop {1}, step {2}: hypothesis accepted",
    "2026-01-02 12:{0:02}:{1:02}.{2:03} | INFO     | qlib.workflow:fit:{2} - Epoch {0}/{1}: train_loss=0.{2} valid_loss=0.{1}",
    '{{"role": "assistant", "content": "I will look at factor_{0} and its information coefficient.", "finish_reason": "stop"}}',
    "def calculate_momentum(df, window_size={0}):  # the ask side of the book",
    "-" * 79,
)
_TELLING = (
    "2026-01-02 12:{0:02}:{1:02}.{2:03} | INFO     | rdagent.oai:run:1 - Current Cost: $0.00{2}; Accumulated Cost: $0.{2}",
    "2026-01-02 12:{0:02}:{1:02}.{2:03} | ERROR    | rdagent.oai:run:{0} - connection to 10.0.0.{1}:8080 failed, try {2}",
    "2026-01-02 12:{0:02}:{1:02}.{2:03} | INFO     | rdagent.utils.env:run:9 - Running time: {0}.{2} seconds",
)
_GREP = "rror|RROR|xception|FATAL|CRITICAL|took|elapsed|time:|[Cc]ost|tokens"


def bare(bench: Bench, scale: Scale) -> Values:
    """grep counts the lines that have one of the words."""
    return {key: Sample(_grep(path) for _ in range(scale.rounds)) for key, path in _logs(bench).items()}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors analyse nothing."""
    if peer.name != "rdagentd":
        return {}
    return {key: Sample(_analyse(path) for _ in range(scale.rounds)) for key, path in _logs(bench).items()}


def _logs(bench: Bench) -> dict[str, Path]:
    chance = random.Random(1)
    home = bench.home()
    agent = (chance.choice(_TELLING if chance.random() < 0.02 else _PLAIN) for _ in range(100_000))
    logs = {"analyse_log": agent, "analyse_errors": (_TELLING[1] for _ in range(20_000))}
    for key, lines in logs.items():
        text = (line.format(*(chance.randrange(60) for _ in range(3))) + "\n" for line in lines)
        (home / key).write_text("".join(text))
    return {key: home / key for key in logs}


def _analyse(path: Path) -> float:
    """Bytes per second."""
    data = path.read_bytes()
    begin = time.perf_counter()
    blocks = Blocks("out")
    for offset in range(0, len(data), _PIECE):
        blocks.write(offset, 1.8e9 + offset / _PIECE, data[offset : offset + _PIECE], "run")
    blocks.end()
    lasted = time.perf_counter() - begin
    assert blocks.analysis.report()["errors"]["count"] > 0
    return len(data) / lasted


def _grep(path: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(["grep", "-cE", _GREP, path], check=True, stdout=subprocess.DEVNULL)
    return path.stat().st_size / (time.perf_counter() - begin)
