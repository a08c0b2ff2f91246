"""The connection: one daemon at a time, and no bytes from it or unread by it do harm."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from rdagentd.executor.link import MAX_PATH, MAX_UNREAD
from rdagentd.executor.ops import OPERATIONS
from rdagentd.protocol.frames import MAX_FRAME, pack
from tests.executor.conftest import TIMEOUT, Client, Executor, lines_of, needs_root


def test_hello(executor: Executor) -> None:
    assert executor.client is not None
    hello = executor.client.ask("hello", "hello")
    assert hello["pid"] == executor.pid
    assert len(hello["epoch"]) == 32 and hello["version"] and hello["runs"] == [] and hello["exits"] == []


def test_exits_are_repeated_until_acknowledged(executor: Executor) -> None:
    ends = [executor.run("sh", "-c", f"exit {code}") for code in range(3)]
    for _ in range(2):
        assert executor.connect().ask("hello", "hello")["exits"] == ends
    client = executor.connect()
    client.send("ack", run=ends[1]["run"])
    client.send("ack", run=ends[1]["run"])
    client.send("ack", run="unknown")
    assert client.ask("hello", "hello")["exits"] == [ends[0], ends[2]]


def test_works_on_without_a_daemon(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn("sh", "-c", "echo x; sleep 0.1; exit 4")
    executor.client.wait("started", run=run)
    executor.client.close()
    client = executor.connect()
    exits = client.ask("hello", "hello")["exits"]
    if not exits:
        exits = [client.wait("exited", run=run)]
    assert exits[0]["code"] == 4


def test_a_new_connection_replaces_the_old(executor: Executor) -> None:
    old, executor.client = executor.client, None
    assert old is not None
    new = executor.connect()
    new.ask("ping", "pong")
    assert old.closed()
    old.close()
    new.ask("ping", "pong")


HOSTILE = {
    "no msgpack": struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
    "no map": struct.pack(">I", 1) + b"\x93"[:1],
    "too long": struct.pack(">I", MAX_FRAME + 1),
    "deep": struct.pack(">I", 5001) + b"\x81\xa1a" + b"\x91" * 4997 + b"\xc0",
    "array": struct.pack(">I", 3) + b"\x92\x01\x02",
    "huge array": struct.pack(">I", 8) + b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "text": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_bytes_that_are_no_request_close_the_connection(executor: Executor, what: str) -> None:
    assert executor.client is not None
    run = executor.spawn("sleep", "1000")
    executor.client.wait("started", run=run)
    executor.client.socket.sendall(HOSTILE[what])
    assert executor.client.closed()
    assert [entry["run"] for entry in executor.connect().ask("hello", "hello")["runs"]] == [run]


def test_noise(executor: Executor) -> None:
    source = random.Random(7)
    for _ in range(200):
        client = executor.connect()
        client.socket.sendall(source.randbytes(source.randrange(1, 400)))
    executor.connect().ask("ping", "pong")


WRONG = [
    {},
    {"op": None},
    {"op": 3},
    {"op": "nothing"},
    {"op": ["hello"]},
    {"op": "ping", "more": 1},
    {"op": "kill"},
    {"op": "kill", "run": 7},
    {"op": "kill", "run": "no-such-run"},
    {"op": "ack", "run": ""},
    {"op": "forget", "worker": ".."},
    {"op": "forget", "worker": "a/b"},
    {"op": "forget", "worker": "x" * 65},
    {"op": "forget", "worker": "nul\0"},
    {"op": "watch", "worker": "w", "stream": "../x", "offset": 0},
    {"op": "watch", "worker": "w", "stream": "out", "offset": -1},
    {"op": "watch", "worker": "w", "stream": [], "offset": 1},
]


@pytest.mark.parametrize("message", WRONG, ids=str)
def test_requests_that_are_refused(shared: Executor, message: dict[str, object]) -> None:
    assert shared.client is not None
    shared.client.socket.sendall(pack(message))
    refused = shared.client.wait("refused")
    assert refused["reason"].startswith("cannot do ")
    shared.client.ask("ping", "pong")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("worker", "../x"), ("worker", ".hidden"), ("worker", ""), ("run", "a/b"), ("argv", []), ("argv", [""]),
        ("argv", "x"), ("argv", [1]), ("env", {"A": 1}), ("env", []), ("uid", "0"), ("uid", -1), ("uid", 0xFFFFFFFF),
        ("groups", 5), ("umask", None), ("rlimits", {"RLIMIT_CPU": [1]}), ("log", {}),
        ("log", {"cap": -1, "segment": 1, "separate": False}), ("linger", -1), ("linger", float("nan")),
        ("linger", 1e300), ("linger", None), ("cwd", None),
    ],
)  # fmt: skip
def test_spawn_is_checked(shared: Executor, field: str, value: object) -> None:
    assert shared.client is not None
    shared.client.send("spawn", **shared.request("true", **{"run": "r"} | {field: value}))  # type: ignore[arg-type]
    refused = shared.client.wait("refused")
    assert field in refused["reason"] and refused["op"] == "spawn"
    shared.client.ask("ping", "pong")


def test_the_environment_is_not_told(shared: Executor) -> None:
    assert shared.client is not None
    shared.client.send("spawn", **shared.request("true", env={"KEY": "secret", "B": 1}))
    assert "secret" not in shared.client.wait("refused")["reason"]


def test_every_operation_survives_every_type(shared: Executor) -> None:
    assert shared.client is not None
    values = (None, True, -1, 1 << 60, 1.5, "", "x", b"\xff", [], [None], {}, {"x": None})
    for op, (fields, _) in OPERATIONS.items():
        if op not in ("reexec", "leave"):
            for value in values:
                shared.client.socket.sendall(pack({"op": op, **dict.fromkeys(fields, value)}))
    shared.client.ask("ping", "pong")


def test_a_daemon_that_does_not_read(executor: Executor) -> None:
    """It is dropped before the executor has grown much; the runs go on."""
    assert executor.client is not None
    run = executor.spawn("sh", "-c", "echo x; sleep 1000")
    lines_of(executor, 1)
    before = memory(executor.pid)
    name = "x" * 64
    frames = b"".join(pack({"op": "nothing", "run": name, "worker": name}) for _ in range(1000))
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            executor.client.socket.sendall(frames)
    assert memory(executor.pid) < before + 4 * MAX_UNREAD
    assert [entry["run"] for entry in executor.connect().ask("hello", "hello")["runs"]] == [run]


def memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError


@pytest.mark.parametrize("what", ["longer than 107 bytes", "is not a socket"])
def test_places_where_no_socket_can_be(idle: Executor, what: str) -> None:
    if what == "is not a socket":
        idle.path.write_text("precious")
    else:
        idle.path = idle.directory / ("x" * MAX_PATH)
    done = subprocess.run(idle.command, check=False, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1 and what in done.stderr.decode()
    assert idle.path.exists() == (what == "is not a socket")


def test_a_dead_socket_is_replaced(idle: Executor) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(idle.path))
    idle.start()
    assert idle.path.stat().st_mode & 0o777 == 0o600


@needs_root
def test_strangers_are_refused(executor: Executor) -> None:
    os.chmod(executor.path, 0o666)
    for parent in (executor.directory, *executor.directory.parents[:2]):
        os.chmod(parent, 0o755)
    stranger = Client(executor.path, 54321)
    assert stranger.closed()
    stranger.close()
    assert executor.client is not None
    executor.client.ask("ping", "pong")


@needs_root
def test_daemon_uid(idle: Executor) -> None:
    idle.arguments = ["--daemon-uid", "54321"]
    idle.start()
    assert idle.path.stat().st_uid == 54321
    for parent in (idle.directory, *idle.directory.parents[:2]):
        os.chmod(parent, 0o755)
    client = Client(idle.path, 54321)
    client.ask("ping", "pong")
    client.close()
