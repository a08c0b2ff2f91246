"""Fixtures: a run's socket before an engine that records."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.served import Served
from tests.dockerproxy.fake import RUN, FakeEngine, Got, rules


@dataclass
class Answer:
    """What came back: status, and the JSON or the bytes."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """The engine's error format."""
        found = json.loads(self.body)
        assert list(found) == ["message"]
        return str(found["message"])


@dataclass
class Behind:
    """A run's socket with the fake engine behind it."""

    served: Served
    engine: FakeEngine
    binds: Path

    def send(self, data: bytes) -> bytes:
        """Sends bytes as they are; all that comes back."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self.served.path))
            client.sendall(data)
            back = b""
            while got := client.recv(65536):
                back += got
            return back

    def ask(self, method: str, target: str, body: Any = None, raw: bytes | None = None) -> Answer:
        """An ordinary request; JSON, or bytes as they are."""
        data = json.dumps(body).encode() if body is not None else raw or b""
        head = f"{method} {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: {len(data)}\r\n\r\n"
        back, _, content = self.send(head.encode() + data).partition(b"\r\n\r\n")
        return Answer(int(back.split()[1]), content)

    def passed(self, method: str, target: str, body: Any = None, raw: bytes | None = None) -> Got:
        """A request that must reach the engine, as the engine got it."""
        before = len(self.engine.got)
        answer = self.ask(method, target, body, raw)
        assert answer.status < 300, answer.body
        assert len(self.engine.got) == before + 1
        return self.engine.got[-1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Behind]]:
    """Makes a run's socket with changed rules."""
    open_: list[Behind] = []

    def start(**changed: Any) -> Behind:
        engine = FakeEngine(tmp_path / f"engine-{len(open_)}")
        binds = tmp_path / "binds"
        binds.mkdir(exist_ok=True)
        given = rules(**{"binds": (str(binds),), **changed})
        served = Served(Engine(str(engine.path)), RUN, given, tmp_path / f"run-{len(open_)}")
        served.open()
        open_.append(Behind(served, engine, binds))
        return open_[-1]

    yield start
    for behind in open_:
        behind.served.close()
        behind.served.scope.binds.close()
        behind.engine.close()


@pytest.fixture
def behind(make: Callable[..., Behind]) -> Behind:
    """A run's socket with every bound set."""
    return make()
