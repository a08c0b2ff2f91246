"""The dashboards: every query of every panel returns data, and nothing in them is out of place."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.harness import CallError, Client, eventually
from tests.monitoring.conftest import Monitored
from tests.monitoring.rules import ETC

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ETC / "grafana").glob("*.json"))}
register_default_plugins()  # the kinds of panels
TARGETS = [
    pytest.param(target, id=f"{name} · {panel['title']} · {target['refId']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel["targets"]
]
WORKING = "dd if=/dev/zero of=$STATE_DIRECTORY/file bs=64k count=4; while :; do echo on; sleep 0.2; done"

VARIABLES = {"$instance": ".*", "$__rate_interval": "20s", "$__range": "10m"}
"""What Grafana would put in; for the rates at least four times as long as between two scrapes."""


def filled_in(query: str) -> str:
    """The query as Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.fixture(scope="module")
def scenario(monitored: Monitored) -> Iterator[tuple[float, float]]:
    """From when to when, in Unix time, workers run, wait, are done, have failed, are restarted, and requests fail."""
    began, client = time.time(), monitored.daemon.client()
    workers = {
        "working": ("sh", "-c", WORKING),
        "done": ("true",),
        "broken": ("false",),
        "restless": ("false",),
        "waiting-1": ("sleep", "1000"),
        "waiting-2": ("sleep", "1000"),
    }
    more: dict[str, dict[str, Any]] = {
        "working": {"state": {"quota": "100M"}},
        "restless": {"restart": {"policy": "always", "delay": 0.5, "breaker": {"failures": 0}}},
        "waiting-1": {"queue": {"group": "gpu"}},
        "waiting-2": {"queue": {"group": "gpu"}},
    }
    for name, command in workers.items():
        client.submit(name, *command, **more.get(name, {}))
    prometheus = monitored.prometheus

    def seen() -> bool:
        fails(client)
        monitored.gateway.ask("/nowhere")
        wanted = (
            'rdagentd_worker_restarts_total{worker="restless"} > 5',
            'rdagentd_worker_disk_bytes{worker="working"} > 0',
            'count_over_time(rdagentd_worker_io_read_bytes_total{worker="working"}[10s]) > 3',
            'ALERTS{alertname="RdagentdWorkerFailed",alertstate="firing"}',
        )
        return all(map(prometheus.query, wanted))

    eventually(seen, "Prometheus to have seen it all")
    yield began, time.time()
    client.verb("remove", *workers, force=True)


def fails(client: Client) -> None:
    """A request that does."""
    with pytest.raises(CallError, match="not_found"):
        client.verb("stop", "nobody")


@pytest.mark.parametrize("target", TARGETS)
def test_every_query_returns_data(target: dict[str, Any], monitored: Monitored, scenario: tuple[float, float]) -> None:
    began, ended = scenario
    query = filled_in(target["expr"])
    answer = monitored.prometheus.ask("query_range", query=query, start=str(began), end=str(ended), step="500ms")
    values = [float(value) for series in answer["result"] for _, value in series["values"]]
    assert any(value == value for value in values), f"no data from {query}"  # NaN is none
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        assert all(label in series["metric"] for series in answer["result"]), (
            f"no label {label}: {answer['result'][0]['metric']}"
        )


def test_the_list_of_hosts_is_not_empty(monitored: Monitored) -> None:
    for dashboard in DASHBOARDS.values():
        [variable] = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert found is not None
        assert monitored.prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]}) == [
            f"127.0.0.1:{monitored.port}"
        ]


def test_there_are_three() -> None:
    assert [dashboard["uid"] for dashboard in DASHBOARDS.values()] == list(DASHBOARDS)
    assert [name.removeprefix("rdagentd-") for name in DASHBOARDS] == ["application", "business", "system"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_knows_every_field(name: str) -> None:
    read = Dashboard.from_json(copy.deepcopy(DASHBOARDS[name]))
    written = json.loads(JSONEncoder().encode(read))
    assert list(_lost(DASHBOARDS[name], written)) == []
    assert list(_lost({"panels": [{"titel": 1}]}, written)) == [".panels", ".panels[0].titel"]


def _lost(source: Any, written: Any, place: str = "") -> Iterator[str]:
    """What stands in a document, and not in the other one."""
    if isinstance(source, dict):
        for key, value in source.items():
            if key in written:
                yield from _lost(value, written[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(source, list):
        if len(source) != len(written):
            yield place
        for number, (one, other) in enumerate(zip(source, written, strict=False)):
            yield from _lost(one, other, f"{place}[{number}]")
    elif source != written:
        yield place


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_lies_over_another_or_beyond_the_grid(name: str) -> None:
    taken = [
        (x, y)
        for panel in DASHBOARDS[name]["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
