"""`benchmarks/run [--quick] [--peer NAME]… [--measure NAME]…`: measures, prints and, in full, writes results.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from types import ModuleType

from benchmarks import (
    measure_accounting,
    measure_analysis,
    measure_capture,
    measure_cgroup,
    measure_container,
    measure_docker,
    measure_health,
    measure_http,
    measure_idle,
    measure_metrics,
    measure_notify,
    measure_redaction,
    measure_replacement,
    measure_reporters,
    measure_request,
    measure_return,
    measure_scrape,
    measure_start,
    measure_status,
    measure_throughput,
    measure_trace,
)
from benchmarks.bench import HERE, workbench
from benchmarks.machine import describe
from benchmarks.pairs import Pairs, apart
from benchmarks.peers import PEERS
from benchmarks.report import Results, table
from benchmarks.row import BARE, RDAGENTD, Values
from benchmarks.sample import Sample
from benchmarks.scale import FULL, QUICK

MEASURES = {
    "status": measure_status,
    "request": measure_request,
    "throughput": measure_throughput,
    "start": measure_start,
    "replacement": measure_replacement,
    "idle": measure_idle,
    "capture": measure_capture,
    "redaction": measure_redaction,
    "analysis": measure_analysis,
    "return": measure_return,
    "cgroup": measure_cgroup,
    "accounting": measure_accounting,
    "scrape": measure_scrape,
    "metrics": measure_metrics,
    "http": measure_http,
    "trace": measure_trace,
    "notify": measure_notify,
    "docker": measure_docker,
    "container": measure_container,
    "reporters": measure_reporters,
    "health": measure_health,
}
"""Modules with ROWS and either `bare` and `measure`, or `pairs`."""


class Session:
    """One run of the measures: what was found and what failed."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, Sample]] = {}
        self.failures: dict[tuple[str, str], str] = {}

    def take(self, subject: str, measure: ModuleType, get: Callable[[], Values]) -> None:
        """Adds what `get` finds for one subject to what it found before, or why it found nothing."""
        self._add(subject, measure, lambda: {subject: get()})

    def take_pairs(self, measure: ModuleType, get: Callable[[], Pairs]) -> None:
        """The same for rdagentd and the bare limit at once."""
        self._add(RDAGENTD, measure, lambda: apart(get()))

    def _add(self, subject: str, measure: ModuleType, get: Callable[[], Results]) -> None:
        begin = time.monotonic()
        try:
            for whose, values in get().items():
                found = self.results.setdefault(whose, {})
                for key, sample in values.items():
                    found[key] = Sample((*found.get(key, ()), *sample))
        except Exception as error:
            for row in measure.ROWS:
                self.failures[subject, row.key] = f"not measured: {type(error).__name__}: {error}"
        took = time.monotonic() - begin
        if took > 0.1:
            print(f"{measure.__name__.rpartition('measure_')[2]}: {subject}: {took:.1f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Exits with 1 if something of rdagentd could not be measured; missed targets are told and no failure."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts; writes no file")
    parser.add_argument("--peer", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--measure", action="append", choices=list(MEASURES))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it cleans up then, too
    scale = QUICK if options.quick else FULL
    peers = [peer for peer in PEERS if peer.name in (options.peer or peer.name)]
    measures = [MEASURES[name] for name in options.measure or MEASURES]
    session = Session()
    load = os.getloadavg()[0]
    for measure in measures:
        if hasattr(measure, "pairs"):
            if RDAGENTD in (peer.name for peer in peers):
                with workbench() as bench:
                    session.take_pairs(measure, lambda b=bench, m=measure: m.pairs(b, scale))
            continue
        # The bare limit is taken before and after the others: a machine is not equally fast all the time.
        for subject in (None, *peers, None):
            with workbench() as bench:
                if subject is None:
                    session.take(BARE, measure, lambda b=bench, m=measure: m.bare(b, scale))
                else:
                    session.take(subject.name, measure, lambda b=bench, m=measure, p=subject: m.measure(p, b, scale))
    subjects = {peer.name: f"{peer.name} {peer.version()}" for peer in PEERS}
    rows = [row for measure in measures for row in measure.ROWS]
    text = table(rows, subjects, session.results, session.failures)
    print(text)
    if not (options.quick or options.peer or options.measure):
        _write(text, f"load average {load:.1f} when it began, {os.getloadavg()[0]:.1f} at its end")
    return 1 if any(subject == "rdagentd" for subject, _ in session.failures) else 0


def _write(text: str, load: str) -> None:
    reading = (HERE / "reading.md").read_text()
    head = f"# Results\n\nWritten by `make bench` on {time.strftime('%Y-%m-%d')}. {describe()}; {load}."
    legend = "Medians; in brackets from the 10th to the 90th percentile."
    (HERE / "results.md").write_text(f"{head}\n{legend}\n\n{text}\n\n{reading}")


if __name__ == "__main__":
    sys.exit(main())
