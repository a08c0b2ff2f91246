"""Health checks through the whole daemon: real servers and programs, real ends and restarts."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import IMAGE, Engine
from tests.harness import CallError, Client, LiveDaemon, eventually

SOON = {"interval": 0.2, "timeout": 20, "retries": 2}
"""Often, and patient: a busy machine is no failure."""


class Service(http.server.ThreadingHTTPServer):
    """Answers each request with the status that it is told to; None: it waits until there is one.

    first: what it answers before, each to one request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status: int | None = 200
        self.first: list[int] = []
        self.asked = 0
        self.changed = threading.Condition()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/health"

    def turn(self, status: int | None) -> None:
        with self.changed:
            self.status = status
            self.changed.notify_all()


class Answer(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        with self.server.changed:
            self.server.asked += 1
            self.server.changed.wait_for(lambda: self.server.status is not None)
            status = self.server.first.pop(0) if self.server.first else self.server.status
        assert status is not None
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.turn(200)
    one.shutdown()
    one.server_close()


def kinds(client: Client, name: str = "w") -> list[str]:
    return [item["kind"] for item in client.stream("events", select={"names": [name]})]


def why(client: Client, name: str = "w") -> str:
    return " ".join(client.call("why", select={"names": [name]})[0]["sentences"])


def test_it_is_told_everywhere_how_a_worker_is(client: Client, service: Service) -> None:
    check = {"http": service.url, **SOON, "on_failure": "none"}
    client.submit("w", "sleep", "1000", health=check)
    (row,) = client.wait("w", until="healthy")
    assert (row["state"], row["health"], row["ready"]) == ("running", "healthy", True)
    assert f"It is healthy: GET {service.url}: HTTP 200 OK" in why(client)
    service.turn(503)
    eventually(lambda: client.worker("w")["health"] == "unhealthy", "it to be unhealthy")
    row = client.worker("w")
    assert (row["state"], row["ready"], row["exit"]) == ("running", False, None)
    failed = f"GET {service.url}: HTTP 503 Service Unavailable, expected 200 to 399"
    assert f"It is unhealthy: {failed}" in why(client) and "(2 of 2 failures in a row)" in why(client)
    shown = client.call("show", select={"names": ["w"]})[0]["checks"]["health"]
    assert shown[-1]["ok"] is False and shown[-1]["text"] == failed
    families = {family["name"]: family["samples"] for family in client.call("metrics")["families"]}
    assert families["rdagentd_worker_health"] == [[["w", "default", "unhealthy"], 1]]
    assert families["rdagentd_worker_ready"] == [[["w", "default"], 0]]
    service.turn(200)
    (row,) = client.wait("w", until="ready")
    assert row["health"] == "healthy"
    assert kinds(client) == ["submitted", "queued", "started", "healthy", "unhealthy", "healthy"]


def test_an_unhealthy_worker_is_restarted(client: Client, service: Service, tmp_path: Path) -> None:
    """Each run serves until it is told to fail."""
    restart = {"policy": "on-failure", "delay": 0}
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON}, restart=restart)
    client.wait("w", until="healthy")
    first = client.worker("w")["run"]["id"]
    service.turn(404)
    eventually(lambda: (client.worker("w")["run"] or {})["id"] != first, "another run")
    service.turn(200)
    client.wait("w", until="healthy")
    runs = client.call("show", select={"names": ["w"]})[0]["runs"]
    ended = [run["exit"] for run in runs if run["exit"]]
    assert {one["kind"] for one in ended} == {"unhealthy"}
    assert ended[-1]["reason"].startswith(
        f"unhealthy: GET {service.url}: HTTP 404 Not Found, expected 200 to 399 (2 failures"
    )
    assert client.worker("w")["restarts"] >= 1


def test_flapping_below_the_retries_ends_nobody(client: Client, service: Service) -> None:
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON, "retries": 3})
    client.wait("w", until="healthy")
    for _ in range(4):
        with service.changed:
            service.first, before = [500, 500], service.asked
        eventually(lambda before=before: service.asked > before + 3, "two checks that fail, and some that do not")
    assert kinds(client) == ["submitted", "queued", "started", "healthy"]


def test_stop_is_the_end_of_a_worker_that_is_always_restarted(client: Client) -> None:
    check = {"exec": ["sh", "-c", "echo out of coffee; exit 7"], **SOON, "on_failure": "stop"}
    client.submit("w", "sleep", "1000", health=check, restart="always")
    (row,) = client.wait("w")
    assert (row["state"], row["reason"]["code"], row["exit"]["kind"]) == ("failed", "unhealthy", "unhealthy")
    assert row["reason"]["text"].startswith("unhealthy: sh exited with 7: out of coffee (2 failures in a row)")
    assert "raise `timeout`, `retries` or `start_period`" in why(client)


def test_a_start_period_is_waited_for(client: Client, service: Service) -> None:
    service.turn(503)
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON, "start_period": "1h"})
    eventually(lambda: service.asked > 5, "some checks that fail")
    row = client.worker("w")
    assert (row["state"], row["health"], row["ready"]) == ("running", "starting", False)
    assert "It has not been healthy yet: GET" in why(client)
    service.turn(200)
    assert client.wait("w", until="healthy")[0]["health"] == "healthy"


