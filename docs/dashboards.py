"""The three Grafana dashboards as tables, and the JSON that Grafana imports."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

WIDTH = 24
"""Columns of Grafana's grid."""

SHORT = {"{@": '{instance=~"$instance"', "[@]": "[$__rate_interval]"}
"""How queries are written below: `up{@,job="x"}` is that of the hosts that were chosen."""


@frozen
class Panel:
    """queries: PromQL → name of its series, by Grafana's {{label}}. kind: timeseries, stat, table or bargauge.

    unit: Grafana's (`percent` is 0 to 100, `percentunit` 0 to 1). width: of WIDTH.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    about: str = ""

    @property
    def height(self) -> int:
        """Rows of Grafana's grid."""
        return 4 if self.kind == "stat" else 8


def _stat(title: str, query: str, unit: str = "short", about: str = "") -> Panel:
    return Panel(title, {query: ""}, unit, "stat", width=4, about=about)


def _stack(title: str, query: str, legend: str, unit: str = "short", about: str = "") -> Panel:
    return Panel(title, {query: legend}, unit, stacked=True, about=about)


def _top(title: str, query: str, unit: str = "short", about: str = "") -> Panel:
    """The ten workers with the most of it."""
    return Panel(title, {f"topk(10, {query})": "{{worker}} {{instance}}"}, unit, about=about)


def _times(title: str, family: str, by: str) -> Panel:
    """Mean and 95th percentile of a histogram."""
    mean = f"sum(rate({family}_sum{{@}}[@])) / sum(rate({family}_count{{@}}[@]))"
    late = f"histogram_quantile(0.95, sum by (le, {by}) (rate({family}_bucket{{@}}[@])))"
    return Panel(title, {mean: "mean", late: f"95 % {{{{{by}}}}}"}, "s")


_CPU = "100 % is one CPU."

SYSTEM = (
    _stat("Hosts that answer", "sum(rdagentd_up{@})"),
    _stat("Workers running", 'sum(rdagentd_workers{@,state="running"})'),
    _stat("Workers waiting", 'sum(rdagentd_workers{@,state="queued"})'),
    _stat("Busiest CPU", "max(cpu_usage_percent{@})", "percent"),
    _stat("Fullest memory", "max(memory_usage_percent{@})", "percent"),
    _stat("Fullest disk", "max(disk_usage_percent{@})", "percent"),
    Panel("CPU", {"cpu_usage_percent{@}": "{{instance}}"}, "percent", about="Of all CPUs of the host together."),
    Panel("Memory", {"memory_usage_percent{@}": "{{instance}}"}, "percent"),
    Panel("Disk", {"disk_usage_percent{@}": "{{instance}}"}, "percent", about="The file system of rdagentd's state."),
    _top("CPU of workers", "rate(rdagentd_worker_cpu_seconds_total{@}[@])", "percentunit", _CPU),
    _top("Memory of workers", "rdagentd_worker_memory_bytes{@}", "bytes"),
    _top("Tasks of workers", "rdagentd_worker_tasks{@}", about="Processes and threads."),
    _top("Read by workers", "rate(rdagentd_worker_io_read_bytes_total{@}[@])", "Bps", "From devices."),
    _top("Written by workers", "rate(rdagentd_worker_io_written_bytes_total{@}[@])", "Bps", "To devices."),
    _top("Output of workers", "rate(rdagentd_worker_log_bytes_total{@}[@])", "Bps", "Standard output and error."),
    Panel(
        "Disk of workers",
        {"topk(10, rdagentd_worker_disk_bytes{@})": "{{worker}} {{directory}} {{instance}}"},
        "bytes",
        about="Directories of their own: state and cache.",
    ),
    Panel(
        "Queue held for",
        {"rdagentd_queue_held{@}": "{{resource}} {{instance}}"},
        about="1 while nothing is started because programs wait for it.",
    ),
)

APPLICATION = (
    _stat("Daemons that answer", "sum(rdagentd_up{@})"),
    _stat("State can be kept", "min(rdagentd_store_up{@})", about="1: yes, on all hosts."),
    _stat("Drivers reached", "min(rdagentd_driver_up{@})", about="1: all, on all hosts."),
    _stat("Youngest daemon", "min(time() - rdagentd_start_time_seconds{@})", "s", "How long it has been running."),
    _stat("Versions", "count(count by (version) (rdagentd_build_info{@}))", about="1: the same everywhere."),
    _stat(
        "Requests that fail",
        'sum(rate(rdagentd_requests_total{@,outcome!~"ok|cancelled"}[@])) / sum(rate(rdagentd_requests_total{@}[@]))',
        "percentunit",
    ),
    _stack("Requests", "sum by (op) (rate(rdagentd_requests_total{@}[@]))", "{{op}}", "reqps"),
    _stack(
        "Errors",
        'sum by (op, outcome) (rate(rdagentd_requests_total{@,outcome!~"ok|cancelled"}[@]))',
        "{{op}} {{outcome}}",
        "reqps",
    ),
    _times("Time to answer", "rdagentd_request_duration_seconds", "instance"),
    _stack(
        "HTTP requests",
        "sum by (route, code) (rate(rdagentd_http_requests_total{@}[@]))",
        "{{route}} {{code}}",
        "reqps",
    ),
    _stack(
        "HTTP errors",
        'sum by (route, code) (rate(rdagentd_http_requests_total{@,code=~"[45].."}[@]))',
        "{{route}} {{code}}",
        "reqps",
    ),
    _times("HTTP time to answer", "rdagentd_http_request_duration_seconds", "route"),
    Panel(
        "Connections",
        {
            "rdagentd_connections{@} / rdagentd_connections_max{@}": "control socket {{instance}}",
            "rdagentd_http_connections{@} / rdagentd_http_connections_max{@}": "HTTP {{instance}}",
        },
        "percentunit",
        about="Of as many as there may be.",
    ),
    Panel(
        "CPU of rdagentd",
        {"sum by (program, instance) (rate(rdagentd_process_cpu_seconds_total{@}[@]))": "{{program}} {{instance}}"},
        "percentunit",
        about=_CPU,
    ),
    Panel(
        "Memory of rdagentd",
        {"rdagentd_process_resident_memory_bytes{@}": "{{program}} {{instance}}"},
        "bytes",
    ),
    _stack("Events", "sum by (kind) (rate(rdagentd_events_total{@}[@]))", "{{kind}}", "ops"),
    _stack("Queue", "sum by (group) (rdagentd_queue_length{@})", "{{group}}", about="Workers that wait."),
    Panel(
        "Slots",
        {
            "sum by (group) (rdagentd_slots_used{@})": "{{group}} used",
            "sum by (group) (rdagentd_slots{@})": "{{group}}",
        },
        about="Of groups without a bound only those in use are drawn.",
    ),
    Panel(
        "Alerts",
        {'sum by (alertname, severity, instance) (ALERTS{@,alertname=~"Rdagentd.+",alertstate="firing"})': ""},
        kind="table",
        width=WIDTH,
    ),
)

