"""The alerts, fired for real: a daemon and a gateway in need, Debian's Prometheus, and who it tells. A minute is a second."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rdagentd.supervisor.used import PATIENCE
from tests.harness import CallError, Client, eventually
from tests.monitoring.conftest import Monitored
from tests.monitoring.host import Shown
from tests.monitoring.prometheus import Alertmanager, meanwhile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LISTENER = 'trap "echo here I am" USR1; while :; do sleep 1000 & wait; done'
"""Silent, unless somebody asks by SIGUSR1."""


@pytest.fixture(scope="module", autouse=True)
def silent(monitored: Monitored) -> str:
    """A worker that runs and says nothing from the first test on, until the last."""
    client = monitored.daemon.client()
    client.submit("silent", "sh", "-c", LISTENER)
    client.wait("silent", until="running")
    return "silent"


@pytest.fixture
def alerts(monitored: Monitored) -> Alertmanager:
    """Who is told; of nothing when a test begins, but of the silent worker."""
    manager = monitored.prometheus.manager
    manager.quiet(but="RdagentdWorkerStalled")
    return manager


def test_a_failed_worker(alerts: Alertmanager, client: Client) -> None:
    client.submit("failing", "sh", "-c", "exit 3")
    alert = alerts.firing("RdagentdWorkerFailed", worker="failing", severity="warning")
    assert alert["annotations"]["action"].startswith("rdagentctl why failing says how it ended")
    client.verb("remove", "failing")
    alerts.resolved("RdagentdWorkerFailed", worker="failing")


def test_workers_that_are_restarted_again_and_again(alerts: Alertmanager, client: Client) -> None:
    names = [f"restless-{number}" for number in range(8)]
    for name in names:
        restart = {"policy": "always", "delay": 0.3, "breaker": {"failures": 0}}
        client.submit(name, "false", restart=restart)
    alerts.firing("RdagentdWorkerRestarting", worker="restless-7")
    alerts.firing("RdagentdRestartStorm", severity="critical")
    client.verb("stop", *names)
    alerts.resolved("RdagentdWorkerRestarting", worker="restless-7")
    alerts.resolved("RdagentdRestartStorm")
    client.verb("remove", *names)


def test_a_busy_host(monitored: Monitored, alerts: Alertmanager) -> None:
    if not isinstance(monitored.shown, Shown):
        pytest.skip(monitored.shown)
    monitored.shown.cpu = 0.95
    alerts.firing("RdagentdHostCpuHigh")
    monitored.shown.cpu = 0.1
    alerts.resolved("RdagentdHostCpuHigh")


def test_a_full_memory(monitored: Monitored, alerts: Alertmanager) -> None:
    if not isinstance(monitored.shown, Shown):
        pytest.skip(monitored.shown)
    monitored.shown.memory(88)
    alerts.firing("RdagentdHostMemoryHigh", severity="warning")
    assert not monitored.prometheus.query('ALERTS{alertname="RdagentdHostMemoryCritical"}')
    monitored.shown.memory(93)
    alerts.firing("RdagentdHostMemoryCritical", severity="critical")
    monitored.shown.memory(40)
    alerts.resolved("RdagentdHostMemoryCritical")
    alerts.resolved("RdagentdHostMemoryHigh")


def test_requests_that_fail(alerts: Alertmanager, client: Client) -> None:

    def ask() -> None:
        with pytest.raises(CallError, match="not_found"):
            client.verb("stop", "nobody")

    with meanwhile(ask):
        alerts.firing("RdagentdRequestErrors")
    alerts.resolved("RdagentdRequestErrors")


def test_http_requests_that_fail(monitored: Monitored, alerts: Alertmanager) -> None:
    with meanwhile(lambda: monitored.gateway.ask("/nowhere")):
        alerts.firing("RdagentdHttpErrors")
    alerts.resolved("RdagentdHttpErrors")


def test_an_executor_that_keeps_everybody_waiting(monitored: Monitored, alerts: Alertmanager, client: Client) -> None:
    [executor] = monitored.daemon.executors
    silent = {"select": {"names": ["silent"]}}
    slow = ("RdagentdSlow", "RdagentdSlowP95", "RdagentdHttpSlow", "RdagentdHttpSlowP95")
    with ThreadPoolExecutor(4) as pool:

        def ask() -> None:
            began = time.monotonic()
            os.kill(executor, signal.SIGSTOP)
            try:
                asked = [client.send("usage", **silent) for _ in range(8)]
                asked_http = [pool.submit(monitored.gateway.ask, "/api/v1/usage", "POST", silent) for _ in range(4)]
                threading.Event().wait(1.5)  # how long they are kept waiting
            finally:
                os.kill(executor, signal.SIGCONT)
            answers = [client.answer(request) for request in asked]
            assert all(answers) or time.monotonic() - began > PATIENCE, "left out is what is not known by then"
            assert all(answer.result().status == 200 for answer in asked_http)

        with meanwhile(ask):
            for alert in slow:
                alerts.firing(alert)
    for alert in slow:
        alerts.resolved(alert)


def test_a_failed_worker_without_series_of_its_own(monitored: Monitored, alerts: Alertmanager, client: Client) -> None:
    with monitored.configured("[metrics]\nworkers = 0\n"):
        client.submit("untold", "false")
        alerts.firing("RdagentdUntoldWorkersFailed")
    client.verb("remove", "untold")
    alerts.resolved("RdagentdUntoldWorkersFailed")


def test_a_driver_that_cannot_be_reached(alerts: Alertmanager, client: Client) -> None:
    client.submit("contained", "true", driver="docker", container={"image": "none"})
    alerts.firing("RdagentdDriverDown", driver="docker", severity="critical")
    client.verb("remove", "contained")
    alerts.resolved("RdagentdDriverDown", driver="docker")


def test_a_daemon_that_can_keep_nothing(monitored: Monitored, alerts: Alertmanager, client: Client) -> None:
    assert monitored.daemon.process is not None
    pid = monitored.daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(CallError, match="unavailable"):
            client.submit("kept", "true")
        alerts.firing("RdagentdStoreDown", severity="critical")
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    eventually(lambda: client.call("ping")["problem"] is None, "the daemon to find that it can write again")
    alerts.resolved("RdagentdStoreDown")


def test_too_many_connections(monitored: Monitored, alerts: Alertmanager) -> None:
    [most] = eventually(lambda: monitored.prometheus.query("rdagentd_connections_max"), "a scrape")
    with contextlib.ExitStack() as stack:
        for _ in range(int(float(most["value"][1]) * 0.85)):
            stack.enter_context(contextlib.closing(Client(monitored.daemon.socket)))
        alerts.firing("RdagentdConnectionsHigh")
    alerts.resolved("RdagentdConnectionsHigh")


def test_too_many_http_connections(monitored: Monitored, alerts: Alertmanager) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(55):  # of 64
            stack.enter_context(socket.create_connection(("127.0.0.1", monitored.port)))
        alerts.firing("RdagentdHttpConnectionsHigh")
    alerts.resolved("RdagentdHttpConnectionsHigh")


def test_a_daemon_that_is_gone(monitored: Monitored, alerts: Alertmanager) -> None:
    monitored.daemon.kill()
    with meanwhile(lambda: monitored.gateway.ask("/health")):
        alerts.firing("RdagentdDown", severity="critical")
        alerts.firing("RdagentdHttpServerErrors", severity="critical")
    monitored.start()
    alerts.resolved("RdagentdDown")
    alerts.resolved("RdagentdHttpServerErrors")


def test_a_gateway_that_is_gone(monitored: Monitored, alerts: Alertmanager) -> None:
    port = monitored.port
    monitored.gateway.close()
    alerts.firing("RdagentdGatewayDown", severity="critical")
    monitored.start_gateway(port)
    alerts.resolved("RdagentdGatewayDown")


def test_a_worker_that_has_long_said_nothing(alerts: Alertmanager, client: Client, silent: str) -> None:
    alerts.firing("RdagentdWorkerStalled", worker=silent)
    client.verb("signal", silent, signal="SIGUSR1")
    alerts.resolved("RdagentdWorkerStalled", worker=silent)
