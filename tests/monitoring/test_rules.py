"""Every alert in Prometheus' own unit tests: fires when its time has come and not before, and resolves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from tests.monitoring.rules import ALERTS, RULES

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on this host: apt install prometheus"
)

HOST = {"instance": "a:19899"}
WORKER = {**HOST, "worker": "w", "group": "g"}

CALM, TROUBLE, AFTER = 30, 30, 60
"""Minutes of each phase: trouble begins at minute 30, and at minute 60 all is well again."""


def level(calm: float, trouble: float) -> str:
    """A gauge, minute by minute."""
    return " ".join([f"{calm}"] * CALM + [f"{trouble}"] * TROUBLE + [f"{calm}"] * AFTER)


def count(calm: float, trouble: float) -> str:
    """A counter that grows so much each minute; at minute 31 for the first time by the trouble's amount."""
    value, values = 0.0, []
    for minute in range(CALM + TROUBLE + AFTER):
        values.append(f"{value}")
        value += trouble if CALM <= minute < CALM + TROUBLE else calm
    return " ".join(values)


@frozen
class Row:
    """series: name, with labels beside the instance → samples, one a minute. fires: the first minute when it does; gone: when
    it no longer does. value: as the summary writes it, "" if it does not.
    """

    alert: str
    series: dict[str, str]
    fires: int
    gone: int
    labels: dict[str, str] = HOST
    value: str = ""


def _failing(errors: str, good: str, calm: float, trouble: float) -> dict[str, str]:
    """Of 100 requests a minute so many are errors."""
    return {errors: count(calm, trouble), good: count(100 - calm, 100 - trouble)}


def _slow(name: str, label: str, calm: float, trouble: float) -> dict[str, str]:
    """100 requests a minute that take so long, for 30 minutes."""
    return {f"{name}_sum{{{label}}}": count(100 * calm, 100 * trouble), f"{name}_count{{{label}}}": count(100, 100)}


def _late(name: str, label: str, calm: int, trouble: int) -> dict[str, str]:
    """Of 100 requests a minute all but so many take half a second at most, those between 1 and 2.5."""
    sizes = {
        "0.5": (100 - calm, 100 - trouble),
        "1": (100 - calm, 100 - trouble),
        "2.5": (100, 100),
        "+Inf": (100, 100),
    }
    return {f'{name}_bucket{{{label},le="{le}"}}': count(*sizes[le]) for le in sizes}


CONTROL, HTTP = "rdagentd_request_duration_seconds", "rdagentd_http_request_duration_seconds"
OP, ROUTE = 'op="status"', 'route="/health"'
QUEUE = 'rdagentd_queue_length{group="g"}'
STATE = 'rdagentd_worker_state{worker="w",group="g",state="%s"}'
HEALTH = 'rdagentd_worker_health{worker="w",group="g",health="%s"}'
UNHEALTHY = 'rdagentd_worker_exits_total{worker="w",group="g",kind="unhealthy"}'
RESTARTS = 'rdagentd_worker_restarts_total{worker="w",group="g"}'
ACTIVITY = 'rdagentd_worker_last_activity_timestamp_seconds{worker="w",group="g"}'
CPU = 'rdagentd_worker_cpu_seconds_total{worker="w",group="g"}'
RATIO = 'rdagentd_worker_budget_used_ratio{%sbudget="worker.cost_usd"}'
SPOKE = " ".join(str(60 * minute) if minute <= CALM or minute >= CALM + 45 else str(60 * CALM) for minute in range(120))
"""Last words at minute 30, and the next ones at minute 75."""

