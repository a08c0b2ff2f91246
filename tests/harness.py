"""A real daemon for tests: `rdagentd up` in a temporary directory, and a blocking client that speaks frames."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rdagentd.protocol import frames

DEADLINE = 60.0
"""Seconds after which waiting for an event is a failure: generous, because nothing waits that long when all is well."""


class CallError(Exception):
    """An error reply."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.message = error["message"]
        self.details = error["details"]


class Client:
    """One connection to a control socket."""

    def __init__(self, path: Path, timeout: float = DEADLINE) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # which waits for a place in the queue as long as nothing else is said: unix(7)
        self.socket.settimeout(timeout)
        self._decoder = frames.Decoder(frames.MAX_FRAME, None)
        self._messages: list[dict[str, Any]] = []
        self._number = 0

    def send(self, op: str, **args: Any) -> int:
        """Asks without waiting; returns the request's id."""
        self._number += 1
        self.socket.sendall(frames.pack({"v": 1, "id": self._number, "op": op, "args": args}))
        return self._number

    def receive(self) -> dict[str, Any]:
        """The next message."""
        while not self._messages:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    def answer(self, request: int) -> Any:
        """The result of a request; others that come before are kept for their own callers."""
        later = []
        try:
            while True:
                message = self.receive()
                if message.get("id") == request:
                    break
                later.append(message)
        finally:
            self._messages = later + self._messages
        if message["ok"]:
            return message["result"]
        raise CallError(message["error"])

    def call(self, op: str, **args: Any) -> Any:
        """Asks and waits for the answer."""
        return self.answer(self.send(op, **args))

    def stream(self, op: str, **args: Any) -> Iterator[Any]:
        """Items until the stream ends."""
        request = self.send(op, **args)
        while True:
            message = self.receive()
            assert message["id"] == request, message
            if "item" in message:
                yield message["item"]
            elif "end" in message:
                return
            else:
                raise CallError(message["error"])

    def log(self, name: str, **args: Any) -> bytes:
        """A worker's log as bytes."""
        return b"".join(item.get("data", b"") for item in self.stream("logs", name=name, **args))

    def status(self, *names: str) -> list[dict[str, Any]]:
        """Rows of the workers."""
        rows: list[dict[str, Any]] = self.call("status", select={"names": list(names)})
        return rows

    def worker(self, name: str) -> dict[str, Any]:
        """One row."""
        return self.status(name)[0]

    def wait(self, *names: str, until: str = "rest") -> list[dict[str, Any]]:
        """Rows of the workers once they are at rest or running."""
        rows: list[dict[str, Any]] = self.call("wait", select={"names": list(names)}, until=until)
        return rows

    def submit(self, name: str, *command: str, **spec: Any) -> dict[str, Any]:
        """A new worker."""
        result: dict[str, Any] = self.call("submit", spec={"name": name, "command": list(command), **spec})
        return result

    def verb(self, verb: str, *names: str, **args: Any) -> list[dict[str, Any]]:
        """start, stop, … for workers."""
        workers: list[dict[str, Any]] = self.call(verb, select={"names": list(names)}, **args)["workers"]
        return workers

    def close(self) -> None:
        self.socket.close()


class LiveDaemon:
    """`rdagentd up --state-dir …`, startable and killable as often as a test likes."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.socket = self.state / "rdagentd.sock"
        self.errors = directory / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.executors: set[int] = set()
        self._clients: list[Client] = []
        self.prefix: list[str] = []
        self.program = ["up", "--no-gateway", "--state-dir"]

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self, *extra: str, env: dict[str, str] | None = None, ready: bool = True) -> Client | None:
        """Starts it, once the one before has ended; with `ready`, returns a client once the executor is connected."""
        if self.process is not None:
            self.process.wait(DEADLINE)
        command = [*self.prefix, sys.executable, "-m", "rdagentd", *self.program, str(self.state), *extra]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env={**os.environ, **(env or {})}
            )
        return self.client() if ready else None

    def client(self) -> Client:
        """A connection, made as soon as the daemon listens and its executor is there."""
        client = self.connect()
        eventually(lambda: self._executor(client), "the executor to be connected")
        return client

    def connect(self) -> Client:
        """A connection, made as soon as the daemon listens."""
        made: list[Client] = []

        def try_connect() -> bool:
            assert self.process is not None and self.process.poll() is None, f"daemon ended:\n{self.said()}"
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # its backlog is full
                made.append(Client(self.socket))
            return bool(made)

        eventually(try_connect, "the daemon to listen")
        self._clients.append(made[0])
        return made[0]

    def _executor(self, client: Client) -> bool:
        facts = client.call("version")["executor"]
        if facts:
            self.executors.add(facts["pid"])
        return facts is not None

    def kill(self) -> None:
        """kill -9, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE)

    def terminate(self) -> int:
        """SIGTERM: stops the workers and leaves; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def wait(self) -> int:
        """Exit code, once it has left by itself."""
        assert self.process is not None
        return self.process.wait(DEADLINE)

    def said(self) -> str:
        """What it wrote on stderr."""
        return self.errors.read_text() if self.errors.exists() else ""

    def close(self) -> None:
        """Ends everything that was started, gently first."""
        for client in self._clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(DEADLINE)
        for pid in self.executors | executors_of(self.state):
            end_process(pid, b"rdagentd.executor")


def executors_of(state: Path) -> set[int]:
    """Executors that run on this state directory."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"rdagentd.executor" in words and str(state).encode() in words:
                    found.add(int(entry.name))
    return found


def end_process(pid: int, mark: bytes) -> None:
    """Ends a process of ours that may be gone already; `mark` must stand in its command line."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not select.select([pidfd], [], [], 20)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(pidfd)


def eventually(condition: Callable[[], Any], what: str, timeout: float = DEADLINE) -> Any:
    """The first true value of a condition that has no event to wait for; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        select.select([], [], [], 0.01)
    raise AssertionError(f"waited {timeout:g} s in vain for {what}")


def free_port() -> int:
    """A port of loopback that nobody has, below those that the kernel gives to whoever asks for any: ip(7)."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20000, 32700)))
            port: int = probe.getsockname()[1]
            return port


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def marked(run_marker: str) -> list[int]:
    """Live processes whose environment holds this text, such as RDAGENTD_RUN=…"""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if run_marker.encode() in (entry / "environ").read_bytes() and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found
