"""A blocking HTTP client, the real program on a free port, and the application in a thread before a link that is not real."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from aiohttp import web
from attrs import frozen

from rdagentd.config.gateway import Gateway
from rdagentd.gateway.app import application
from rdagentd.gateway.connections import Connections
from rdagentd.gateway.settings import Settings
from tests.harness import DEADLINE, eventually


@frozen
class Answer:
    """What came back. headers: by their names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, path: str = "/", method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection of its own; body: bytes as they are, anything else as JSON."""
    parts = urlsplit(url)
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=DEADLINE)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


class LiveGateway:
    """`rdagentd gateway` before the daemon of `host`, startable and killable as often as a test likes."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.socket = socket
        self.runtime = directory / "run"
        self.state = directory / "gateway"
        self.config = directory / "gateway.toml"
        self.errors = directory / "gateway.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, config: str = "", env: dict[str, str] | None = None, ready: bool = True) -> None:
        """Starts it with these lines in [gateway], on any port unless they name one; returns once it listens."""
        self.config.write_text("[gateway]\n" + ("" if "port =" in config else "port = 0\n") + config)
        command = [
            *(sys.executable, "-m", "rdagentd", "gateway", "--socket", str(self.socket), "--config", str(self.config)),
            *("--state-dir", str(self.state), "--runtime-dir", str(self.runtime)),
        ]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env={**os.environ, **(env or {})}
            )
        if ready:
            eventually(self._told, "the gateway to listen")

    def _told(self) -> bool:
        assert self.process is not None and self.process.poll() is None, f"gateway ended:\n{self.said()}"
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((self.runtime / "gateway.json").read_text())["pid"] == self.process.pid)
        return False

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        urls: list[str] = json.loads((self.runtime / "gateway.json").read_text())["urls"]
        return urls

    @property
    def url(self) -> str:
        """Where it listens first: on 127.0.0.1."""
        return self.urls[0]

    def ask(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """See ask."""
        return ask(self.url, path, method, body, headers)

    def said(self) -> str:
        """What it wrote on stderr."""
        return self.errors.read_text() if self.errors.exists() else ""

    def close(self) -> int | None:
        """Asks it to leave; its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
            raise


class FakeLink:
    """A link whose answers stand in `answers`: for each op a result, an exception, or a function of the arguments.

    calls: what was asked. For a stream the result is the list of its items.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = 5.0) -> Any:
        self.calls.append((op, args or {}))
        answer = self.answers[op]
        if callable(answer):
            answer = answer(args or {})
        if isinstance(answer, Exception):
            raise answer
        return await answer if asyncio.iscoroutine(answer) else answer

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        for item in await self.call(op, args):
            yield item


Serve = Callable[..., str]


@contextlib.contextmanager
def serving(make: Callable[[], tuple[web.Application, Connections]]) -> Iterator[str]:
    """The application of `make()` in a thread, behind its connections, with a loop of its own; gives its URL."""
    ready = threading.Event()
    told: dict[str, Any] = {}

    async def run() -> None:
        app, connections = make()
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        connections.server = cast(web.Server, runner.server)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(connections, "127.0.0.1", 0)
        told.update(port=server.sockets[0].getsockname()[1], loop=loop, done=asyncio.Event())
        ready.set()
        await told["done"].wait()
        server.close()
        await connections.server.shutdown(1.0)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(DEADLINE), "the application did not start"
    try:
        yield f"http://127.0.0.1:{told['port']}/"
    finally:
        told["loop"].call_soon_threadsafe(told["done"].set)
        thread.join(DEADLINE)


def settings(directory: Path, tokens: tuple[str, ...] = (), **config: Any) -> Settings:
    """Settings for unit tests."""
    places = (directory / "no.sock", directory / "state", directory / "run")
    return Settings(*places, Gateway(**config), tokens)


def fake_application(
    link: FakeLink, directory: Path, tokens: tuple[str, ...] = (), **config: Any
) -> tuple[web.Application, Connections]:
    """The whole application before a link that is not real."""
    chosen = settings(directory, tokens, **config)
    connections = Connections(chosen.config)
    return application(link, chosen, connections), connections
