"""Outputs in this process, and servers of a test."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rdagentd.config.outputs import Logging, LogLevel, Main
from rdagentd.outputs.outputs import Outputs
from tests.harness import DEADLINE, eventually, free_port

Configure = Callable[..., Outputs]


@pytest.fixture
def log() -> logging.Logger:
    """A logger of a test."""
    return logging.getLogger("rdagentd.test")


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Makes the outputs log to these places, and to no stderr unless said. A thread that stands still is waited for."""
    monkeypatch.setattr("rdagentd.outputs.outputs._PATIENCE", DEADLINE)
    root = logging.getLogger()
    level = root.level
    with Outputs() as outputs:

        def apply(level: LogLevel = LogLevel.INFO, **places: Any) -> Outputs:
            outputs.configure(Logging(**{"output": Main.OFF, **places}), level)
            return outputs

        yield apply
    root.setLevel(level)


def finish(outputs: Outputs) -> None:
    """Waits until all places have what was said, then closes them: `close` alone gives up what has failed once."""
    eventually(lambda: all(output._put == output._taken for output in outputs._outputs), "all to be delivered")
    outputs.close()


class Sink:
    """A TCP server in logstash's place, for one connection at a time. Its small buffers are full soon when it does not read."""

    def __init__(self, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen()
        self._listener.settimeout(60)
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def accept(self) -> None:
        """Waits for a connection."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(60)

    def lines(self) -> Iterator[bytes]:
        """Lines as they come, of one connection until it ends."""
        if self._connection is None:
            self.accept()
        assert self._connection is not None
        with self._connection.makefile("rb") as file:
            yield from file

    def close(self) -> None:
        """Hangs up and listens no more."""
        for end in (self._connection, self._listener):
            if end is not None:
                end.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server that listens and has not accepted anybody yet."""
    made = Sink(free_port())  # which one that comes back finds free: the kernel gives it to nobody meanwhile
    yield made
    made.close()
