"""docs/monitoring.md and docs/metrics.md name what there is: metrics, alerts, files."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness import eventually
from tests.monitoring.conftest import Monitored
from tests.monitoring.rules import ALERTS, ETC

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "monitoring.md").read_text()


def rows(text: str) -> set[str]:
    """First cells of the rows of tables."""
    return {found[1] for found in re.finditer(r"^\| `?(\w+)`? \|", text, re.M)} - {
        "name",
        "metric",
        "alert",
        "dashboard",
    }


METRICS = rows(PAGE.partition("\n## Metrics\n")[2]) | rows((DOCS / "metrics.md").read_text())


def test_every_metric_that_is_told_stands_there(monitored: Monitored) -> None:
    monitored.gateway.ask("/livez")
    metrics = lambda: monitored.gateway.ask("/metrics").text  # noqa: E731
    text = eventually(lambda: "\nrdagentd_up 1" in (text := metrics()) and text, "the daemon's part of them")
    told = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
    assert told == METRICS


def test_every_metric_of_an_alert_stands_there() -> None:
    for rule in ALERTS.values():
        named = set(re.findall(r"\b(?:rdagentd_\w+|\w+_usage_percent)\b", rule["expr"]))
        bare = {re.sub(r"(_duration_seconds)_(sum|count|bucket)$", r"\1", name) for name in named}
        assert bare <= METRICS


def test_every_alert_stands_there() -> None:
    assert rows(PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]) == set(ALERTS)


def test_every_file_that_it_names_is_installed() -> None:
    named = re.findall(r"/usr/share/rdagentd/((?:prometheus|grafana)/\S+?\.(?:yml|json))", PAGE)
    assert len(named) >= 2
    assert all((ETC / name).is_file() for name in named)