BUSINESS = (
    _stat("Experiments", "sum(rdagentd_workers{@})", about="Workers, whatever their state."),
    _stat("Under way", 'sum(rdagentd_workers{@,state="running"})'),
    _stat("Waiting", 'sum(rdagentd_workers{@,state="queued"})'),
    _stat("Completed", 'sum(rdagentd_workers{@,state="completed"})'),
    _stat("Failed", 'sum(rdagentd_workers{@,state="failed"})'),
    _stat(
        "Completion",
        'sum(rdagentd_workers{@,state="completed"}) / sum(rdagentd_workers{@,state=~"completed|failed"})',
        "percentunit",
        "Completed, of those that came to an end.",
    ),
    _stack("By state", "sum by (state) (rdagentd_workers{@})", "{{state}}"),
    _stack("By group and state", "count by (group, state) (rdagentd_worker_state{@})", "{{group}} {{state}}"),
    _stack("Waiting by group", "sum by (group) (rdagentd_queue_length{@})", "{{group}}"),
    Panel(
        "How runs ended",
        {"sum by (kind) (increase(rdagentd_exits_total{@}[$__range]))": "{{kind}}"},
        kind="bargauge",
        about="In the time shown.",
    ),
    _stack("Runs that end", "sum by (kind) (increase(rdagentd_exits_total{@}[@]))", "{{kind}}"),
    Panel(
        "Restarts",
        {"topk(10, increase(rdagentd_worker_restarts_total{@}[$__range]))": "{{worker}} {{instance}}"},
        kind="bargauge",
        about="In the time shown, of the ten workers with most.",
    ),
    _top("Longest under way", "time() - rdagentd_worker_run_start_time_seconds{@}", "s"),
    _top("Silent for longest", "time() - rdagentd_worker_last_activity_timestamp_seconds{@}", "s"),
    _stack(
        "CPU time by group",
        "sum by (group) (rate(rdagentd_worker_cpu_seconds_total{@}[@]))",
        "{{group}}",
        "percentunit",
        _CPU,
    ),
    Panel(
        "Need attention",
        {'sum by (worker, group, state, instance) (rdagentd_worker_state{@,state=~"failed|backoff"})': ""},
        kind="table",
        width=WIDTH,
        about="rdagentctl why NAME says what to do.",
    ),
)

DASHBOARDS = {
    "rdagentd-system": ("rdagentd: system", "Hosts, and what workers take of them.", SYSTEM),
    "rdagentd-application": ("rdagentd: application", "The daemon and its gateway.", APPLICATION),
    "rdagentd-business": ("rdagentd: business", "Experiments: how many, how far, how they end.", BUSINESS),
}
"""Uid and name of the file → title, description, panels."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_VARIABLES = [
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "instance",
        "label": "Host",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(rdagentd_up, instance)", "refId": "instance"},
        "refresh": 2,  # whenever the time range changes
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def _in_full(query: str) -> str:
    for short, full in SHORT.items():
        query = query.replace(short, full)
    return query


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    instant = panel.kind == "table"
    drawn = {"drawStyle": "line", "fillOpacity": 20, "stacking": {"mode": "normal"}} if panel.stacked else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": drawn}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": _in_full(query),
                "legendFormat": legend,
                "instant": instant or panel.kind == "bargauge",
                "range": not instant and panel.kind != "bargauge",
                **({"format": "table"} if instant else {}),
            }
            for index, (query, legend) in enumerate(panel.queries.items())
        ],
    }


def _laid_out(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """From left to right; a panel that has no room begins the next row."""
    laid, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, height = 0, y + height, 0
        laid.append(_panel(panel, number, x, y))
        x, height = x + panel.width, max(height, panel.height)
    return laid


def dashboard(uid: str) -> str:
    """The JSON of one dashboard, as Grafana imports or provisions it."""
    title, about, panels = DASHBOARDS[uid]
    document = {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["rdagentd"],
        "schemaVersion": 37,  # Grafana 9; newer ones convert it
        "editable": True,
        "graphTooltip": 1,  # one crosshair over all panels
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": _VARIABLES},
        "links": [
            {"type": "dashboards", "title": "rdagentd", "tags": ["rdagentd"], "keepTime": True, "includeVars": True}
        ],
        "panels": _laid_out(panels),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
