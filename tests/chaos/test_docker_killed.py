"""The daemon is killed again and again while containers start, stop and fail, and their engine is in trouble."""

from __future__ import annotations

import os
import random
import select
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rdagentd.protocol import labels
from tests.between import Capricious
from tests.chaos import account
from tests.chaos.account import PROGRAM
from tests.chaos.driver import WANTS
from tests.chaos.engine_trouble import TROUBLES, Bench, Trouble, deal
from tests.engine import IMAGE, Engine, unavailable
from tests.harness import Client, LiveDaemon, eventually

FULL = os.environ.get("RDAGENTD_CHAOS") == "full"
ROUNDS = 200 if FULL else len(TROUBLES)
MINUTES = 3 if FULL else 0
PAD = 100
COMMANDS = ("start", "start", "start", "stop", "restart", "kill", "pause", "resume")
OVER = {"exited", "dead", "removing"}
LIVE = {"starting", "running", "paused", "stopping"}


@pytest.fixture
def bench(tmp_path: Path, seeded: random.Random) -> Iterator[Bench]:
    """An engine that may be killed, with the proxy through which the daemon speaks to it."""
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    own = random.Random(seeded.random())  # asked in another thread
    with Engine() as engine, Capricious(tmp_path, engine.socket, own) as between:
        yield Bench(engine, between)


class Story:
    """The daemon's workers, what was answered, and when the engine was away."""

    def __init__(self, daemon: LiveDaemon, bench: Bench, directory: Path, rng: random.Random) -> None:
        self.bench = bench
        self.daemon = daemon
        self.rng = rng
        self.own = directory / "own"
        self.own.mkdir(mode=0o777)
        self.config = directory / "rdagentd.toml"
        self.config.write_text(
            f'keep_runs = 1_000_000\nkeep_events = 100_000_000\n[docker]\nsocket = "{bench.between.socket}"\n'
        )
        self.wants: dict[str, str] = {}
        self.absences: list[tuple[float, float]] = []
        self.client = self.start()

    def start(self) -> Client:
        client = self.daemon.start("--config", str(self.config))
        assert client is not None
        return client

    def submit(self, spec: dict[str, Any]) -> None:
        """A new worker."""
        self.client.call("submit", spec=spec)
        self.wants[spec["name"]] = "up"

    def command(self) -> None:
        """Tells some workers to do something, and reads a log: nobody waits for that, the engine may be stuck."""
        names = list(self.wants)
        for name in self.rng.sample(names, self.rng.randint(1, 3)):
            verb = self.rng.choice(COMMANDS)
            done = self.client.verb(verb, name)[0]
            if verb in WANTS and done["error"] is None:
                self.wants[name] = WANTS[verb]
        self.daemon.connect().send("logs", name=self.rng.choice(names))

    def round(self, trouble: Trouble) -> None:
        """The engine is in trouble for a time, and somewhere in it or after it the daemon is killed."""
        if trouble.keeps is not None:
            self.bench.engine.keep_containers(trouble.keeps)
        self.command()
        lasts, death = self.rng.uniform(*trouble.lasts), self.rng.uniform(0, 1.5)
        began = time.time()
        trouble.begin(self.bench)
        _while(lasts * min(death, 1))
        if death >= 1:
            trouble.end(self.bench)
            _while(self.rng.uniform(0, 1))
        self.daemon.kill()
        self.client = self.start()
        self.check_wants()
        self.command()
        if death < 1:
            _while(lasts * (1 - death))
            trouble.end(self.bench)
        if trouble.ends:
            self.absences.append((began, time.time()))
        _while(self.rng.uniform(0, 1))
        self.check_containers()

    def check_wants(self) -> None:
        """What was answered before the daemon was killed is known to the next one."""
        assert {row["name"]: row["want"] for row in self.client.status()} == self.wants

    def check_containers(self) -> None:
        """At no time are there two for a run, or two of one worker that are not over."""
        found = self.bench.engine.call("GET", "/containers/json?all=1")
        runs = Counter(one["Labels"][labels.RUN] for one in found)
        assert all(count == 1 for count in runs.values()), f"runs with two containers: {found}"
        live = Counter(one["Labels"][labels.WORKER] for one in found if one["State"] not in OVER)
        assert all(count == 1 for count in live.values()), f"workers with two containers: {found}"

    def check_accord(self) -> None:
        """After a while each worker is what its container is, and no container is nobody's."""

        def accord() -> bool:
            known = {(row["run"]["id"], row["state"]) for row in self.client.status() if row["state"] in LIVE}
            found = self.bench.engine.call("GET", "/containers/json?all=1")
            there = {(one["Labels"][labels.RUN], one["State"]) for one in found if one["State"] not in OVER}
            return known == there

        try:
            eventually(accord, "daemon and engine to agree")
        except AssertionError:
            found = self.bench.engine.call("GET", "/containers/json?all=1")
            raise AssertionError(f"daemon and engine do not agree: {self.client.status()}, {found}") from None

    def was_harmed(self, taken: dict[str, float], run: dict[str, Any]) -> bool:
        """Whether the engine was away between the start of a run, as far as that is known, and the moment when the daemon came
        to know of its end: nobody read its output then, and what it had written last is gone if it ended meanwhile."""
        since, until = run["started_at"] or 0.0, taken[run["id"]]
        return any(since <= over and began <= until for began, over in self.absences)


