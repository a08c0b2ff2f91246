"""Fixtures for all tests."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.engine import Engine, unavailable
from tests.harness import Client, LiveDaemon

settings.register_profile("rdagentd", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("rdagentd")


@pytest.fixture(scope="session", autouse=True)
def _ways_are_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs in a temporary directory can come to it; pytest keeps all but its own user out, and xdist lays one more."""
    base = tmp_path_factory.getbasetemp()
    for directory in (base, *base.parents[:2]):
        if directory.stat().st_uid == os.geteuid() and directory.stat().st_mode & 0o111 != 0o111:
            directory.chmod(directory.stat().st_mode | 0o111)


@pytest.fixture
def daemon() -> Iterator[LiveDaemon]:
    """A daemon that is not started yet; everything of it is ended afterwards. The way to its sockets is short: unix(7)."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        live = LiveDaemon(directory)
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
