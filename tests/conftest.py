"""Fixtures for all tests."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, unavailable
from tests.harness import Client, LiveDaemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[LiveDaemon]:
    """A daemon that is not started yet; everything of it is ended afterwards."""
    live = LiveDaemon(tmp_path)
    yield live
    live.close()


@pytest.fixture
def client(daemon: LiveDaemon) -> Client:
    """A client of a running daemon."""
    started = daemon.start()
    assert started is not None
    return started


@pytest.fixture
def seeded() -> random.Random:
    """Random numbers whose seed is printed on failure and can be set with RDAGENTD_SEED."""
    seed = int(os.environ.get("RDAGENTD_SEED", random.SystemRandom().randrange(2**32)))
    print(f"RDAGENTD_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine of its own with the image `busybox:test`; skipped where none can be started."""
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Engine() as started:
        yield started
