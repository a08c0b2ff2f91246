"""/livez, /readyz and /health: true while the daemon starts, stops, is away, or lacks something."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from rdagentd.gateway import fresh
from rdagentd.protocol.errors import FORBIDDEN, UNAVAILABLE, ProtocolError
from tests.gateway.client import Answer, FakeLink, LiveGateway, Serve, ask
from tests.harness import LiveDaemon, eventually

PING = {"pid": 1, "version": "1", "uptime": 1.0, "problem": None, "draining": False}
WELL = (("state", "ok"), ("executor", "ok"), ("limits of processes", "missing"), ("Docker", "absent"), ("host", "ok"))


def link(draining: bool = False, **found: str) -> FakeLink:
    """A daemon whose doctor finds all well but what is named."""
    findings = [
        {"subject": subject, "state": found.get(subject, state), "text": f"{subject} words"} for subject, state in WELL
    ]
    return FakeLink(ping={**PING, "draining": draining}, doctor=findings)


@pytest.mark.parametrize(
    ("before", "status", "services", "ready"),
    [
        (link(), "healthy", {"daemon": "healthy", "state": "healthy", "executor": "healthy"}, 200),
        (
            link(Docker="missing"),
            "degraded",
            {"daemon": "healthy", "state": "healthy", "executor": "healthy", "docker": "unhealthy"},
            200,
        ),
        (
            link(Docker="ok", executor="missing"),
            "unhealthy",
            {"daemon": "healthy", "state": "healthy", "executor": "unhealthy", "docker": "healthy"},
            503,
        ),
        (link(state="missing"), "unhealthy", {"daemon": "healthy", "state": "unhealthy", "executor": "healthy"}, 503),
        (link(draining=True), "unhealthy", {"daemon": "unhealthy", "state": "healthy", "executor": "healthy"}, 503),
        (FakeLink(ping=ProtocolError(UNAVAILABLE, "gone"), doctor=[]), "unhealthy", {"daemon": "unhealthy"}, 503),
        (FakeLink(ping=ProtocolError(FORBIDDEN, "no role"), doctor=[]), "unhealthy", {"daemon": "unhealthy"}, 503),
    ],
)
def test_health_tells_each_service(
    serve: Serve, before: FakeLink, status: str, services: dict[str, str], ready: int
) -> None:
    url = serve(before)
    answer = ask(url, "/health")
    body = answer.json
    assert (body["status"], body["services"]) == (status, services)
    assert answer.status == (503 if status == "unhealthy" else 200)
    assert set(body["reasons"]) == {name for name, found in services.items() if found == "unhealthy"}
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert ask(url, "/readyz").status == ready
    assert ask(url, "/livez").status == 200


def test_reasons_are_for_who_may_see(serve: Serve) -> None:
    url = serve(link(executor="missing"), anonymous="none", tokens=("0123456789abcdef",))
    assert "reasons" not in ask(url, "/health").json
    assert ask(url, "/readyz").text == "not ready\nexecutor\n"
    shown = {"Authorization": "Bearer 0123456789abcdef"}
    assert ask(url, "/health", headers=shown).json["reasons"] == {"executor": "executor words"}
    assert ask(url, "/readyz", headers=shown).text == "not ready\nexecutor: executor words\n"


def test_many_who_ask_cost_the_daemon_one_question(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "time", SimpleNamespace(monotonic=lambda: 1.0))
    before = link()
    url = serve(before)
    assert {ask(url, "/health").status for _ in range(20)} == {200}
    assert sorted(op for op, _ in before.calls if op != "events") == ["doctor", "ping"]


def test_it_follows_a_real_daemon_through_its_life(daemon: LiveDaemon, tmp_path: Any) -> None:
    gateway = LiveGateway(tmp_path / "gateway", daemon.socket)
    gateway.config.parent.mkdir()
    gateway.start()

    def health(status: str, reason: str = "") -> Answer:
        def there() -> Answer | None:
            answer = gateway.ask("/health")
            told = answer.json["reasons"].get("daemon", "")  # of one that is slow, that it has not answered
            return answer if answer.json["status"] == status and reason in told else None

        found: Answer = eventually(there, f"{status}: {reason}")
        return found

    try:
        assert health("unhealthy", "cannot reach rdagentd").status == 503
        client = daemon.start()
        assert client is not None
        assert health("healthy").json["services"] == {"daemon": "healthy", "state": "healthy", "executor": "healthy"}
        eventually(lambda: gateway.ask("/readyz").text == "ok\n", "it to be ready")
        slow = "trap '' TERM INT; echo ready; while :; do sleep 0.1; done"
        client.submit("slow", "sh", "-c", slow, stop={"grace": "50s"})
        eventually(lambda: client.log("slow"), "a worker that takes its time")
        pid = client.worker("slow")["run"]["pid"]
        assert daemon.process is not None
        daemon.process.terminate()
        health("unhealthy", "stopping")
        os.kill(pid, signal.SIGKILL)
        assert daemon.wait() == 0
        eventually(lambda: "cannot reach" in gateway.ask("/readyz").text, "the daemon to be gone")
        assert gateway.ask("/livez").status == 200
    finally:
        gateway.close()
