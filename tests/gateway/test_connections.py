"""Clients that are slow, silent, greedy or too many: each by itself, with the times made short."""

from __future__ import annotations

import select
import socket
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from rdagentd.gateway import app, connections
from rdagentd.gateway.access import Role, needs
from rdagentd.gateway.connections import is_local
from tests.gateway.client import FakeLink, Serve, ask
from tests.harness import DEADLINE, eventually

HEAD = b"GET /small HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 64 << 20


@needs(Role.NONE)
async def small(request: web.Request) -> web.Response:
    return web.Response(text="small")


@needs(Role.NONE)
async def large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(LARGE >> 20):
        await response.write(bytes(1 << 20))
    return response


@needs(Role.NONE)
async def takes(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


@needs(Role.NONE)
async def counts(request: web.Request) -> web.StreamResponse:
    """Says after each piece of the body how much it has."""
    response, total = web.StreamResponse(), 0
    await response.prepare(request)
    async for piece in request.content.iter_any():
        total += len(piece)
        await response.write(f"{total} ".encode())
    return response


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short times, and three handlers."""
    module = ModuleType("parts")
    module.routes = lambda link, settings: [  # type: ignore[attr-defined]
        web.get("/small", small),
        web.get("/large", large),
        web.post("/takes", takes),
        web.post("/counts", counts),
    ]
    monkeypatch.setattr(app, "MODULES", (module,))
    for name in ("HEAD", "IDLE", "BODY", "UNREAD"):
        monkeypatch.setattr(connections, name, 3600.0)


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    made = socket.create_connection((str(parts.hostname), int(parts.port or 0)))
    made.settimeout(DEADLINE)
    return made


def heard(connection: socket.socket, end: bytes) -> bool:
    """Whether an answer comes that ends so."""
    got = b""
    while not got.endswith(end):
        data = connection.recv(1 << 16)
        if not data:
            return False
        got += data
    return True


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other end closes, or resets."""
    got = b""
    try:
        while data := connection.recv(1 << 20):
            got += data
    except ConnectionError:
        pass
    connection.close()
    return got


def test_a_head_that_does_not_end_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.2)
    connection = connect(serve(FakeLink()))
    connection.sendall(HEAD)
    assert rest(connection) == b""


