"""Requests on a socket: one connection, one request, and the engine gets what was decided on and nothing else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest

from rdagentd.dockerproxy import exchange, served
from tests.dockerproxy.conftest import Behind
from tests.dockerproxy.fake import EXEC, OTHER, OWN, RUN

CREATE = json.dumps({"Image": "a"}).encode()
EVIL = b"POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def head(line: str, *headers: str) -> bytes:
    """A head."""
    return "".join(f"{one}\r\n" for one in (f"{line} HTTP/1.1", "Host: docker", *headers, "")).encode()


@pytest.mark.parametrize(
    "data",
    [
        head("GET /v1.41/info", "Content-Length: 5") + b"hello",
        head("GET /v1.41/info", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("POST /v1.41/containers/create", "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + EVIL,
        head("POST /v1.41/containers/create", "Content-Length: 2", "Content-Length: 0") + EVIL,
        head("POST /v1.41/containers/create", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        head("POST /v1.41/containers/create", "Transfer-Encoding: chunked") + b"2;x=\n\r\n{}\r\n0\r\n\r\n",
        head("POST /v1.41/containers/create", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        head("POST /v1.41/containers/create", "Content-Length: 30") + b'{"Image": "a", "Image": "b"}  ',
        head("POST /v1.41/containers/create", "Content-Length: 99999999"),
        head("POST /v1.41/containers/create", f"X: {'a' * 70000}"),
        head("GET /v1.41/../containers/json"),
        head("GET //v1.41/info"),
        head("GET http://docker/v1.41/info"),
        head("GET /v1.41/info?all=1"),
        head("GET /v1.41/containers/json?all=1&all=0"),
        head("POST /v1.41/containers/json"),
        head(f"POST /v1.41/containers/{OWN}/attach", "Connection: Upgrade", "Upgrade: websocket"),
        head(f"POST /v1.41/containers/{OWN}/start", "Connection: Upgrade", "Upgrade: tcp"),
        head("POST /v1.41/session", "Connection: Upgrade", "Upgrade: h2c"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_hostile_is_answered_in_the_engines_words_and_never_reaches_it(behind: Behind, data: bytes) -> None:
    reply, _, body = behind.send(data).partition(b"\r\n\r\n")
    assert 400 <= int(reply.split()[1]) < 500
    assert b"Content-Type: application/json" in reply
    assert b"Connection: close" in reply
    assert json.loads(body)["message"].startswith("cannot ")
    assert behind.engine.got == []


def test_bytes_behind_a_request_are_no_request(behind: Behind) -> None:
    back = behind.send(head("GET /v1.41/info") + EVIL + EVIL)
    assert back.startswith(b"HTTP/1.1 200 ")
    assert back.count(b"HTTP/1.1") == 1
    assert [got.target for got in behind.engine.got] == ["/v1.41/info"]


def test_bytes_behind_a_body_are_no_request(behind: Behind) -> None:
    for framing, body in (("Content-Length: 4", b"data"), ("Transfer-Encoding: chunked", b"4\r\ndata\r\n0\r\n\r\n")):
        before = len(behind.engine.got)
        behind.send(head(f"PUT /v1.41/containers/{OWN}/archive?path=/", framing) + body + EVIL)
        assert [(got.method, got.body) for got in behind.engine.got[before:]] == [("PUT", b"data")]


def test_a_body_cannot_be_a_second_query(behind: Behind) -> None:
    body = b"networkmode=host&privileged=1"
    data = head("POST /v1.41/build", "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")
    behind.send(data + body)
    assert behind.engine.got[0].headers["content-type"] == "application/x-tar"
    behind.send(
        head("POST /v1.41/containers/create", "Content-Type: multipart/form-data", f"Content-Length: {len(CREATE)}")
        + CREATE
    )
    assert behind.engine.got[-1].headers["content-type"] == "application/json"


def test_only_headers_that_are_known_are_passed(behind: Behind) -> None:
    behind.send(
        head(
            "GET /v1.41/info",
            "User-Agent: me",
            "X-Registry-Auth: abc",
            "Cookie: x",
            "X-HTTP-Method-Override: POST",
            "TE: trailers",
        )
    )
    got = behind.engine.got[0].headers
    assert got == {"host": "docker", "user-agent": "me", "x-registry-auth": "abc", "connection": "close"}


def test_a_large_body_comes_through_chunk_by_chunk(behind: Behind) -> None:
    parts = [bytes([at % 256]) * (at * 977 % 70001 + 1) for at in range(60)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    behind.send(head("POST /v1.41/build", "Transfer-Encoding: chunked") + data)
    assert behind.engine.got[0].body == b"".join(parts)


def test_a_large_body_of_known_length_comes_through(behind: Behind) -> None:
    data = bytes(range(256)) * 20000
    behind.send(head(f"PUT /v1.41/containers/{OWN}/archive?path=/", f"Content-Length: {len(data)}") + data)
    assert behind.engine.got[0].body == data


def test_a_broken_chunk_ends_a_body_that_is_passed(behind: Behind) -> None:
    data = head("POST /v1.41/build", "Transfer-Encoding: chunked") + b"4\r\ndata\r\n4;\r\n"
    reply = behind.send(data)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"cannot read body" in reply
    assert behind.engine.got == []


@pytest.mark.parametrize("target", [f"/v1.41/containers/{OWN}/attach?stream=1&stdin=1", f"/v1.41/exec/{EXEC}/start"])
def test_an_upgraded_connection_is_raw_both_ways_and_each_side_closes_its_half(behind: Behind, target: str) -> None:
    headers = ["Connection: Upgrade", "Upgrade: tcp"]
    body = b""
    if "exec" in target:
        body = b"{}"
        headers.append("Content-Length: 2")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(behind.served.path))
        client.sendall(head(f"POST {target}", *headers) + body + b"early ")
        client.sendall(EVIL)
        client.shutdown(socket.SHUT_WR)
        back = b""
        while data := client.recv(65536):
            back += data
    reply, _, stream = back.partition(b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 101 UPGRADED")
    assert b"Upgrade: tcp" in reply
    assert stream == b"early " + EVIL + b"that was all"
    assert len(behind.engine.got) == 1


def test_what_follows_an_upgrade_that_the_engine_refuses_is_no_request(behind: Behind) -> None:
    # without "Upgrade: tcp" the engine of this test answers and would read on
    back = behind.send(head(f"POST /v1.41/containers/{OWN}/attach") + EVIL)
    assert back.startswith(b"HTTP/1.1 200 ")
    assert len(behind.engine.got) == 1


def test_a_request_for_anothers_container_says_so_and_goes_no_further(behind: Behind) -> None:
    for name in (OTHER, "theirs", "impostor"):
        answer = behind.ask("GET", f"/v1.41/containers/{name}/json")
        assert (answer.status, answer.message) == (403, f"cannot use container {name}: it does not belong to this run")
    assert behind.ask("GET", "/v1.41/containers/nobody/json").status == 404
    assert behind.engine.got == []


def test_an_engine_that_is_not_there_is_told(make: Callable[..., Behind]) -> None:
    behind = make()
    behind.engine.close()
    behind.engine.path.unlink()
    answer = behind.ask("GET", "/v1.41/info")
    assert answer.status == 503
    assert answer.message.startswith("cannot reach the Docker engine at ")


def test_a_client_that_says_nothing_is_let_go(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEAD_PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(behind.served.path))
        client.sendall(b"GET /v1.41/info HT")
        assert client.recv(100) == b""


def test_a_run_has_so_many_connections_and_no_more(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_CONNECTIONS", 2)
    held = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for one in held:
        one.connect(str(behind.served.path))
    with socket.socket(socket.AF_UNIX) as third:
        third.settimeout(20)
        third.connect(str(behind.served.path))
        assert third.recv(65536).startswith(b"HTTP/1.1 503 ")
    for one in held:
        one.close()


def test_closing_waits_until_a_create_has_its_answer(
    make: Callable[..., Behind], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = make()
    asked, go_on = threading.Event(), threading.Event()
    answer = behind.engine.answer

    def slowly(got: object) -> tuple[int, object]:
        if "/create" in got.target:  # type: ignore[attr-defined]
            asked.set()
            assert go_on.wait(20)
        return answer(got)  # type: ignore[arg-type]

    monkeypatch.setattr(behind.engine, "answer", slowly)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(behind.served.path))
        client.sendall(head("POST /v1.41/containers/create", f"Content-Length: {len(CREATE)}") + CREATE)
        assert asked.wait(20)
    closing = threading.Thread(target=behind.served.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive(), "a container could come into being after the run's containers were counted"
    go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert [got.document["Labels"]["rdagentd.run"] for got in behind.engine.got] == [RUN]