# fmt: off
ROWS = (
    Row("RdagentdHostCpuHigh", {"cpu_usage_percent": level(80, 81.2)}, 35, 60, value="81"),
    Row("RdagentdHostMemoryHigh", {"memory_usage_percent": level(85, 85.6)}, 32, 60, value="86"),
    Row("RdagentdHostMemoryCritical", {"memory_usage_percent": level(90, 91)}, 32, 60, value="91"),
    Row("RdagentdHostDiskFull", {"disk_usage_percent": level(90, 95)}, 35, 60, value="95"),
    Row("RdagentdGatewayDown", {"up": level(1, 0)}, 31, 60),
    Row("RdagentdDown", {"rdagentd_up": level(1, 0)}, 31, 60),
    Row("RdagentdFlapping", {"rdagentd_start_time_seconds": count(0, 60)}, 33, 73, value="3"),
    Row("RdagentdStoreDown", {"rdagentd_store_up": level(1, 0)}, 31, 60),
    Row("RdagentdDriverDown", {'rdagentd_driver_up{driver="docker"}': level(1, 0)}, 32, 60, {**HOST, "driver": "docker"}),
    Row("RdagentdRequestErrors", _failing('rdagentd_requests_total{op="stop",outcome="conflict"}',
        'rdagentd_requests_total{op="stop",outcome="ok"}', 4, 7), 37, 64, value="7%"),
    Row("RdagentdSlow", _slow(CONTROL, OP, 0.4, 0.7), 37, 64, value="700ms"),
    Row("RdagentdSlowP95", _late(CONTROL, OP, 4, 7), 37, 64, value="1.429s"),
    Row("RdagentdConnectionsHigh", {"rdagentd_connections": level(800, 810), "rdagentd_connections_max": level(1000, 1000)},
        32, 60, value="81%"),
    Row("RdagentdHttpErrors", _failing('rdagentd_http_requests_total{method="GET",route="/trace",code="404"}',
        'rdagentd_http_requests_total{method="GET",route="/trace",code="200"}', 4, 7), 37, 64, value="7%"),
    Row("RdagentdHttpServerErrors", _failing('rdagentd_http_requests_total{method="GET",route="/health",code="503"}',
        'rdagentd_http_requests_total{method="GET",route="/health",code="200"}', 0, 2.8), 37, 64, value="2.8%"),
    Row("RdagentdHttpSlow", _slow(HTTP, ROUTE, 0.4, 0.7), 37, 64, value="700ms"),
    Row("RdagentdHttpSlowP95", _late(HTTP, ROUTE, 4, 7), 37, 64, value="1.429s"),
    Row("RdagentdHttpConnectionsHigh", {"rdagentd_http_connections": level(80, 81),
        "rdagentd_http_connections_max": level(100, 100)}, 32, 60, value="81%"),
    Row("RdagentdWorkerFailed", {STATE % "failed": level(0, 1)}, 31, 60, {**WORKER, "state": "failed"}),
    Row("RdagentdUntoldWorkersFailed", {'rdagentd_workers{state="failed"}': level(1, 3), STATE % "failed": level(1, 1)},
        31, 60, value="2"),
    Row("RdagentdWorkerStalled", {ACTIVITY: SPOKE, STATE % "running": level(1, 1), CPU: count(0.55, 0.55)},
        66, 75, WORKER, "36m 0s"),
    Row("RdagentdWorkerUnhealthy", {HEALTH % "unhealthy": level(0, 1)}, 32, 60, {**WORKER, "health": "unhealthy"}),
    Row("RdagentdProviderOut", {'rdagentd_provider_open{provider="x"}': level(0, 1)}, 32, 60, {**HOST, "provider": "x"}),
    Row("RdagentdWorkerUnhealthyAgain", {UNHEALTHY: count(0, 0.125)}, 54, 97, {**WORKER, "kind": "unhealthy"}, "3"),
    Row("RdagentdWorkerHangs", {'rdagentd_worker_stalled{worker="w",group="g"}': level(0, 1)}, 30, 60, WORKER),
    Row("RdagentdWorkerOverBudget", {RATIO % 'worker="w",group="g",': level(0.99, 1.04)}, 31, 60,
        {**WORKER, "budget": "worker.cost_usd"}, "104%"),
    Row("RdagentdBudgetUsed", {'rdagentd_budget_used_ratio{budget="day.cost_usd"}': level(0.99, 1)}, 31, 60,
        {**HOST, "budget": "day.cost_usd"}, "100%"),
    Row("RdagentdWorkerRestarting", {RESTARTS: count(0.5, 2)}, 31, 70, WORKER, "6"),
    Row("RdagentdRestartStorm", {"rdagentd_restarts_total": count(4, 14.5)}, 31, 70, value="50"),
    Row("RdagentdQueueHeld", {'rdagentd_queue_held{resource="memory"}': level(0, 1), QUEUE: level(3, 3)}, 45, 60,
        {**HOST, "resource": "memory"}),
)
# fmt: on

