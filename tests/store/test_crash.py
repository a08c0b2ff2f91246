"""A program that commits is killed with -9, at random moments and at each failpoint: what it was promised is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rdagentd.store.store import Store

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, sys
from collections import deque
from rdagentd.store.store import Store
from tests.store.values import a_run, a_worker, an_event, saves
path, kill_at, kill_count = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0
def failpoint(name):
    global count
    count += name == kill_at
    if count == kill_count:
        os.kill(os.getpid(), 9)
store = Store(path, failpoint=failpoint)
store.open()
first = len(store.events(None, limit=100_000)) + 1
pending = deque()
for number in range(first, first + 3000):
    writes = saves(a_worker("w", a_run(number), attempt=number))
    pending.append(store.commit([*writes, an_event(number)]))
    if len(pending) > number % 7:
        while pending:
            os.write(1, b"%d\\n" % pending.popleft().result()[0])
signal.pause()
"""


def killed(path: str, lines: int, kill_at: str = "", count: int = 0) -> list[int]:
    """Run the program until it has told `lines` numbers, or killed itself; kill it; all that it told."""
    command = [sys.executable, "-c", PROGRAM, path, kill_at, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as program:
        assert program.stdout
        told = [line for _, line in zip(range(lines), program.stdout, strict=False)]
        program.kill()
        told += program.stdout.readlines()
        assert program.wait(60) == -signal.SIGKILL
    return [int(line) for line in told if line.endswith(b"\n")]


def assert_kept(path: str, told: list[int]) -> None:
    """All that was promised is there, in order, and what is there is whole: the worker is as of the last event."""
    store = Store(path)
    loaded = store.open()
    assert loaded.bad == ()
    events = store.events(None, limit=100_000)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["text"] for event in events] == [f"event {number}" for number in range(1, len(events) + 1)]
    assert len(events) >= max(told, default=0)
    for worker in loaded.workers:
        assert worker.attempt == len(events)
        assert worker.run
        assert worker.run.pid == len(events)
    store.close()


@pytest.mark.crash
def test_killed_at_random_moments(path: str, dice: random.Random) -> None:
    told: list[int] = []
    for _ in range(12):
        told += killed(path, dice.randrange(1, 400))
        assert_kept(path, told)
    assert told == sorted(set(told))


@pytest.mark.crash
@pytest.mark.parametrize("kill_at", ["before-commit", "after-commit"])
def test_killed_at_a_failpoint(path: str, kill_at: str, dice: random.Random) -> None:
    for _ in range(3):
        count = dice.randrange(1, 60)
        told = killed(path, 3000, kill_at, count)
        assert_kept(path, told)


@pytest.mark.crash
def test_killed_while_the_database_is_made(path: str) -> None:
    """Whatever of it is there, the next open makes it whole: it never finds a half one."""
    program = "; ".join(
        (
            "import os, sys",
            "from rdagentd.store import files",
            "files.%s = lambda *a: os.kill(os.getpid(), 9)",
            "files.create(sys.argv[1])",
        )
    )
    for step in ("migrate", "sync_directory", "link"):
        done = subprocess.run([sys.executable, "-c", program % step, path], cwd=ROOT, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        store = Store(path)
        assert store.open().workers == ()
        store.close()
        assert os.listdir(os.path.dirname(path)) == ["state.db"]
        os.unlink(path)
