"""The real executor as a subprocess, and a small blocking client for its socket."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rdagentd.protocol.frames import MAX_FRAME, Decoder, pack
from rdagentd.protocol.segments import base_of
from tests import cgroups

TIMEOUT = 60.0
PYTHON = sys.executable
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin") or PYTHON
"""One that other users may execute too."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes user, or mounts")


class Client:
    """A blocking client: sends requests, waits for notices with a deadline."""

    def __init__(self, path: Path, uid: int = -1) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        me = os.geteuid()
        os.setresuid(-1, uid, -1)  # the kernel notes who connects
        try:
            self.socket.connect(str(path))
        finally:
            os.setresuid(-1, me, -1)
        self.decoder = Decoder(MAX_FRAME)
        self.seen: list[dict[str, Any]] = []

    @property
    def peer(self) -> int:
        """The process that listens."""
        pid: int = struct.unpack("3i", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid

    def send(self, op: str, **fields: Any) -> None:
        self.socket.sendall(pack({"op": op, **fields}))

    def wait(self, notice: str, timeout: float = TIMEOUT, **fields: Any) -> dict[str, Any]:
        """The first notice of this kind with these fields that was not handed out yet."""
        deadline = time.monotonic() + timeout
        while True:
            for message in self.seen:
                if message["notice"] == notice and all(message.get(key) == value for key, value in fields.items()):
                    self.seen.remove(message)
                    return message
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"no {notice} {fields} in {timeout} s, but {self.seen}") from None
            assert data, f"connection closed while waiting for {notice} {fields}; had {self.seen}"
            self.seen += self.decoder.feed(data)

    def ask(self, op: str, notice: str, **fields: Any) -> dict[str, Any]:
        self.send(op, **fields)
        return self.wait(notice)

    def closed(self) -> bool:
        """Whether the executor closes the connection, whatever it sends before."""
        self.socket.settimeout(TIMEOUT)
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


class Executor:
    """One executor in a directory of its own; can be killed and started again there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state, self.logs, self.path = directory / "state", directory / "logs", directory / "socket"
        self.program = ["-m", "rdagentd.executor"]
        self.arguments: list[str] = []
        self.prefix: list[str] = []
        self.uid = -1
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Client | None = None
        self.count = 0

    @property
    def command(self) -> list[str]:
        return [*self.prefix, PYTHON, *self.program, "--state-dir", str(self.state), "--log-dir", str(self.logs),
                "--socket", str(self.path), *self.arguments]  # fmt: skip

    def start(self, **popen: Any) -> Executor:
        self.process = subprocess.Popen(
            self.command, stderr=subprocess.PIPE, env=os.environ | self.environment, **popen
        )
        self.connect()
        return self

    def connect(self) -> Client:
        """Connects as soon as the socket answers. One that a killed executor had may be held by a child before its exec."""
        assert self.process is not None
        if self.client is not None:
            self.client.close()
        deadline = time.monotonic() + TIMEOUT
        while True:
            with suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                self.client = Client(self.path, self.uid)
                if self.client.peer == self.pid:
                    return self.client
                self.client.close()
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < deadline, "the executor does not listen"
            time.sleep(0.01)  # there is no event for "a socket was bound"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def request(self, *argv: str, run: str = "", **changes: Any) -> dict[str, Any]:
        self.count += 1
        return {
            "run": run or f"{os.getpid()}-{self.count}", "worker": "w", "argv": list(argv), "cwd": "/",
            "env": {"PATH": os.environ["PATH"]}, "env_files": [],
            "uid": None, "gid": None, "groups": None, "umask": 0o022, "nice": None, "rlimits": {},
            "log": {"cap": 1 << 20, "segment": 1 << 18, "separate": False}, "linger": 5.0, **changes,
        }  # fmt: skip

    def spawn(self, *argv: str, **changes: Any) -> str:
        """Asks for a run; returns its id."""
        assert self.client is not None
        request = self.request(*argv, **changes)
        self.client.send("spawn", **request)
        return str(request["run"])

    def run(self, *argv: str, **changes: Any) -> dict[str, Any]:
        """A run to its end; returns `exited`."""
        assert self.client is not None
        return self.client.wait("exited", run=self.spawn(*argv, **changes))

    def python(self, text: str, *words: str, **changes: Any) -> dict[str, Any]:
        return self.run(PYTHON, "-c", text, *words, **changes)

    def log(self, worker: str = "w", stream: str = "out") -> bytes:
        """All that is kept of a stream."""
        directory = self.logs / worker / stream
        if not directory.exists():
            return b""
        return b"".join(path.read_bytes() for path in sorted(directory.iterdir()) if base_of(path.name) is not None)

    def kill(self) -> None:
        """kill -9, and waits for it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()
        if self.client is not None:
            self.client.close()


@pytest.fixture
def way() -> str:
    """How the executor knows its processes: by cgroup, by search, or "" for as this host has it."""
    return ""


@pytest.fixture
def idle(tmp_path: Path, way: str) -> Iterator[Executor]:
    """An executor that was not started yet."""
    executor = Executor(tmp_path)
    executor.prefix = cgroups.prefix(way) if way else []
    yield executor
    executor.stop()


@pytest.fixture
def executor(idle: Executor) -> Executor:
    return idle.start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """One executor for all tests of a module that leave it as it was."""
    executor = Executor(tmp_path_factory.mktemp("shared")).start()
    yield executor
    executor.stop()


@pytest.fixture
def small_state(idle: Executor) -> Iterator[Executor]:
    """An executor whose state directory is a tmpfs of 64 KiB."""
    idle.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(idle.state)], check=True)
    idle.start()
    yield idle
    idle.stop()
    subprocess.run(["umount", "-l", str(idle.state)], check=True)


EXITING = 0x4
"""PF_EXITING, of the ninth field of /proc/PID/stat: it has left its cgroup, or is about to, and becomes a zombie."""


def state_of(pid: int) -> str | None:
    """The state letter of a process; None if there is none, or only what the kernel has to clear away."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if int(fields[6]) & EXITING else fields[0]


def ended(pid: int) -> bool:
    """Waits for a process to end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], TIMEOUT)[0])
    finally:
        os.close(fd)


def lines_of(executor: Executor, count: int, worker: str = "w") -> list[str]:
    """The first lines of a worker's log, as soon as there are so many."""
    assert executor.client is not None
    end = 0
    for _ in range(1000):
        lines = executor.log(worker).decode().splitlines()
        if len(lines) >= count:
            return lines
        executor.client.send("watch", worker=worker, stream="out", offset=end)
        end = executor.client.wait("grew", worker=worker)["end"]
    raise AssertionError(f"only {lines} in the log of {worker}")


_AS_NOBODY = """
import ctypes, os, sys
from rdagentd.executor.main import main
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Executor]:
    """An executor that runs as nobody (65534), in a directory that it can reach."""
    directory = Path("/tmp") / f"rdagentd-test-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o700)
    os.chown(directory, 65534, 65534)
    executor = Executor(directory)
    executor.uid = 65534
    executor.program = ["-c", _AS_NOBODY]  # imports first: nobody may not read every place that Python can be in
    executor.start()
    yield executor
    executor.stop()
    shutil.rmtree(directory)
