"""The daemon is killed again and again while containers start, stop and fail, and their engine is stopped and killed."""

from __future__ import annotations

import os
import random
import select
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine import IMAGE, Engine, unavailable
from tests.harness import CallError, Client, LiveDaemon, eventually

FULL = os.environ.get("RDAGENTD_CHAOS") == "full"
ROUNDS = 200 if FULL else 8
WORKERS = 6
PROGRAM = (
    "echo began $RDAGENTD_RUN >> /own/{name}; sleep {seconds}; echo ended $RDAGENTD_RUN >> /own/{name}; exit {code}"
)


@pytest.fixture
def weak() -> Iterator[Engine]:
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Engine() as engine:
        yield engine


@pytest.mark.crash
@pytest.mark.timeout(3600 if FULL else 300)
def test_nothing_is_doubled_or_forgotten_in_containers(
    daemon: LiveDaemon, tmp_path: Path, weak: Engine, seeded: random.Random
) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o777)
    for directory in (own, tmp_path):
        directory.chmod(0o777)
    config = tmp_path / "rdagentd.toml"
    config.write_text(f'keep_runs = 1_000_000\n[docker]\nsocket = "{weak.socket}"\n')
    names = [f"c{number}" for number in range(WORKERS)]
    client = daemon.start("--config", str(config))
    assert client is not None
    for name in names:
        client.call("submit", spec=_spec(name, own, seeded))
    for number in range(ROUNDS):
        _some_commands(client, names, seeded)
        trouble = seeded.choice((None, None, signal.SIGSTOP, signal.SIGKILL)) if number % 2 else None
        if trouble is signal.SIGSTOP:
            os.kill(weak.pid, signal.SIGSTOP)
        elif trouble is signal.SIGKILL:
            weak.stop(signal.SIGKILL)
        select.select([], [], [], seeded.uniform(0, 1.5))
        daemon.kill()
        if trouble is signal.SIGSTOP:
            os.kill(weak.pid, signal.SIGCONT)
        elif trouble is signal.SIGKILL:
            weak.start()
        client = daemon.start("--config", str(config))
        assert client is not None
        select.select([], [], [], seeded.uniform(0, 1.5))
    for verb in ("resume", "start"):
        client.call(verb, select={"names": ["*"]})
    eventually(lambda: all((own / name).exists() for name in names), "each to have begun once")
    client.call("stop", select={"names": ["*"]})
    client.wait(*names)
    eventually(lambda: weak.call("GET", "/containers/json?all=1") == [], "no container to be left", timeout=30)
    runs = sum(_compare(client, name, own / name) for name in names)
    print(f"{ROUNDS} kills, {runs} runs compared")
    assert runs >= WORKERS


def _spec(name: str, own: Path, rng: random.Random) -> dict[str, Any]:
    program = PROGRAM.format(name=name, seconds=rng.choice((0.1, 0.5, 2, 600)), code=rng.choice((0, 3)))
    return {
        "name": name,
        "command": ["sh", "-c", program],
        "container": {"image": IMAGE, "volumes": [f"{own}:/own:rw"], "network": "none"},
        "restart": {"policy": rng.choice(("always", "always", "never")), "delay": 0.5, "breaker": {"failures": 0}},
        "stop": {"grace": 0.5},
    }


def _some_commands(client: Client, names: list[str], rng: random.Random) -> None:
    for name in rng.sample(names, rng.randint(1, 3)):
        verb = rng.choice(("start", "start", "stop", "restart", "kill", "pause", "resume"))
        with suppress(CallError):
            client.verb(verb, name)


def _compare(client: Client, name: str, path: Path) -> int:
    """A worker's own account with what the daemon knows: each run began once at most, none is unknown or without an end."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    began = Counter(run for word, run in lines if word == "began")
    assert all(count == 1 for count in began.values()), f"{name}: runs that began twice: {began}"
    known = {run["id"]: run for run in client.call("show", select={"names": [name]})[0]["runs"]}
    assert began.keys() <= known.keys(), f"{name}: runs forgotten: {began.keys() - known.keys()}"
    for run in known.values():
        assert run["exit"] is not None, f"{name}: run {run['id']} has no end"
    for word, run in lines:
        if word == "ended" and known[run]["exit"]["kind"] == "code":
            assert known[run]["exit"]["code"] in (0, 3, 255), known[run]
    return len(known)
