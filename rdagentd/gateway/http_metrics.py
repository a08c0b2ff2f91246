"""What the gateway tells of itself: requests by the template of their route, which are few, whatever clients ask for."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from rdagentd import __version__
from rdagentd.gateway.connections import Connections
from rdagentd.gateway.exposition import END
from rdagentd.gateway.lasting import LASTS

UNKNOWN = "unknown"
"""Route of requests for what there is not."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds. Among them those that alerts look at: 0.5 and 1."""


class HttpMetrics:
    """Counts requests."""

    def __init__(self, connections: Connections) -> None:
        self._own = own = CollectorRegistry()
        self._requests = Counter(
            "rdagentd_http_requests",
            "HTTP requests by how they were answered.",
            ("method", "route", "code"),
            registry=own,
        )
        self._took = Histogram(
            "rdagentd_http_request_duration_seconds",
            "How long HTTP requests took, streams and waiting aside.",
            ("route",),
            registry=own,
            buckets=_BUCKETS,
        )
        Info("rdagentd_gateway_build", "Version of the gateway.", registry=own).info({"version": __version__})
        now = Gauge("rdagentd_http_connections", "Clients of the gateway.", registry=own)
        now.set_function(lambda: len(connections.open))
        Gauge("rdagentd_http_connections_max", "Most clients of the gateway.", registry=own).set(connections.most)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answered(self, request: web.Request, response: web.StreamResponse | None, seconds: float) -> None:
        """One more. response: None if the client went away, or its connection was ended, before there was one."""
        method = request.method if request.method in _METHODS else "other"
        route = route_of(request)
        code = str(response.status) if response is not None else "none"
        self._requests.labels(method, route, code).inc()
        if isinstance(response, web.Response) and LASTS not in request:
            self._took.labels(route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """All, without the times at which the counters were made: nobody asks for them, and they double the counters."""
        for family in self._own.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def render(self, *, openmetrics: bool) -> bytes:
        """As text; in OpenMetrics without the mark of its end."""
        made: bytes = (generate_openmetrics if openmetrics else generate_latest)(self._registry)
        return made.removesuffix(END)


def route_of(request: web.Request) -> str:
    """The template of its route, such as /api/v1/{op}."""
    resource = request.match_info.route.resource
    return UNKNOWN if resource is None else resource.canonical
