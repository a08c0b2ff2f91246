"""Asking a server on this host whether it is well: by HTTP, or by a connection alone. Bounded in what is read."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

_MOST = 1 << 16
"""Bytes of an answer that are read: what it says stands in the first line, and a server that is heard out logs no error."""

_REST = 1.0
"""Seconds in which the rest of an answer may come."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([^\r\n]{0,80}))?")
"""RFC 9112, section 4."""

_OURS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT}
)
"""Errors that say something about the daemon and its sandbox, and nothing about who is asked."""


class CannotAskError(Exception):
    """Nobody was asked: the trouble is not the worker's, so it counts for nothing. str: why."""


Told = tuple[bool, str]
"""Whether it is well, and the answer in words."""


async def ask_tcp(address: str) -> Told:
    """Whether somebody accepts a connection at "127.0.0.1:6379". Raises CannotAskError, TimeoutError."""
    host, port = _split(address)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return False, _refused(error, address)
    writer.transport.abort()
    return True, f"{address} accepts connections"


async def ask_http(url: str, expect: Sequence[int], address: str) -> Told:
    """Whether GET `url` at this address has one of the status codes, none: 200 to 399. Raises CannotAskError, TimeoutError."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    host, port = _split(address)
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_MOST)
    except OSError as error:
        return False, _refused(error, address)
    try:
        head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: rdagentd\r\nAccept: */*\r\nConnection: close\r\n"
        writer.write(f"{head}\r\n".encode())
        line = await reader.readline()
        await _hear_out(reader)
    except (OSError, ValueError) as error:  # ValueError: a line without an end
        if isinstance(error, TimeoutError):
            raise
        return False, f"GET {url}: {'not HTTP' if isinstance(error, ValueError) else _words(error)}"
    finally:
        writer.transport.abort()
    return _judge(url, line, expect)


async def _hear_out(reader: asyncio.StreamReader) -> None:
    left = _MOST
    with suppress(TimeoutError):
        async with asyncio.timeout(_REST):
            while left > 0 and (data := await reader.read(left)):
                left -= len(data)


def _judge(url: str, line: bytes, expect: Sequence[int]) -> Told:
    if not line:
        return False, f"GET {url}: the connection was closed without an answer"
    found = _STATUS.match(line)
    if found is None:
        return False, f"GET {url}: the answer is not HTTP"
    code = int(found[1])
    words = "".join(
        letter for letter in (found[2] or b"").decode("latin-1") if letter.isascii() and letter.isprintable()
    )
    told = f"GET {url}: HTTP {code} {words}".rstrip()
    if code in expect if expect else 200 <= code < 400:
        return True, told
    return False, f"{told}, expected {', '.join(map(str, expect)) or '200 to 399'}"


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _refused(error: OSError, address: str) -> str:
    if isinstance(error, TimeoutError):
        raise error
    if error.errno in _OURS:
        raise CannotAskError(f"cannot ask {address}: {_words(error)}") from None
    return f"cannot connect to {address}: {_words(error)}"


def _words(error: OSError) -> str:
    text = errno.errorcode.get(error.errno or 0, "")
    return _WORDS.get(text) or error.strerror or type(error).__name__


_WORDS = {
    "ECONNREFUSED": "connection refused",
    "ECONNRESET": "the connection was reset",
    "EPIPE": "the connection was closed",
    "EADDRNOTAVAIL": "this host has no such address",
}
