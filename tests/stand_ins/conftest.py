"""A daemon with the shipped profiles."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.harness import Client, LiveDaemon


@pytest.fixture
def client(daemon: LiveDaemon) -> Iterator[Client]:
    made = daemon.start()
    assert made is not None
    yield made


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number
