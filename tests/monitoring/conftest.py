"""A daemon, a gateway before it, and Debian's Prometheus that scrapes it: one of each for all tests here."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from tests.gateway.client import LiveGateway
from tests.harness import Client, LiveDaemon, free_port
from tests.monitoring.host import Shown
from tests.monitoring.prometheus import Prometheus

CONFIG = """
[docker]
socket = "/nonexistent"
[groups.gpu]
slots = 1
"""

FEW_FILES = ["prlimit", "--nofile=600"]
"""So that there may be 300 connections, and not thousands."""


@frozen
class Monitored:
    """shown: what the daemon takes for the host's CPU and memory, or in one line why it sees the true ones."""

    daemon: LiveDaemon
    gateway: LiveGateway
    prometheus: Prometheus
    shown: Shown | str
    config: Path

    def start(self) -> Client:
        """The daemon, anew."""
        client = self.daemon.start("--config", str(self.config))
        assert client is not None
        return client

    @contextlib.contextmanager
    def configured(self, more: str) -> Iterator[None]:
        """With these lines in its configuration as well."""
        client = self.daemon.client()
        self.config.write_text(CONFIG + more)
        client.call("reload")
        try:
            yield
        finally:
            self.config.write_text(CONFIG)
            client.call("reload")
            client.close()

    def start_gateway(self, port: int) -> None:
        """The gateway, anew."""
        self.gateway.start(f"port = {port}\nconnections = 64\n")

    @property
    def port(self) -> int:
        port = urlsplit(self.gateway.url).port
        assert port is not None
        return port


@pytest.fixture(scope="package")
def monitored() -> Iterator[Monitored]:
    """All of it, running."""
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus on this host: apt install prometheus")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdagentd-")))
        shown: Shown | str = Shown(directory)
        assert isinstance(shown, Shown)
        stack.callback(shown.close)
        daemon = LiveDaemon(directory)
        daemon.prefix = FEW_FILES
        if (problem := shown.unavailable()) is None:
            daemon.prefix = [*FEW_FILES, *shown.prefix]
        config = directory / "rdagentd.toml"
        config.write_text(CONFIG)
        gateway = LiveGateway(directory, daemon.socket)
        prometheus = Prometheus(directory)
        for what in (daemon, gateway, prometheus):
            stack.callback(what.close)
        everything = Monitored(daemon, gateway, prometheus, problem or shown, config)
        everything.start()
        everything.start_gateway(free_port())  # which it finds again when it is restarted
        prometheus.start(f"127.0.0.1:{everything.port}")
        yield everything


@pytest.fixture
def client(monitored: Monitored) -> Iterator[Client]:
    """A connection to the daemon."""
    client = monitored.daemon.client()
    yield client
    client.close()
