"""One daemon for all tests of a file: each test takes names of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Client, LiveDaemon


@pytest.fixture(scope="module")
def host() -> Iterator[LiveDaemon]:
    """A running daemon."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveDaemon(Path(directory))
        config = Path(directory) / "rdagentd.toml"
        config.write_text('[access]\noperators = ["@12345"]\n')
        try:
            live.start("--config", str(config))
            yield live
        finally:
            live.close()


@pytest.fixture
def client(host: LiveDaemon) -> Client:
    """A connection of its own."""
    return host.connect()
