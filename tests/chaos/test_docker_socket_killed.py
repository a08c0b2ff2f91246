"""Daemon and proxy are killed again and again while runs start containers of their own, end, stop, pause and are killed."""

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

from rdagentd.protocol import labels
from tests.engine import IMAGE, Engine
from tests.harness import CallError, Client, LiveDaemon, eventually
from tests.proxy import Bench, LiveProxy

FULL = os.environ.get("RDAGENTD_CHAOS") == "full"
ROUNDS = 100 if FULL else 6
WORKERS = 4

PROGRAM = """
echo began $RDAGENTD_RUN >> {own}
for i in {containers}; do docker run -d {image} sh -c "{inside}; sleep 1000" >/dev/null; done
sleep {seconds}
exit {code}
"""


@pytest.fixture
def bench(daemon: LiveDaemon, engine: Engine) -> Iterator[Bench]:
    proxy = LiveProxy(engine.socket)
    proxy.start()
    yield Bench(daemon, proxy, engine)
    daemon.close()
    engine.remove_containers()
    proxy.close()


@pytest.mark.crash
@pytest.mark.timeout(3600 if FULL else 300)
def test_no_run_is_over_before_its_containers_are(bench: Bench, tmp_path: Path, seeded: random.Random) -> None:
    bench.config.write_text("keep_runs = 1_000_000\n" + bench.config.read_text())
    names = [f"a{number}" for number in range(WORKERS)]
    client = bench.start()
    for name in names:
        client.call("submit", spec=_spec(name, tmp_path, seeded))
    for _ in range(ROUNDS):
        _some_commands(client, names, seeded)
        trouble = seeded.choice((None, signal.SIGSTOP, signal.SIGKILL))
        if trouble is signal.SIGSTOP:
            bench.proxy.signal(trouble)
        elif trouble is signal.SIGKILL:
            bench.proxy.stop(trouble)
        _while(seeded.uniform(0, 2))
        if seeded.random() < 0.7:
            bench.daemon.kill()
            client = bench.start()
        if trouble is signal.SIGSTOP:
            bench.proxy.signal(signal.SIGCONT)
        elif trouble is signal.SIGKILL:
            bench.proxy.start()
        _while(seeded.uniform(0, 2))
        _nothing_outlives(client, bench, names)
    client.call("stop", select={"names": ["*"]})
    client.wait(*names)
    _nothing_outlives(client, bench, names)
    eventually(lambda: bench.left() == [], "nothing to be left")
    runs = sum(_compare(client, name, tmp_path / name) for name in names)
    print(f"{ROUNDS} rounds, {runs} runs compared")
    assert runs >= WORKERS


def _while(seconds: float) -> None:
    """Lets things happen."""
    select.select([], [], [], seconds)


def _spec(name: str, directory: Path, rng: random.Random) -> dict[str, Any]:
    program = PROGRAM.format(
        own=directory / name, containers=" ".join("12"[: rng.randint(1, 2)]), image=IMAGE,
        inside=rng.choice(("trap : TERM", "trap 'exit 0' TERM")), seconds=rng.choice((0, 1, 600)), code=rng.choice((0, 3)),
    )  # fmt: skip
    return {
        "name": name,
        "command": ["sh", "-c", program],
        "docker_socket": True,
        "restart": {"policy": rng.choice(("always", "always", "never")), "delay": 0.5, "breaker": {"failures": 0}},
        "stop": {"grace": 0.5},
    }


def _some_commands(client: Client, names: list[str], rng: random.Random) -> None:
    for name in rng.sample(names, rng.randint(1, 3)):
        verb = rng.choice(("start", "start", "stop", "restart", "kill", "pause", "resume"))
        with suppress(CallError):
            client.verb(verb, name)


def _ended(client: Client, names: list[str]) -> set[str]:
    shown = client.call("show", select={"names": names})
    return {run["id"] for one in shown for run in one["runs"] if run["exit"] is not None}


def _of(bench: Bench, runs: set[str]) -> list[dict[str, Any]]:
    return [one for one in bench.containers() if one["Labels"][labels.RUN] in runs]


def _nothing_outlives(client: Client, bench: Bench, names: list[str]) -> None:
    """Of a run that was told to be over there is no container. In this order: what ends meanwhile is not asked about.

    Who kills a run waits some seconds for a proxy that is away, and is told so: then they go once it is back.
    """
    over = _ended(client, names)
    found = _of(bench, over)
    given_up = {item["worker"] for item in client.stream("events", kinds=["docker"]) if _GIVEN_UP in item["text"]}
    assert {one["Labels"][labels.WORKER] for one in found} <= given_up, f"containers outlive their run: {found}"
    eventually(lambda: not _of(bench, over), "what was given up to be ended")


_GIVEN_UP = "its containers could not be ended"


def _compare(client: Client, name: str, path: Path) -> int:
    """A worker's own account with what the daemon knows: each run began once at most, none is unknown or without an end."""
    began = Counter(line.split()[1] for line in path.read_text().splitlines()) if path.exists() else Counter[str]()
    assert all(count == 1 for count in began.values()), f"{name}: runs that began twice: {began}"
    known = {run["id"]: run for run in client.call("show", select={"names": [name]})[0]["runs"]}
    assert began.keys() <= known.keys(), f"{name}: runs forgotten: {began.keys() - known.keys()}"
    for run in known.values():
        assert run["exit"] is not None, f"{name}: run {run['id']} has no end"
    return len(known)