QUIET = {
    "a ratio of nothing": (
        "RdagentdRequestErrors",
        {'rdagentd_requests_total{op="stop",outcome="conflict"}': level(7, 7)},
    ),
    "no request": ("RdagentdSlow", _slow(CONTROL, OP, 0, 0) | {f"{CONTROL}_count{{{OP}}}": level(5, 5)}),
    "clients that no longer want their answer": (
        "RdagentdRequestErrors",
        {'rdagentd_requests_total{op="wait",outcome="cancelled"}': count(9, 9)},
    ),
    "five retries": (
        "RdagentdWorkerRestarting",
        {RESTARTS: " ".join(["0"] * 20 + list("12345") + ["5"] * 60)},
    ),
    "a silent worker that computes": (
        "RdagentdWorkerStalled",
        {ACTIVITY: SPOKE, STATE % "running": level(1, 1), CPU: count(0.66, 0.66)},
    ),
    "a worker that is not well yet": ("RdagentdWorkerUnhealthy", {HEALTH % "starting": level(1, 1)}),
    "a silent worker that is watched for stalls, and is not stalled": (
        "RdagentdWorkerStalled",
        {
            ACTIVITY: SPOKE,
            STATE % "running": level(1, 1),
            CPU: count(0, 0),
            'rdagentd_worker_stalled{worker="w",group="g"}': level(0, 0),
        },
    ),
    "a paused worker": ("RdagentdWorkerStalled", {ACTIVITY: SPOKE, STATE % "paused": level(1, 1), CPU: count(0, 0)}),
    "a held queue that nobody waits in": (
        "RdagentdQueueHeld",
        {'rdagentd_queue_held{resource="memory"}': level(1, 1), QUEUE: level(0, 0)},
    ),
    "somebody else's job": ("RdagentdHostCpuHigh", {'cpu_usage_percent{job="node"}': level(99, 99)}),
}
"""What must not fire, ever."""


def _series(series: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": _with_host(name), "values": values} for name, values in series.items()]


def _with_host(name: str) -> str:
    bare, _, labels = name.rstrip("}").partition("{")
    more = [labels] if labels else []
    return (
        bare + "{" + ",".join([*more, *([] if 'job="' in labels else ['job="rdagentd"']), 'instance="a:19899"']) + "}"
    )


def _expected(row: Row) -> dict[str, Any]:
    """The alert as it is to fire; what its texts say is the shipped text with labels and value put in."""
    rule = ALERTS[row.alert]
    labels = row.labels if "sum by" in rule["expr"] or "max by" in rule["expr"] else {**row.labels, "job": "rdagentd"}

    def text(template: str) -> str:
        put = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: row.labels[found[1]], template)
        return re.sub(r"{{ \$value [^}]*}}", row.value or "(no value given)", put)

    return {
        "exp_labels": {**labels, **rule["labels"]},
        "exp_annotations": {name: text(template) for name, template in rule["annotations"].items()},
    }


def _promtool(directory: Path, series: dict[str, str], checks: list[dict[str, Any]], *queries: dict[str, Any]) -> None:
    file = directory / "test.yml"
    test = {
        "interval": "1m",
        "input_series": _series(series),
        "alert_rule_test": checks,
        "promql_expr_test": list(queries),
    }
    file.write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}, width=10**6)
    )
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.alert)
def test_it_fires_after_its_time_and_not_before_and_resolves(row: Row, tmp_path: Path) -> None:
    moments = {row.fires - 1: [], row.fires: [_expected(row)], row.gone: []}
    checks = [{"eval_time": f"{minute}m", "alertname": row.alert, "exp_alerts": moments[minute]} for minute in moments]
    last = {
        "eval_time": f"{row.gone - 1}m",
        "expr": f'count(ALERTS{{alertname="{row.alert}",alertstate="firing"}})',
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    _promtool(tmp_path, row.series, checks, last)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_row_here(alert: str) -> None:
    assert [row.alert for row in ROWS].count(alert) == 1


@pytest.mark.parametrize("case", QUIET)
def test_it_does_not_fire_for(case: str, tmp_path: Path) -> None:
    alert, series = QUIET[case]
    checks = [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []} for minute in range(0, 110, 5)]
    _promtool(tmp_path, series, checks)


def test_promtool_finds_no_mistake_in_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint-fatal", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "action"}
