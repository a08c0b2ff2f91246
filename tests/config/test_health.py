"""What people write about health checks."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.model.health import Check, HealthCheck, OnFailure, Probe

from .reading import decode, refusal

CONTAINER = {"image": "i", "ports": [8501]}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:8000/api/health", HealthCheck(http="http://127.0.0.1:8000/api/health")),
        ({"http": "http://localhost:8000"}, HealthCheck(http="http://127.0.0.1:8000/")),
        ({"http": "http://[::1]/x?y=1", "expect": [200, 204]}, HealthCheck(http="http://[::1]:80/x?y=1", expect=(200, 204))),
        ({"tcp": 6379}, HealthCheck(tcp="127.0.0.1:6379")),
        ({"tcp": "localhost:6379"}, HealthCheck(tcp="127.0.0.1:6379")),
        ({"tcp": "[::1]:6379"}, HealthCheck(tcp="[::1]:6379")),
        ({"tcp": "127.8.0.1:1", "on_failure": "none"}, HealthCheck(tcp="127.8.0.1:1", on_failure=OnFailure.NONE)),
        ({"exec": "redis-cli ping"}, HealthCheck(exec=("redis-cli", "ping"))),
        ({"progress": "90m"}, HealthCheck(progress=5400.0)),
        ({"notify": True, "interval": "5s"}, HealthCheck(notify=True, interval=5.0)),
        ({"tcp": 1, "ready": "http://127.0.0.1:2/r"}, HealthCheck(tcp="127.0.0.1:1", ready=Probe(http="http://127.0.0.1:2/r"))),
        ({"ready": {"notify": True}}, HealthCheck(ready=Probe(notify=True))),
    ],
)  # fmt: skip
def test_a_table_is_a_check(written: Any, meant: HealthCheck) -> None:
    spec = decode(health=written)
    assert spec.health == meant
    assert decode_spec(encode_spec(spec)) == spec
    assert decode().health is None


def test_what_the_readme_writes_is_read() -> None:
    written = '[health]\nhttp = "http://127.0.0.1:8000/api/health"\nexpect = [200]\nstart_period = "1m"\n'
    health = decode(**tomllib.loads(written)).health
    assert health == HealthCheck(http="http://127.0.0.1:8000/api/health", expect=(200,), start_period=60.0)
    assert (health.interval, health.timeout, health.retries, health.on_failure) == (30.0, 10.0, 3, "restart")
    assert health.probe(Check.HEALTH) is health and health.probe(Check.READY) is None


def test_the_engine_counts_its_own_retries() -> None:
    asked = decode(health={"docker": True}, container=CONTAINER).health
    assert asked is not None and asked.retries == 1
    more = decode(health={"docker": True, "retries": 2}, container=CONTAINER).health
    assert more is not None and more.retries == 2


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"health": {}}, "health: asks nothing: give one of http, tcp, exec, notify, docker, progress"),
        ({"health": {"tcp": 1, "ready": {}}}, "health.ready: asks nothing"),
        ({"health": {"tcp": 1, "http": "http://127.0.0.1/"}}, "health: http and tcp are given; one is asked"),
        ({"health": {"http": "https://127.0.0.1/"}}, "health.http: https is not spoken"),
        ({"health": {"http": "http://127.0.0.1:99999/"}}, "health.http: 'http://127.0.0.1:99999/' is not a URL"),
        ({"health": {"http": "http://127.0.0.1/a b"}}, "health.http: 'http://127.0.0.1/a b' has blanks"),
        ({"health": {"http": "http://u:p@127.0.0.1/"}}, "health.http: 'http://u:p@127.0.0.1/' is not a plain http URL"),
        ({"health": {"http": "http://example.org/"}}, "health.http: 'http://example.org/' names no address (write 127.0.0.1"),
        ({"health": {"tcp": "192.0.2.1:5"}}, "health.tcp: '192.0.2.1:5' is not on this host's loopback"),
        ({"health": {"tcp": 0}}, "health.tcp: '0' has no port"),
        ({"health": {"tcp": 1, "expect": [200]}}, "health.expect: is for http"),
        ({"health": {"tcp": 1, "interval": 0}}, "health.interval: 0 is out of range (0.1 s to 86400 s)"),
        ({"health": {"tcp": 1, "timeout": "1h"}}, "health.timeout: '1h' is out of range"),
        ({"health": {"tcp": 1, "retries": 0}}, "health.retries: 0 is out of range"),
        ({"health": {"tcp": 1, "failures": 3}}, "health.failures: unknown key (did you mean retries?)"),
        ({"health": {"docker": True}}, "health: docker is for containers"),
        ({"health": {"tcp": 1}, "isolation": "strict"}, "health: its isolation leaves it no network"),
        ({"health": {"exec": "x", "ready": {"tcp": 1}}, "isolation": "strict"}, "health: its isolation leaves it no network"),
        ({"health": {"tcp": 1}, "container": CONTAINER}, "health: port 1 of the container cannot be reached"),
        ({"health": {"tcp": 1}, "container": {"image": "i", "network": "none"}}, "health: its container has no network"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(written: dict[str, Any], told: str) -> None:
    assert any(line.startswith(told) for line in refusal(**written)), refusal(**written)


def test_a_port_of_a_container_can_be_asked() -> None:
    assert decode(health={"tcp": 8501}, container=CONTAINER).health == HealthCheck(tcp="127.0.0.1:8501")
    assert decode(health={"tcp": 1}, container={"image": "i", "network": "host"}).health is not None
    assert decode(health={"exec": "true"}, isolation="strict").health is not None
