"""Reading what a worker tells out of 100 MB of log a second: what it costs, and what others notice, beside the same without."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import processes
from benchmarks.bench import Bench, Program
from benchmarks.pairs import Pairs, in_turn
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row
from benchmarks.scale import Scale

RATE = 100_000_000
"""Bytes a second."""

BLOCK = 100_000
"""Bytes written at a time, of which one line tells something: a thousand lines of 100 bytes."""

_BARE = "without reporters"
ROWS = (
    Row("told_cpu", "log at 100 MB/s with 8 reporters: CPU of the daemon", "s/GB", 1e9, bare=_BARE),
    Row("told_ping", "`ping` meanwhile", "ms", 1e3, bare=_BARE),
    Row("told_ping_99", "`ping` meanwhile, slowest of 100", "ms", 1e3, 20, quantile=0.99, bare=_BARE),
    Row("told_late", "from the last line to the end of the run as it is told", "ms", 1e3, bare=_BARE),
)

_LINE = b"INFO Current Cost: $0.0010000000; Accumulated Cost: $%012.4f; Start Loop %07d, Step 3: coding"
_WRITER = f"""
import os, sys, time
total, begin, done = int(sys.argv[1]), time.monotonic(), 0
noise = (b"DEBUG some words about what an agent does, which are of no interest to anybody" + b"." * 100)[:99] + b"\\n"
while done < total:
    line = ({_LINE!r} % (done / 1e6, done // {BLOCK})).ljust(99) + b"\\n"
    block = line + noise * ({BLOCK} // 100 - 1)
    while block:
        block = block[os.write(1, block):]
    done += {BLOCK}
    time.sleep(max(0.0, begin + done / {RATE} - time.monotonic()))
"""

RULES = [
    {"source": "log", "measure": "cost_usd", "pattern": "Accumulated Cost: ${number}"},
    {"source": "log", "measure": "iteration", "pattern": "Start Loop {int}, Step"},
    {"source": "log", "measure": "step", "pattern": "Start Loop {any}, Step {any}: {word}"},
    {"source": "log", "measure": "calls", "pattern": "Current Cost: $", "add": True},
    {"source": "log", "measure": "provider_errors", "pattern": "RateLimitError", "add": True},
    {"source": "log", "measure": "errors", "pattern": "Traceback (most recent call last)", "add": True},
    {"source": "log", "measure": "tokens", "pattern": "total_tokens={int}"},
    {"source": "log", "measure": "progress", "pattern": "progress: {number}%"},
]


def pairs(bench: Bench, scale: Scale) -> Pairs:
    """With and without, in turn."""
    total = max(BLOCK, scale.block_bytes // BLOCK * BLOCK)
    found = in_turn(range(scale.rounds), lambda _: _once(bench, total, RULES), lambda _: _once(bench, total, []))
    rows: dict[str, list[tuple[float, float]]] = {row.key: [] for row in ROWS}
    for ours, bare in found:
        for key in ("told_cpu", "told_late"):
            rows[key].append((ours[key], bare[key]))
        for each in zip(ours["pings"], bare["pings"], strict=False):
            rows["told_ping"].append(each)
            rows["told_ping_99"].append(each)
    return rows


def _once(bench: Bench, total: int, rules: Sequence[dict[str, Any]]) -> dict[str, Any]:
    writer = Program("writer", (sys.executable, "-c", _WRITER, str(total)))
    with Rdagentd(bench, [writer], more={"reporters": list(rules), "log": {"cap": "256M"}}) as running:
        daemon = running.pids()[:1]
        before, pings = processes.cpu(daemon), []
        running.start("writer")
        row: dict[str, Any] = {"state": "queued"}
        while row["state"] in ("queued", "starting", "running"):
            begin = time.perf_counter()
            running.ping()
            pings.append(time.perf_counter() - begin)
            (row,) = running.rows()
            time.sleep(0.005)
        late = time.time() - row["run"]["ended_at"]
        _check(row, total, rules)
        return {"told_cpu": (processes.cpu(daemon) - before) / total, "pings": pings, "told_late": late}


def _check(row: dict[str, Any], total: int, rules: Sequence[dict[str, Any]]) -> None:
    blocks = total // BLOCK
    told = (row["iteration"], row["measures"].get("calls"), row["step"])
    if rules and told != (blocks - 1, float(blocks), "coding"):
        raise RuntimeError(f"{told} was told, not all of {blocks} blocks")
