"""What Prometheus waits for: /metrics of a thousand running workers, beside prometheus_client writing the same samples."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import msgpack

from benchmarks.bench import Bench
from benchmarks.peers.base import ROOT, Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

PAUSE = 1.1
"""Seconds between two scrapes: within one the gateway gives the same answer again."""

PATIENCE = 30.0

_BARE = "prometheus_client, writing alone"
_HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"}

ROWS = (
    Row("metrics", "/metrics of 1000 running workers, gzip, whole scrape", "ms", 1e3, 50),
    Row("metrics_over", "the same, to what prometheus_client takes", "ms", 1e3, 3, over_bare=True, bare=_BARE),
    Row("metrics_series", "series in it", ""),
    Row("metrics_other", "/livez of another client while it is answered, the slowest", "ms", 1e3),
)


def bare(bench: Bench, scale: Scale) -> Values:
    """The same samples, which the daemon tells, by the library alone."""
    with Rdagentd(bench, bench.crowd(scale.crowd)) as running:
        _wait(running, scale.crowd)
        families = running.ask("metrics", {})["families"]
    path = bench.root / "families"
    path.write_bytes(msgpack.packb(families))
    command = [ROOT / ".venv/bin/python", "-m", "benchmarks.prometheus", path]
    lines = "\n" * scale.commands
    told = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return {"metrics_over": Sample(map(float, told.split()))}


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    took, others, series = [], [], 0
    with Rdagentd(bench, bench.crowd(scale.crowd)) as running:
        _wait(running, scale.crowd)
        scraper, other = (_connected(gateway(running)) for _ in range(2))
        for _ in range(scale.commands):
            time.sleep(PAUSE)
            scraper.request("GET", "/metrics", headers=_HEADERS)
            slowest = 0.0
            for _ in range(3):
                asked = time.perf_counter()
                other.request("GET", "/livez")
                other.getresponse().read()
                slowest = max(slowest, time.perf_counter() - asked)
            body = zlib.decompress(scraper.getresponse().read(), 31)
            others.append(slowest)
            series = sum(not line.startswith(b"#") for line in body.splitlines())
            if series < scale.crowd:
                raise RuntimeError(f"{series} series for {scale.crowd} workers")
            time.sleep(PAUSE)
            begin = time.perf_counter()
            scraper.request("GET", "/metrics", headers=_HEADERS)
            scraper.getresponse().read()
            took.append(time.perf_counter() - begin)
    return {
        "metrics": Sample(took),
        "metrics_over": Sample(took),
        "metrics_series": Sample([series]),
        "metrics_other": Sample(others),
    }


def _wait(running: Rdagentd, crowd: int) -> None:
    """Until all run, and what they use has been looked at."""
    deadline = time.monotonic() + PATIENCE
    while True:
        told = {family["name"]: family["samples"] for family in running.ask("metrics", {})["families"]}
        if len(told["rdagentd_worker_memory_bytes"]) == crowd:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"metrics tell of {len(told['rdagentd_worker_memory_bytes'])} workers of {crowd}")
        time.sleep(0.5)


def gateway(running: Rdagentd, more: str = "") -> str:
    """Starts one, unless there is one; its address. more: lines of its configuration."""
    told = running.home / "gateway.json"
    if not told.exists():
        config = running.home / "gateway.toml"
        config.write_text(f"[gateway]\nport = 0\n{more}")
        places = ("--socket", running.home / "rdagentd.sock", "--state-dir", running.home / "gateway")
        program = (ROOT / ".venv/bin/rdagentd", "gateway", "--config", config, "--runtime-dir", running.home)
        running.launch(*program, *places)
    return _told(told)


def _told(path: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("no gateway listens")
        time.sleep(0.02)
    url: str = json.loads(path.read_text())["urls"][0]
    return url


def _connected(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
