"""Asking real servers: well ones, slow ones, and those that do what servers should not."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any

import pytest

from rdagentd.supervisor.asking import CannotAskError, Told, ask_http, ask_tcp

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def alone() -> None:
            await test(*args, **kwargs)

        asyncio.run(alone())

    return run


def says(text: bytes) -> Serve:
    """A server that reads the request, answers this and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        writer.close()

    return serve


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and never answers; ends when the other side does."""
    while await reader.read(4096):
        pass
    writer.close()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def server(serve: Serve, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Its address."""
    listening = await asyncio.start_server(serve, host, port)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        listening.close()


@contextmanager
def nobody() -> Iterator[int]:
    """A port of 127.0.0.1 on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def ask(serve: Serve, expect: tuple[int, ...] = (), host: str = "127.0.0.1", timeout: float = 30.0) -> Told:
    async with server(serve, host) as address, asyncio.timeout(timeout):
        ok, text = await ask_http(f"http://{address}/health?x=1", expect, address)
        return ok, text.replace(address, "HERE")


URL = "GET http://HERE/health?x=1"


@pytest.mark.parametrize(
    ("answer", "expect", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", (), (True, f"{URL}: HTTP 200 OK")),
        (b"HTTP/1.0 204\r\n\r\n", (), (True, f"{URL}: HTTP 204")),
        (b"HTTP/1.1 404 Not Found\r\n\r\nno", (), (False, f"{URL}: HTTP 404 Not Found, expected 200 to 399")),
        (b"HTTP/1.1 404 Not Found\r\n\r\nno", (404,), (True, f"{URL}: HTTP 404 Not Found")),
        (b"HTTP/1.1 200 OK\r\n\r\n", (201, 204), (False, f"{URL}: HTTP 200 OK, expected 201, 204")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", (200,), (False, f"{URL}: HTTP 302 Found, expected 200")),
        (b"HTTP/1.1 503 no \x1b[31mdatabase\r\n\r\n", (), (False, f"{URL}: HTTP 503 no [31mdatabase, expected 200 to 399")),
        (b"220 smtp.example.org ESMTP\r\n", (), (False, f"{URL}: the answer is not HTTP")),
        (b"x" * 100_000, (), (False, f"{URL}: not HTTP")),
    ],
)  # fmt: skip
@in_loop
async def test_the_status_says_how_it_is(answer: bytes, expect: tuple[int, ...], told: Told) -> None:
    assert await ask(says(answer), expect) == told


@in_loop
async def test_the_request_is_one_that_servers_know() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with server(serve) as address:
        await ask_http(f"http://{address}/health?x=1", (), address)
    assert heard == [
        b"GET /health?x=1 HTTP/1.1\r\nHost: " + address.encode() + b"\r\n"
        b"User-Agent: rdagentd\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ]


@in_loop
async def test_one_that_closes_without_a_word() -> None:
    assert await ask(closes) == (False, f"{URL}: the connection was closed without an answer")


@in_loop
async def test_one_that_hangs_is_left_at_the_timeout() -> None:
    with pytest.raises(TimeoutError):
        await ask(hangs, timeout=0.2)


@in_loop
async def test_one_that_never_ends_its_answer_has_answered() -> None:
    assert await ask(floods) == (True, f"{URL}: HTTP 200 OK")


@in_loop
async def test_nobody_there() -> None:
    with nobody() as port:
        address = f"127.0.0.1:{port}"
        assert await ask_http(f"http://{address}/", (), address) == (
            False,
            f"cannot connect to {address}: connection refused",
        )
        assert await ask_tcp(address) == (False, f"cannot connect to {address}: connection refused")


@in_loop
async def test_a_connection_is_enough_for_tcp() -> None:
    async with server(hangs) as address:
        assert await ask_tcp(address) == (True, f"{address} accepts connections")


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="no ::1 on this host")
@in_loop
async def test_a_server_of_ipv6_alone_is_asked_at_its_address() -> None:
    assert await ask(says(b"HTTP/1.1 200 OK\r\n\r\n"), host="::1") == (True, f"{URL}: HTTP 200 OK")
    with nobody() as port:
        async with server(hangs, "::1", port) as address:
            assert await ask_tcp(address) == (True, f"{address} accepts connections")
            other = f"127.0.0.1:{port}"
            assert await ask_tcp(other) == (False, f"cannot connect to {other}: connection refused")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EPERM, errno.EAFNOSUPPORT])
@in_loop
async def test_the_daemon_s_own_trouble_is_not_the_worker_s(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise OSError(number, "trouble of ours")

    monkeypatch.setattr(asyncio, "open_connection", fails)
    with pytest.raises(CannotAskError, match=r"cannot ask 127\.0\.0\.1:1: trouble of ours"):
        await ask_tcp("127.0.0.1:1")
    with pytest.raises(CannotAskError):
        await ask_http("http://127.0.0.1:1/", (), "127.0.0.1:1")
