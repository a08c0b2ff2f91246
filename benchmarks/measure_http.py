"""What the gateway can take: wrk, which asks again as soon as it has an answer, with few and with a thousand workers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping

from benchmarks.bench import HERE, Bench
from benchmarks.measure_metrics import gateway
from benchmarks.peers.base import Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

CONNECTIONS = 16

_PATHS = {"health": "health", "metrics": "metrics", "workers": "api/v1/workers"}
_CROWDS = {"few": "100", "many": "1000"}

ROWS = tuple(
    row
    for key, path in _PATHS.items()
    for crowd, count in _CROWDS.items()
    for row in (
        Row(f"http_{key}_{crowd}", f"/{path}, {count} workers, requests", "/s", more_is_better=True),
        Row(f"http_{key}_{crowd}_p99", f"/{path}, {count} workers, the slowest of 100", "ms", 1e3),
    )
)


def bare(bench: Bench, scale: Scale) -> Values:
    """There is none."""
    return {}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    values = {}
    for crowd, count in (("few", scale.few), ("many", scale.crowd)):
        with Rdagentd(bench, bench.crowd(count)) as running:
            url = gateway(running)
            for key, path in _PATHS.items():
                found = [wrk(url + path, scale.settle) for _ in range(scale.rounds)]
                values[f"http_{key}_{crowd}"] = Sample(one["rate"] for one in found)
                values[f"http_{key}_{crowd}_p99"] = Sample(one["p99"] for one in found)
    return values


def wrk(url: str, seconds: float, body: object = None, headers: Mapping[str, str] | None = None) -> dict[str, float]:
    """Requests a second and the slowest per cent in seconds; body: is posted as JSON. Raises RuntimeError if one failed."""
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is missing: apt install wrk")
    lasts = ("--duration", f"{max(1, round(seconds))}s", "--timeout", "30s")
    more = [word for name, value in (headers or {}).items() for word in ("--header", f"{name}: {value}")]
    asked = ("--threads", "1", "--connections", str(CONNECTIONS), "--script", str(HERE / "wrk.lua"), url)
    posted = ("--", json.dumps(body)) if body is not None else ()
    told = subprocess.run([program, *lasts, *more, *asked, *posted], capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    if found["errors"]:
        raise RuntimeError(f"{found['errors']:g} requests for {url} failed")
    return found