@pytest.mark.crash
@pytest.mark.timeout(3600 if FULL else 300)
def test_nothing_is_doubled_or_forgotten_in_containers(
    daemon: LiveDaemon, tmp_path: Path, bench: Bench, seeded: random.Random
) -> None:
    began = time.monotonic()
    tmp_path.chmod(0o777)
    story = Story(daemon, bench, tmp_path, seeded)
    for spec in _specs(story.own, seeded):
        story.submit(spec)
    names = list(story.wants)
    dealt: Counter[str] = Counter()
    for trouble in deal(ROUNDS, MINUTES, seeded):
        story.round(trouble)
        dealt[trouble.name] += 1
        print(f"{time.monotonic() - began:.1f} s: after round {dealt.total()}: {trouble.name}")
        if dealt.total() % len(TROUBLES) == 0:
            story.check_accord()
    client = story.client
    for verb in ("resume", "start"):
        client.verb(verb, *names)
    eventually(lambda: all((story.own / name).exists() for name in names), "each to have begun once")
    client.verb("stop", *names)
    client.wait(*names)
    eventually(lambda: bench.engine.call("GET", "/containers/json?all=1") == [], "no container to be left")
    accounts = account.Accounts(client, daemon.state / "state.db")
    taken = account.taken(accounts.database)
    for name in names:
        own = account.own_runs(story.own, name)
        _check_turns(story.own / name)
        account.compare(accounts, name, own, PAD, {"SIGTERM", "SIGKILL"}, partial(story.was_harmed, taken))
    ends = Counter(run["exit"]["reason"] for name in names for run in account.history(accounts.database, name))
    print(f"{dict(ends)}")
    print(f"{dict(dealt)}, {bench.between.swallowed} answers lost, latest {bench.between.longest:.1f} s late")
    print(f"{ROUNDS} kills, {accounts.figures}, {time.monotonic() - began:.0f} s")
    assert accounts.figures.runs >= ROUNDS


def _while(seconds: float) -> None:
    """Lets things happen."""
    select.select([], [], [], seconds)


def _specs(own: Path, rng: random.Random) -> list[dict[str, Any]]:
    """Workers whose runs last from a moment to for ever, and that do about signals and ends whatever there is to be done."""
    columns = (
        ("always", "always", "always", "always", "on-failure", "never"),
        (0, 1, 4, 20, -1, -1),
        (0, 0, 3, 3, 42, 255),
        ("obey", "obey", "trap", "trap", "trap", "ignore"),
    )
    rows = zip(*(rng.sample(column, len(column)) for column in columns), strict=True)
    return [_spec(f"c{number}", own, *row) for number, row in enumerate(rows)]


def _spec(name: str, own: Path, policy: str, bursts: int, code: int, manner: str) -> dict[str, Any]:
    return {
        "name": name,
        "command": ["sh", "/worker.sh", "/own", "0", str(bursts), str(code), manner],
        "environment": {"PAD": str(PAD), "PAUSE": "0.2", "FLOCK": "true"},
        "container": {
            "image": IMAGE,
            "volumes": [f"{own}:/own:rw", f"{PROGRAM}:/worker.sh:ro"],
            "network": "none",
        },
        "restart": {"policy": policy, "delay": 0.5, "retries": 1000, "breaker": {"failures": 0}},
        "stop": {"grace": 0.5},
        "log": {"segment": "64K", "cap": "1G"},
    }


def _check_turns(path: Path) -> None:
    """By a worker's own account no run did anything after another one had begun: it was never two at a time."""
    turns = [line.split()[0] for line in path.read_text().splitlines()]
    changes = [run for run, before in zip(turns, [None, *turns], strict=False) if run != before]
    assert len(changes) == len(set(changes)), f"{path.name}: two runs at one time: {changes}"
