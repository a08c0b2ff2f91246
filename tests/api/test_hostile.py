"""Clients that mean harm, or do not know better: an answer or a closed connection, never a daemon that stalls or grows."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdagentd.api.server import IN_FLIGHT, MAX_CONNECTIONS
from rdagentd.api.table import OPERATIONS
from rdagentd.protocol import frames
from rdagentd.protocol.errors import CODES, INTERNAL
from tests.harness import Client, LiveDaemon, eventually

TEXT = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
SELECTS = st.fixed_dictionaries(
    {},
    optional={"names": st.lists(TEXT | st.sampled_from(["*", "[", "w-*", "?"])), "labels": st.dictionaries(TEXT, TEXT)},
)
KEYS = ["name", "command", "timeout", "restart", "stop", "log", "limits", "labels", "environment", "queue", "directory"]
SPECS = st.dictionaries(st.sampled_from(KEYS) | TEXT, VALUES, max_size=4)
DOCUMENTS = st.lists(
    st.fixed_dictionaries({}, optional={"where": TEXT, "base": st.none() | TEXT, "document": SPECS}) | SPECS, max_size=2
)
LIKELY = {"select": SELECTS, "spec": SPECS, "documents": DOCUMENTS, "name": TEXT, "until": st.just("rest")}
HARMLESS = sorted(set(OPERATIONS) - {"drain"})


def requests(op: str) -> st.SearchStrategy:
    """Arguments that are nearly right, and such as are not."""
    known = {name: LIKELY.get(name, VALUES) | VALUES for name in OPERATIONS[op].args}
    return st.fixed_dictionaries({}, optional=known) | st.dictionaries(TEXT, VALUES, max_size=3) | VALUES


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def sockets(pid: int) -> int:
    """Sockets that a process holds. (Its files may become more: SQLite opens some when they are first read.)"""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(entry).startswith("socket:")
    return count


def pid_of(host: LiveDaemon) -> int:
    assert host.process is not None
    return host.process.pid


def hung_up(connection: socket.socket) -> bytes:
    """All that still comes until the daemon closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            data += chunk
    return data


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", HARMLESS)
def test_any_arguments_get_an_answer(host: LiveDaemon, op: str) -> None:
    client = host.connect()
    client.socket.settimeout(20)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests(op))
    def attempt(args: object) -> None:
        client._number += 1
        number = client._number
        client.socket.sendall(frames.pack({"v": 1, "id": number, "op": op, "args": args}))
        cancel = client.send("cancel", id=number)  # a stream or a wait may go on for ever
        missing = {number, cancel}
        while missing:
            message = client.receive()
            assert message["id"] in (number, cancel)
            if "error" in message and message["id"] == number:
                assert message["error"]["code"] in CODES and message["error"]["code"] != INTERNAL, message
                assert message["error"]["message"].startswith("cannot ")
                assert "Traceback" not in message["error"]["message"]
            if "item" not in message:
                missing.discard(message["id"])

    attempt()
    assert client.call("ping")["pid"]
    client.close()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({}, "id must be a number or a short text"),
        ({"id": [1], "v": 1, "op": "ping"}, "id must be a number or a short text"),
        ({"id": "x" * 129, "v": 1, "op": "ping"}, "id must be a number or a short text"),
        ({"id": 1, "op": "ping"}, "protocol"),
        ({"id": 1, "v": 2, "op": "ping"}, "protocol 2"),
        ({"id": 1, "v": 1}, "unknown operation"),
        ({"id": 1, "v": 1, "op": ["ping"]}, "unknown operation 'list'"),
        ({"id": 1, "v": 1, "op": "pign"}, "unknown operation 'pign'"),
        ({"id": 1, "v": 1, "op": "ping", "extra": 1}, "unknown field 'extra'"),
        ({"id": 1, "v": 1, "op": "ping", "args": 5}, "args must be a map"),
        ({"id": 1, "v": 1, "op": "ping", "args": {"x": 1}}, "unknown argument 'x'"),
        ({"id": 1, "v": 1, "op": "cancel", "args": {}}, "cannot cancel"),
        ({"id": 1, "v": 1, "op": "cancel", "args": {"id": {}}}, ""),
    ],
)
def test_a_request_that_is_none_is_answered_and_the_connection_stays(client: Client, message: dict, words: str) -> None:
    client.socket.sendall(frames.pack(message))
    answer = client.receive()
    if words:
        assert answer["error"]["code"] == "invalid" and words in answer["error"]["message"]
    assert client.call("ping")["pid"]


