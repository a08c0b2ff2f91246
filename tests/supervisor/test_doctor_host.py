"""What the doctor tells of the host: each thing that can be wrong, and whether somebody counts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdagentd.model.preflight import Preflight
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.supervisor.doctor_host import asked, examine_host

NOW = 1_800_000_000.0


def found(*workers: Worker, now: float = NOW, keepers: tuple[str, ...] = ("/",)) -> dict[str, list[str]]:
    """Subject → state and text of each finding."""
    told: dict[str, list[str]] = {}
    for one in examine_host(asked(workers), "/", lambda: now, keepers):
        told.setdefault(one.subject, []).append(f"{one.state}: {one.text}")
    return told


def worker(name: str, user: str | None = None, **spec: Any) -> Worker:
    return Worker(name, Spec(name, ("true",), user=user, **spec), 0)


def test_disk_clock_users_ports_and_keys_are_told_of() -> None:
    told = found()
    assert list(told) == ["disk", "clock", "users", "ports", "API keys"]
    assert told["clock"] == ["ok: is kept right"] and told["users"] == ["ok: all as whom workers run are known"]
    assert told["API keys"] == ["absent: no worker says which it needs; profiles do"]


def test_a_clock_that_is_wrong_or_that_nobody_keeps_is_told(tmp_path: Path) -> None:
    assert found(now=0)["clock"] == ["missing: it says 1970-01-01; set it, and have it kept right"]
    assert found(keepers=(str(tmp_path / "no"),))["clock"][0].startswith("absent: nobody is seen to keep it right")


def test_a_user_whom_nobody_knows_is_told_with_the_worker() -> None:
    told = found(worker("a", "no-such-user"), worker("b", "root"), worker("c", "4294967294"))["users"]
    assert told == [
        "missing: a is to run as no-such-user, whom this host does not know",
        "missing: c is to run as 4294967294, whom this host does not know",
    ]


def test_a_port_that_two_workers_want_is_told() -> None:
    a, b, c = (
        worker(name, preflight=Preflight(ports=ports)) for name, ports in (("a", (1, 2)), ("b", (2,)), ("c", (3,)))
    )
    assert found(a, b, c)["ports"] == ["missing: wanted more than once: 2 by a and b"]
    assert found(a, c)["ports"] == ["ok: 3 are wanted, none twice"]


def test_keys_that_a_worker_needs_and_has_not_are_told_by_name() -> None:
    needs = Preflight(environment=("CHAT_MODEL",), secrets=("OPENAI_API_KEY | DEEPSEEK_API_KEY",))
    told = found(worker("a", preflight=needs), worker("b", preflight=needs, environment_file=("/f",)))["API keys"]
    assert told == ["missing: a has no OPENAI_API_KEY or DEEPSEEK_API_KEY, no CHAT_MODEL"]
    given = worker("a", preflight=needs, environment={"CHAT_MODEL": "m"}, secret_environment={"DEEPSEEK_API_KEY": "k"})
    assert found(given)["API keys"] == ["ok: 1 workers have theirs, or files that may hold them"]
