"""Whatever a program does, all of it ends with its run: by stop and grace, time limit, kill, removal; paused or not."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cgroups import WAYS as TREES
from tests.cgroups import prefix
from tests.escape import programs
from tests.harness import Client, LiveDaemon, eventually

PROGRAM = str(Path(programs.__file__))
BOMB = Path(programs.__file__).with_name("bomb.sh").read_text()

LEAST = {"double_fork": 3, "double_fork_and_leave": 3, "anonymous": 4, "renamed": 3, "keeps_pipe": 3, "closes_all": 4,
         "deaf": 2, "breeder": 10, "stopped": 2, "wood": 301}  # fmt: skip
"""Processes that have reported when a program has done its worst."""

WAYS = ("stop", "kill", "remove", "timeout", "paused_stop", "paused_kill", "paused_remove")


@pytest.fixture(scope="module", params=TREES)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    daemon = LiveDaemon(tmp_path_factory.mktemp("escape"))
    daemon.prefix = prefix(request.param)
    daemon.start()
    yield daemon
    daemon.close()


def reported(path: Path) -> list[tuple[int, str]]:
    """Pids and start times so far."""
    lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []  # one is being written, perhaps
    return [(int(pid), ticks) for pid, ticks in map(str.split, lines)]


def living(found: list[tuple[int, str]]) -> list[int]:
    """Those that are there still: the same process, no zombie, and not about to be one (PF_EXITING)."""
    left = []
    for pid, ticks in found:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[19] == ticks and not int(fields[6]) & 0x4:
            left.append(pid)
    return left


def spread(path: Path, least: int) -> bool:
    """Whether so many have reported."""
    return len(reported(path)) >= least


def spec(name: str, program: str, file: Path, **more: object) -> dict[str, object]:
    """A worker that runs one of the programs."""
    command = [sys.executable, "-I", "-S", PROGRAM, program, str(file)]
    return {"name": name, "command": command, "stop": {"grace": 0.3}, "kill_after": 0.3, **more}


def end(client: Client, worker: dict[str, object], way: str) -> None:
    """Ends a worker in this way, and waits for its end."""
    name = str(worker["name"])
    if way.startswith("paused_"):
        client.verb("pause", name)
    verb = way.removeprefix("paused_")
    if verb == "remove":
        answer = client.verb("remove", name, force=True)
        assert answer[0]["error"] is None, answer
        eventually(lambda: name not in {row["name"] for row in client.status()}, f"{name} to be removed")
        return
    if verb == "timeout":  # its time is up already when it learns of the limit
        client.call("apply", documents=[{"where": "a test", "base": None, "document": {**worker, "timeout": 0.1}}])
    else:
        client.verb(verb, name)
    row = client.wait(name)[0]
    assert (row["exit"]["kind"] == "timed_out") == (verb == "timeout"), row


@pytest.mark.timeout(400)  # it waits for 14 events, up to a minute each
@pytest.mark.parametrize("program", list(programs.PROGRAMS))
def test_nothing_escapes(live: LiveDaemon, tmp_path: Path, program: str) -> None:
    """Several of the kind at once, so that what belongs to whom has to be known."""
    client = live.client()
    workers = {way: spec(f"{program}-{way}", program, tmp_path / way) for way in WAYS}
    for way, worker in workers.items():
        client.call("submit", spec=worker)
        eventually(partial(spread, tmp_path / way, LEAST[program]), f"{program} to spread")
    for way, worker in workers.items():
        end(client, worker, way)
        assert living(reported(tmp_path / way)) == [], f"{way} of {program} has left something"
    client.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to bound the processes of another user")
def test_fork_bomb_ends(live: LiveDaemon) -> None:
    """Within its limit of processes, which counts all processes of its user: one of whom nothing else runs."""
    client = live.client()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        for way in ("stop", "kill", "paused_remove"):
            file = Path(directory, way)
            worker = {
                "name": f"bomb-{way}", "command": ["sh", "-c", BOMB, "bomb", str(file)], "environment": {"BOMB": BOMB},
                "user": "games", "limits": {"nproc": 50}, "stop": {"grace": 0.3},
            }  # fmt: skip
            client.call("submit", spec=worker)
            eventually(partial(spread, file, 100), "the bomb to go off")
            end(client, worker, way)
            assert living(reported(file)) == [], f"{way} of the bomb has left something"
    client.close()


def test_one_that_lingers_holds_up_nobody(live: LiveDaemon, tmp_path: Path) -> None:
    """One that cannot be asked is killed after its grace; meanwhile others start and end."""
    client = live.client()
    slow = spec("slow", "deaf", tmp_path / "slow", stop={"grace": 300})
    client.call("submit", spec=slow)
    eventually(partial(spread, tmp_path / "slow", LEAST["deaf"]), "the deaf one to spread")
    client.verb("stop", "slow")
    client.submit("quick", "true")
    assert client.wait("quick")[0]["exit"]["code"] == 0
    assert client.worker("slow")["state"] == "stopping"
    end(client, slow, "kill")
    assert living(reported(tmp_path / "slow")) == []
    client.close()
