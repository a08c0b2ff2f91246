"""Heads of HTTP/1.1 messages, read strictly: what two programs could read in two ways is refused. No I/O here.

RFC 9112 is the source; where it lets a recipient choose, the choice is to refuse. Only what the engine's clients send is
understood: origin-form targets, one header of each name, no folding, one framing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rdagentd.dockerproxy.refusal import RefusedError, invalid

MAX_HEAD = 64 << 10
"""Longest head in bytes; X-Registry-Config holds the credentials of many registries."""

MAX_HEADERS = 64

_REQUEST = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.1")
_STATUS = re.compile(r"HTTP/1\.1 ([1-5][0-9][0-9])(?: ([ -~]*))?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Request:
    """A request without its body. headers: by their names in small letters; length: of the body, None if it is chunked."""

    method: str
    target: str
    headers: Mapping[str, str]
    length: int | None

    @property
    def upgrades(self) -> bool:
        """Whether the client asks for a raw connection. Raises RefusedError for any other protocol than the engine's `tcp`."""
        protocol = self.headers.get("upgrade")
        words = {word.strip().lower() for word in self.headers.get("connection", "").split(",")} - {""}
        if not words <= {"upgrade", "close", "keep-alive"}:
            raise invalid(f"cannot read request: Connection: {self.headers['connection']!r} is not understood")
        if protocol is None and "upgrade" not in words:
            return False
        if protocol is None or protocol.lower() != "tcp" or "upgrade" not in words:
            raise invalid(f"cannot upgrade to {protocol!r}: only Connection: Upgrade with Upgrade: tcp is passed")
        return True


@dataclass(frozen=True)
class Response:
    """A response without its body."""

    status: int
    reason: str
    headers: Mapping[str, str]


def parse_request(head: bytes) -> Request:
    """Reads a request's head, given without the empty line. Raises RefusedError."""
    lines = _lines(head)
    found = _REQUEST.fullmatch(lines[0])
    if found is None:
        raise invalid("cannot read request: the first line is not METHOD /path HTTP/1.1")
    headers = _headers(lines[1:])
    if "host" not in headers:
        raise invalid("cannot read request: there is no Host")
    if "expect" in headers:
        raise RefusedError(
            417, f"cannot read request: Expect: {headers['expect']!r} is not supported; send the body at once"
        )
    return Request(found[1], found[2], headers, _length(headers))


def parse_response(head: bytes) -> Response:
    """Reads a response's head, given without the empty line. Raises RefusedError."""
    lines = _lines(head)
    found = _STATUS.fullmatch(lines[0])
    if found is None:
        raise invalid("cannot read reply: the first line is not HTTP/1.1 and a status")
    headers = _headers(lines[1:])
    _length(headers)
    return Response(int(found[1]), found[2] or "", headers)


def write_head(first: str, headers: Mapping[str, str]) -> bytes:
    """A head with its empty line, ready to send."""
    return "".join((first, "\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n")).encode(
        "ascii"
    )


def _lines(head: bytes) -> list[str]:
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        raise invalid("cannot read message: a byte of the head is not ASCII") from None
    lines = text.split("\r\n")
    if len(lines) > MAX_HEADERS:
        raise RefusedError(431, f"cannot read message: more than {MAX_HEADERS} headers")
    return lines


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise invalid(f"cannot read message: {line[:80]!r} is not a header")
        name = found[1].lower()
        if name in headers:
            raise invalid(f"cannot read message: header {name} stands there twice")
        headers[name] = found[2].rstrip(" \t")
    return headers


def _length(headers: Mapping[str, str]) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise invalid("cannot read message: it has both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked":
            raise invalid(f"cannot read message: Transfer-Encoding: {coding!r} is not chunked")
        return None
    if length is not None and _LENGTH.fullmatch(length) is None:
        raise invalid(f"cannot read message: Content-Length: {length!r} is not a number")
    return int(length or 0)
