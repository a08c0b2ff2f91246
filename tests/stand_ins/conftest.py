"""A daemon with the shipped profiles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Client, LiveDaemon, free_port


@pytest.fixture
def client(daemon: LiveDaemon) -> Iterator[Client]:
    made = daemon.start()
    assert made is not None
    yield made


@pytest.fixture
def port() -> int:
    """One that is free."""
    return free_port()