# --- frames -----------------------------------------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    return b"\x81\xa1a" * levels + b"\xc0"


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def bad_frame(rng: random.Random) -> bytes:
    """A frame with which something is wrong. (Often it is only half there.)"""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 60))
    if kind == 1:
        return (1 << 20 | rng.randrange(1, 1 << 30)).to_bytes(4, "big") + b"x" * rng.randrange(20)
    if kind == 2:
        return framed(frames.pack({"v": 1, "id": 1, "op": "status"})[4:])[: rng.randrange(1, 30)]
    if kind == 3:
        return framed(deep(rng.randrange(20, 2000)))
    if kind == 4:
        return framed(rng.choice([b"\xc0", b"\x93\x01\x02\x03", b"\xa3abc", b"\x01", b"", b"\xc1", b"\xc7\x01\x05x"]))
    if kind == 5:
        return framed(b"\xdd\xff\xff\xff\xff")  # an array of four thousand million
    if kind == 6:
        return framed(b"\x81\xc4\x01a\x01")  # a key of bytes
    if kind == 7:
        return framed(b"\xdc\x40\x01" + b"\x90" * 16385)
    if kind == 8:
        return frames.pack({"v": rng.random(), "id": rng.randrange(99), "op": rng.choice(["ping", "x"]), "args": [1]})
    return frames.pack({"v": 1, "id": 1, "op": "status", "args": {"select": {"names": ["n" * rng.randrange(2000)]}}})


def attack(host: LiveDaemon, rng: random.Random, count: int) -> None:
    """Sends bad frames over many connections; some of them are left open for a while."""
    kept: list[socket.socket] = []
    client = host.connect()
    for number in range(count):
        if number % 50 == 0:
            client.call("ping")  # so that the connections of one moment are as many as in the next
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(host.socket))
        connection.settimeout(20)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(bad_frame(rng))
        if rng.random() < 0.2:
            kept.append(connection)
        else:
            connection.close()
        if len(kept) > 50:
            kept.pop(rng.randrange(len(kept))).close()
    for connection in kept:
        connection.close()


def test_ten_thousand_bad_frames_leave_a_daemon_that_answers_and_has_not_grown(host: LiveDaemon, seeded) -> None:
    attack(host, seeded, 5000)  # until the allocator has seen the worst moments; from there on only a leak would grow
    client = host.connect()
    client.call("ping")
    before = rss(pid_of(host))
    attack(host, seeded, 10_000)
    assert client.call("ping")["problem"] is None
    assert rss(pid_of(host)) - before < 4 << 20
    eventually(lambda: sockets(pid_of(host)) < 60, "the connections to be gone")
    assert "Traceback" not in host.said()


def test_a_frame_that_is_none_is_told_and_ends_the_connection(client: Client) -> None:
    client.socket.sendall(framed(b"\xc1"))
    (message,) = frames.Decoder().feed(hung_up(client.socket))
    assert message["error"]["code"] == "invalid" and message["error"]["message"].startswith("cannot read frame")


# --- many -------------------------------------------------------------------------------------------------------------


def test_five_hundred_idle_connections_do_not_stop_the_next(host: LiveDaemon) -> None:
    idle = []
    try:
        for _ in range(500):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(host.socket))
            idle.append(connection)
        assert host.connect().call("ping")["pid"]
    finally:
        for connection in idle:
            connection.close()
    assert MAX_CONNECTIONS > 501


def test_more_clients_than_descriptors_allow_are_told_so(host: LiveDaemon) -> None:
    assert host.process is not None
    eventually(lambda: sockets(pid_of(host)) < 40, "the connections of other tests to be gone")
    whole = resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, (100, whole[1]))
    held = [host.connect() for _ in range(60)]
    error = held[-1].receive()["error"]
    assert (error["code"], error["message"]) == (
        "over_capacity",
        "cannot serve: 50 clients are connected; try again later",
    )
    assert held[0].call("ping")["pid"]
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, whole)
    for client in held:
        client.close()
    assert host.connect().call("ping")["pid"]


def test_a_daemon_without_a_descriptor_left_waits_for_one(host: LiveDaemon) -> None:
    assert host.process is not None
    whole = resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE)
    before = host.said().count("accept")
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, (4, whole[1]))
    waiting = [host.connect() for _ in range(20)]
    eventually(lambda: host.said().count("accept() out of system resource") > before, "lack of descriptors")
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, whole)
    assert all(client.call("ping")["pid"] for client in waiting)
    assert host.said().count("accept() out of system resource") - before < 20
    for client in waiting:
        client.close()


