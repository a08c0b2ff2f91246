"""Run by the project's own python: how long prometheus_client takes to write the samples in the file (msgpack) that is named.

Prints seconds, once for each line on standard input.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgpack
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric


class Made:
    """Families that are there already."""

    def __init__(self, families: list[dict[str, Any]]) -> None:
        self._families = [_made(family) for family in families]

    def collect(self) -> list[Metric]:
        return self._families


def _made(family: dict[str, Any]) -> Metric:
    kind, names = family["kind"], (family["name"], family["help"])
    if kind == "histogram":
        histogram = HistogramMetricFamily(*names, labels=family["labels"])
        for values, value in family["samples"]:
            histogram.add_metric(values, value["buckets"], value["sum"])
        return histogram
    made = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(*names, labels=family["labels"])
    for values, value in family["samples"]:
        made.add_metric(values, value)
    return made


registry = CollectorRegistry(auto_describe=False)
registry.register(Made(msgpack.unpackb(Path(sys.argv[1]).read_bytes())))  # type: ignore[arg-type]
for _ in sys.stdin:
    begin = time.perf_counter()
    generate_latest(registry)
    print(time.perf_counter() - begin, flush=True)