def test_a_server_that_hangs_is_asked_once_at_a_time(client: Client, service: Service) -> None:
    service.turn(None)
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON, "timeout": 60})
    client.submit("other", "sleep", "1000", health={"tcp": service.server_port, **SOON})
    eventually(lambda: service.asked == 1, "the first check")
    client.wait("other", until="healthy")
    assert service.asked == 1
    service.turn(200)
    client.wait("w", until="healthy")


def test_a_pause_is_no_failure(client: Client, service: Service) -> None:
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON})
    client.wait("w", until="healthy")
    client.verb("pause", "w")
    service.turn(500)
    client.submit("other", "sleep", "1000", health={"http": service.url, **SOON, "on_failure": "none"})
    eventually(lambda: client.worker("other")["health"] == "unhealthy", "others to be asked")
    row = client.worker("w")
    assert (row["state"], row["health"], row["ready"]) == ("paused", "healthy", False)
    service.turn(200)
    client.verb("resume", "w")
    client.wait("w", until="ready")


def test_readiness_ends_nobody(client: Client, service: Service, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    ready = {"exec": ["test", "-e", str(flag)], **SOON}
    client.submit("w", "sleep", "1000", health={"http": service.url, **SOON, "ready": ready})
    (row,) = client.wait("w", until="healthy")
    assert not row["ready"]
    flag.touch()
    assert client.wait("w", until="ready")[0]["ready"]
    flag.unlink()
    told = ["submitted", "queued", "started", "healthy", "ready", "unready"]
    eventually(lambda: kinds(client) == told, "it not to be ready")
    assert not client.worker("w")["ready"]
    assert "It is not ready: test exited with 1" in why(client)


def test_who_says_that_it_is_ready_is_ready(client: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = (
        "import os, socket, time; open(os.environ['FIFO']).read(); "
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(1000)"
    )
    check = {"notify": True, "interval": "1h"}
    client.submit("w", sys.executable, "-c", program, health=check, environment={"FIFO": str(fifo)})
    assert client.wait("w", until="running")[0]["health"] == "starting"
    fifo.write_text("go")
    (row,) = client.wait("w", until="healthy")
    assert row["ready"]


def test_who_makes_progress_is_healthy(client: Client) -> None:
    client.submit("w", "sh", "-c", "echo here; exec sleep 1000", health={"progress": "1h", **SOON})
    client.wait("w", until="healthy")
    assert "It is healthy: it makes progress" in why(client)


def test_health_survives_a_sigkill_of_the_daemon(daemon: LiveDaemon, service: Service) -> None:
    client = daemon.start()
    assert client is not None
    check = {"http": service.url, **SOON, "retries": 100, "on_failure": "none"}
    client.submit("w", "sleep", "1000", health=check)
    (row,) = client.wait("w", until="healthy")
    client.submit("ill", "sleep", "1000", health={"exec": ["false"], **SOON, "on_failure": "none"})
    eventually(lambda: "unhealthy" in kinds(client, "ill"), "it to be unhealthy, and that to be on disk")
    service.turn(None)
    daemon.kill()
    client = daemon.start()
    assert client is not None
    after = client.worker("w")
    assert (after["health"], after["ready"], after["run"]["id"]) == ("healthy", True, row["run"]["id"])
    assert client.worker("ill")["health"] == "unhealthy"
    asked = service.asked
    service.turn(200)
    eventually(lambda: service.asked > asked + 1, "it to be asked again")
    assert kinds(client) == ["submitted", "queued", "started", "healthy"], "nothing is told twice"


def test_who_is_not_asked_cannot_be_waited_for(client: Client) -> None:
    client.submit("w", "sleep", "1000")
    with pytest.raises(CallError, match="nothing in its spec says how to ask; give it a \\[health\\]"):
        client.wait("w", until="healthy")
    assert client.wait("w", until="ready")[0]["ready"]
    client.verb("kill", "w")
    assert client.wait("w", until="ready")[0]["state"] == "stopped"


# --- containers -------------------------------------------------------------------------------------------------------


def test_containers_are_asked_by_the_engine(daemon: LiveDaemon, tmp_path: Path, engine: Engine) -> None:
    test = ["CMD-SHELL", "test -e /tmp/well || { echo not well; exit 1; }"]
    asked = {"Image": IMAGE, "Cmd": ["true"], "Healthcheck": {"Test": test, "Interval": 10**9, "Retries": 100}}
    made = engine.call("POST", "/containers/create", asked)["Id"]
    engine.call("POST", f"/commit?container={made}&repo=checked&tag=test", {})
    config = tmp_path / "rdagentd.toml"
    config.write_text(f'[docker]\nsocket = "{engine.socket}"\n')
    client = daemon.start("--config", str(config))
    assert client is not None
    words = ("sh", "-c", "sleep 1; touch /tmp/well; exec sleep 1000")
    client.submit("own", *words, container={"image": "checked:test"}, health={"docker": True, **SOON})
    client.submit(
        "exec", *words, container={"image": IMAGE}, health={"exec": ["test", "-e", "/tmp/well"], **SOON, "retries": 100}
    )
    stuck = {"exec": ["sleep", "1000"], **SOON, "timeout": 1, "on_failure": "none"}
    client.submit("stuck", *words, container={"image": IMAGE}, health=stuck)
    assert {row["health"] for row in client.wait("own", "exec", until="healthy")} == {"healthy"}
    assert "It is healthy: the engine says that it is healthy" in why(client, "own")
    eventually(lambda: client.worker("stuck")["health"] == "unhealthy", "the one that hangs")
    eventually(lambda: "the one before goes on" in why(client, "stuck"), "it not to be asked again")
    engine.remove_containers()