def test_a_thousand_requests_in_one_write_are_all_answered(client: Client) -> None:
    batch = b"".join(frames.pack({"v": 1, "id": number, "op": "status"}) for number in range(1000))
    client.socket.sendall(batch)
    assert sorted(client.receive()["id"] for _ in range(1000)) == list(range(1000))


def test_a_client_that_asks_much_and_reads_nothing_holds_up_only_itself(host: LiveDaemon) -> None:
    other = host.connect()
    names = [f"bulk-{number:03d}" for number in range(300)]
    spec = {"command": ["/bin/true", "x" * 2000]}
    for request in [other.send("submit", spec={"name": name, **spec}, start=False) for name in names]:
        other.answer(request)
    greedy = host.connect()
    greedy.socket.setblocking(False)
    batch = b"".join(frames.pack({"v": 1, "id": number, "op": "status"}) for number in range(500))
    before, sent, blocked = rss(pid_of(host)), 0, 0
    while blocked < 50 and sent < len(batch) * 100:  # until the daemon reads no more
        try:
            sent += greedy.socket.send(batch)
            blocked = 0
        except BlockingIOError:
            blocked += 1
            other.call("ping")
    assert blocked, "the daemon stops reading"
    assert rss(pid_of(host)) - before < 24 << 20, "an answer has 700 KB; what was read of the requests is bounded too"
    assert "does not read" not in host.said()
    greedy.close()
    other.verb("remove", "bulk-*")


def test_requests_that_wait_are_bounded_and_the_rest_follows(client: Client, host: LiveDaemon) -> None:
    client.submit("held", "/bin/sleep", "1000")
    select = {"names": ["held"]}
    waits = [client.send("wait", select=select) for _ in range(IN_FLIGHT)]
    behind = client.send("ping")
    with pytest.raises(TimeoutError):
        client.socket.settimeout(0.3)
        client.receive()
    client.socket.settimeout(20)
    host.connect().verb("stop", "held")
    assert {client.receive()["id"] for _ in range(IN_FLIGHT + 1)} == {*waits, behind}


def test_what_is_cancelled_ends_although_it_has_hardly_begun(client: Client) -> None:
    client.submit("cancelled", "/bin/sleep", "1000")
    client.wait("cancelled", until="running")
    batch = [
        {"v": 1, "id": "s", "op": "logs", "args": {"name": "cancelled", "follow": True}},
        {"v": 1, "id": "c1", "op": "cancel", "args": {"id": "s"}},
        {"v": 1, "id": "w", "op": "wait", "args": {"select": {"names": ["cancelled"]}}},
        {"v": 1, "id": "c2", "op": "cancel", "args": {"id": "w"}},
        {"v": 1, "id": "c3", "op": "cancel", "args": {"id": "nothing"}},
    ]
    client.socket.sendall(b"".join(map(frames.pack, batch)))
    answers = {message["id"]: message for message in (client.receive() for _ in batch)}
    assert answers["s"] == {"id": "s", "end": True}
    assert answers["w"]["error"]["message"] == "cannot go on: the request was cancelled"
    assert [answers[c]["result"]["cancelled"] for c in ("c1", "c2", "c3")] == [True, True, False]
    client.verb("kill", "cancelled")
    client.wait("cancelled")


def test_a_client_that_goes_while_it_follows_leaves_nothing_behind(host: LiveDaemon, client: Client) -> None:
    client.submit("silent", "/bin/sleep", "1000")
    client.wait("silent", until="running")
    before = sockets(pid_of(host))
    for op, args in (("logs", {"name": "silent"}), ("events", {}), ("wait", {"select": {"names": ["silent"]}})):
        follower = host.connect()
        follower.send(op, **args, **({"follow": True} if op != "wait" else {}))
        follower.call("ping") if op == "wait" else follower.send("ping")
        follower.close()
    eventually(lambda: sockets(pid_of(host)) <= before, "the connections to be gone")
    client.verb("kill", "silent")
    client.wait("silent")


def test_a_client_that_has_shut_down_its_side_still_gets_its_answers(host: LiveDaemon, client: Client) -> None:
    client.submit("half", "/bin/sleep", "1000")
    half = host.connect()
    request = half.send("wait", select={"names": ["half"]})
    half.socket.shutdown(socket.SHUT_WR)
    client.verb("kill", "half")
    assert half.answer(request)[0]["state"] == "stopped"
    assert hung_up(half.socket) == b""
