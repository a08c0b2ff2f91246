"""/metrics: what prometheus_client would write, what promtool accepts, and what a real daemon tells."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from rdagentd.gateway import fresh
from rdagentd.gateway.exposition import OPEN, TEXT, Exposition
from rdagentd.protocol.errors import FORBIDDEN, UNAVAILABLE, ProtocolError
from tests.gateway.client import FakeLink, LiveGateway, Serve, ask
from tests.harness import LiveDaemon, eventually

ACCEPT = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
}

LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
COUNTS = st.integers(0, 2**62) | st.floats(min_value=0)
NUMBERS = COUNTS | st.floats() | st.just(math.nan)


@st.composite
def families(draw: st.DrawFn) -> dict[str, Any]:
    """One family as the daemon tells it."""
    kind = draw(st.sampled_from(["gauge", "counter", "histogram", "info"]))
    name = "rdagentd_x" + {"counter": "_total", "info": "_info"}.get(kind, "")
    labels = draw(st.lists(st.sampled_from(["worker", "group", "kind"]), unique=True, max_size=3))
    if kind == "info":
        labels = labels or ["version"]
    values = st.lists(LABELS, min_size=len(labels), max_size=len(labels))
    keys = draw(st.lists(values, unique_by=tuple, max_size=3 if labels else 1))
    number = {"info": st.just(1), "counter": COUNTS}.get(kind, NUMBERS)
    if kind == "histogram":
        counts = st.lists(st.integers(0, 2**40), min_size=3, max_size=3).map(sorted)
        total = st.floats(0, 2**40)
        number = st.tuples(counts, total).map(
            lambda drawn: {"buckets": list(zip(("0.5", "1.0", "+Inf"), drawn[0], strict=True)), "sum": drawn[1]}
        )
    return {
        "name": name, "kind": kind, "help": draw(LABELS), "labels": labels,
        "samples": [[key, draw(number)] for key in keys],
    }  # fmt: skip


class Bare:
    """The same family by prometheus_client's own means."""

    def __init__(self, family: dict[str, Any]) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        family = self._family
        name, help_, labels = family["name"], family["help"], family["labels"]
        match family["kind"]:
            case "gauge":
                made: Any = GaugeMetricFamily(name, help_, labels=labels)
            case "counter":
                made = CounterMetricFamily(name, help_, labels=labels)
            case "info":
                made = InfoMetricFamily(name.removesuffix("_info"), help_, labels=[])
            case "histogram":
                made = HistogramMetricFamily(name, help_, labels=labels)
        for values, value in family["samples"]:
            if family["kind"] == "histogram":
                made.add_metric(values, value["buckets"], value["sum"])
            elif family["kind"] == "info":
                made.add_metric([], dict(zip(labels, values, strict=True)))
            else:
                made.add_metric(values, value)
        yield made


def read(found: Iterator[Metric]) -> list[Any]:
    """What a parser understood, comparable: NaN equals NaN."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            sorted((s.name, sorted(s.labels.items()), repr(float(s.value))) for s in family.samples),
        )
        for family in found
    ]


@given(families())
def test_both_formats_say_what_prometheus_client_would(family: dict[str, Any]) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Bare(family))  # type: ignore[arg-type]
    theirs, ours = generate_latest(registry).decode(), Exposition(openmetrics=False).family(family)
    assert read(parse(ours)) == read(parse(theirs))
    theirs, ours = generate_openmetrics(registry).decode(), Exposition(openmetrics=True).family(family) + "# EOF\n"
    assert read(parse_openmetrics(ours)) == read(parse_openmetrics(theirs))


def values(text: str) -> dict[str, float]:
    """Samples without labels, by name."""
    return {s.name: s.value for family in parse(text) for s in family.samples if not s.labels}


def test_a_daemon_that_is_away_is_told_and_not_an_error(serve: Serve) -> None:
    url = serve(FakeLink(metrics=ProtocolError(UNAVAILABLE, "gone")))
    answer = ask(url, "/metrics")
    assert answer.status == 200 and values(answer.text)["rdagentd_up"] == 0
    url = serve(FakeLink(metrics=ProtocolError(FORBIDDEN, "no role")))
    assert values(ask(url, "/metrics").text)["rdagentd_up"] == 1


def test_requests_are_counted_by_the_template_of_their_route(serve: Serve) -> None:
    url = serve(FakeLink(metrics={"families": []}))
    ask(url, "/livez")
    for number in range(5):
        ask(url, f"/made-up-{number}", "PROPFIND" if number else "GET")
    found = {
        (s.labels["method"], s.labels["route"], s.labels["code"]): s.value
        for family in parse(ask(url, "/metrics").text)
        for s in family.samples
        if s.name == "rdagentd_http_requests_total"
    }
    assert found == {("GET", "/livez", "200"): 1, ("GET", "unknown", "404"): 1, ("other", "unknown", "404"): 4}


def test_openmetrics_is_told_to_who_asks_for_it_and_gzip_too(serve: Serve) -> None:
    url = serve(FakeLink(metrics={"families": []}))
    plain, opened = ask(url, "/metrics"), ask(url, "/metrics", headers=ACCEPT)
    assert plain.headers["content-type"] == TEXT and "# EOF" not in plain.text and "_created" not in plain.text
    assert (
        opened.headers["content-type"] == OPEN and opened.text.endswith("\n# EOF\n") and opened.text.count("# EOF") == 1
    )
    names = [family.name for family in parse_openmetrics(opened.text)]
    assert "rdagentd_up" in names and "rdagentd_http_requests" in names and "rdagentd_gateway_build" in names
    small = ask(url, "/metrics", headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip" and b"rdagentd_up 1" in gzip.decompress(small.body)


def test_many_scrapes_cost_the_daemon_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "time", SimpleNamespace(monotonic=lambda: 1.0))
    link = FakeLink(metrics={"families": []})
    url = serve(link)
    assert {ask(url, "/metrics").status for _ in range(20)} == {200}
    assert [op for op, _ in link.calls if op != "events"] == ["metrics"]


def test_a_real_daemon_with_workers_passes_promtool(gateway: LiveGateway, host: LiveDaemon) -> None:
    client = host.connect()
    client.submit("counted", "sleep", "1000")
    client.submit("ended", "false")
    client.wait("counted", until="running")
    client.wait("ended")
    text = eventually(lambda: 'worker="ended"' in (text := gateway.ask("/metrics").text) and text, "a fresh scrape")
    rows = {(s.name, s.labels.get("worker")): s for family in parse(text) for s in family.samples}
    assert rows["rdagentd_worker_state", "counted"].labels == {
        "worker": "counted",
        "group": "default",
        "state": "running",
    }
    assert rows["rdagentd_worker_exits_total", "ended"].labels["kind"] == "code"
    assert rows["rdagentd_up", None].value == 1
    assert rows["rdagentd_workers_max", None].value == 10_000
    list(parse_openmetrics(gateway.ask("/metrics", headers=ACCEPT).text))
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install prometheus")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), json.dumps(checked.stderr)