def test_who_lies_idle_is_closed_after_an_answer_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.2)
    url = serve(FakeLink())
    assert rest(connect(url)) == b""
    monkeypatch.setattr(connections, "IDLE", 3600.0)
    connection = connect(url)
    connection.sendall(b"POST /takes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert heard(connection, b" 100 Continue\r\n\r\n")
    monkeypatch.setattr(connections, "IDLE", 0.2)  # not before: we may be slower than that
    connection.sendall(b"1234")
    assert rest(connection).endswith(b"\r\n\r\n4")


def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY", 0.2)
    connection = connect(serve(FakeLink()))
    connection.sendall(b"POST /takes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1234")
    assert b"200 OK" not in rest(connection)


@pytest.mark.parametrize("body", [b"xyz\r\n", b"-1\r\n\r\n", b"fffffffffffffffffff\r\n"])
@pytest.mark.parametrize("waited_for", [False, True])
def test_a_body_that_is_not_as_its_head_says_is_no_defect_of_ours(
    serve: Serve, caplog: pytest.LogCaptureFixture, body: bytes, waited_for: bool
) -> None:
    """It comes with its head, or when somebody waits for it."""
    connection = connect(serve(FakeLink()))
    head = b"POST /takes HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    if waited_for:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert heard(connection, b" 100 Continue\r\n\r\n")
        connection.sendall(body)
    else:
        connection.sendall(head + b"\r\n" + body)
    assert connection.recv(1 << 16)[8:13] == b" 400 "
    connection.close()
    assert "defect" not in caplog.text


def test_the_time_for_a_body_is_over_with_the_body(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY", 0.2)
    monkeypatch.setattr(connections, "SLOWEST", 1000)  # what comes in pieces may come slowly
    url = serve(FakeLink())
    connection = connect(url)
    for _ in range(2):
        connection.sendall(b"POST /takes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n1234")
        assert heard(connection, b"\r\n\r\n4")
        assert ask(url, "/takes", "POST", b"x" * 100_000).text == "100000"
    connection.close()


def test_who_does_not_read_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD", 0.2)
    url = serve(FakeLink(metrics={"families": []}))
    connection = connect(url)
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def gave_up() -> bool:
        return "rdagentd_http_connections 1.0" in ask(url, "/metrics").text

    eventually(gave_up, "the connection to be closed")
    assert len(rest(connection)) < LARGE


def test_who_reads_slowly_gets_it_all(serve: Serve) -> None:
    assert len(ask(serve(FakeLink()), "/large").body) == LARGE


def test_who_has_been_idle_longest_makes_room_for_the_next(serve: Serve) -> None:
    url = serve(FakeLink(), connections=16)
    idle = [connect(url) for _ in range(16)]
    for connection in idle:
        connection.sendall(HEAD)
    new = [connect(url) for _ in range(3)]
    for connection in new:
        connection.sendall(HEAD + b"\r\n")
        assert heard(connection, b"small")
    assert rest(idle[0]) == rest(idle[1]) == rest(idle[2]) == b""
    idle[-1].sendall(b"\r\n")
    assert heard(idle[-1], b"small"), "the youngest was spared"
    for connection in (*idle[3:], *new):
        connection.close()


def test_where_all_are_busy_the_next_is_told_to_come_again(serve: Serve) -> None:
    url = serve(FakeLink(), connections=16)
    busy = [connect(url) for _ in range(16)]
    for connection in busy:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4).startswith(b"HTTP")
    refused = ask(url, "/small")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    for connection in busy:
        connection.close()
    eventually(lambda: ask(url, "/small").status == 200, "room again")


def test_one_address_of_another_host_has_only_so_many(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "is_local", lambda address: False)
    url = serve(FakeLink(), connections_per_peer=4)
    few = [connect(url) for _ in range(4)]
    assert ask(url, "/small").status == 503
    few.pop().close()
    eventually(lambda: ask(url, "/small").status == 200, "room again")
    for connection in few:
        connection.close()


def test_a_few_pipelined_requests_are_answered_and_thousands_are_not_taken_in(serve: Serve) -> None:
    url = serve(FakeLink())
    connection = connect(url)
    connection.sendall((HEAD + b"\r\n") * 49 + HEAD + b"Connection: close\r\n\r\n")
    assert rest(connection).count(b"small") == 50
    connection = connect(url)
    connection.setblocking(False)
    taken, million = 0, memoryview(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000_000)
    try:
        while taken < len(million) and select.select([], [connection], [], 1)[1]:
            taken += connection.send(million[taken : taken + (1 << 20)])
    except ConnectionError:
        pass  # with aiohttp 3.8 we hang up, newer ones stop reading
    assert taken < len(million), "a million requests were taken in"
    connection.close()


def test_bodies_of_all_together_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HELD", 1 << 20)
    url = serve(FakeLink())
    head = b"POST /counts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 700000\r\n\r\n"
    first, second = connect(url), connect(url)
    first.sendall(head + bytes(600_000))
    assert heard(first, b"600000 \r\n")
    second.sendall(head)
    with pytest.raises(ConnectionError):
        for _ in range(7):
            second.sendall(bytes(100_000))
            assert ask(url, "/small").text == "small"
    first.sendall(bytes(100_000))
    assert heard(first, b"700000 \r\n0\r\n\r\n"), "who came first is served"
    first.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_what_is_of_this_host_alone_is_known(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "localhost"])
def test_what_is_not_of_this_host_alone_is_known(address: str) -> None:
    assert not is_local(address)
