"""Heads: one reading or none."""

from __future__ import annotations

import email.parser

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rdagentd.dockerproxy.heads import MAX_HEADERS, parse_request, parse_response, write_head
from rdagentd.dockerproxy.refusal import RefusedError

HOSTILE = {
    "bare LF": b"GET / HTTP/1.1\nHost: a",
    "bare LF in a value": b"GET / HTTP/1.1\r\nHost: a\nX: b",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: b",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: b",
    "host twice": b"GET / HTTP/1.1\r\nHost: a\r\nhost: a",
    "length twice": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1",
    "length as a list": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1",
    "length with a sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1",
    "length below nothing": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
    "length in hex": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1",
    "length with digits of others": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u0661".encode(),
    "both framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    "two codings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked",
    "an unknown coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity",
    "a coding that looks alike": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,",
    "coding twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: chunked",
    "absolute form": b"GET http://docker/info HTTP/1.1\r\nHost: a",
    "authority form": b"CONNECT docker:80 HTTP/1.1\r\nHost: a",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a",
    "another version": b"GET / HTTP/1.0\r\nHost: a",
    "no version": b"GET /\r\nHost: a",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a",
    "a tab": b"GET\t/ HTTP/1.1\r\nHost: a",
    "small letters": b"get / HTTP/1.1\r\nHost: a",
    "an empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a",
    "no host": b"GET / HTTP/1.1\r\nX: a",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\0b",
    "not ASCII": b"GET / HTTP/1.1\r\nHost: \xff",
    "too many": b"GET / HTTP/1.1\r\nHost: a" + b"".join(b"\r\nX%d: a" % at for at in range(MAX_HEADERS)),
    "expect": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue",
}


@pytest.mark.parametrize("head", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(RefusedError, match=r"^cannot ") as refused:
        parse_request(head)
    assert 400 <= refused.value.status < 500


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("", False),
        ("Connection: close", False),
        ("Connection: Upgrade\r\nUpgrade: tcp", True),
        ("Connection: Upgrade\r\nUpgrade: h2c", None),
        ("Connection: Upgrade\r\nUpgrade: tcp, h2c", None),
        ("Connection: Upgrade", None),
        ("Upgrade: tcp", None),
        ("Connection: Upgrade, Content-Length\r\nUpgrade: tcp", None),
    ],
)
def test_only_the_engines_own_upgrade_is_one(lines: str, answer: bool | None) -> None:
    request = parse_request("\r\n".join(filter(None, ["POST / HTTP/1.1", "Host: a", lines])).encode())
    if answer is None:
        with pytest.raises(RefusedError, match=r"^cannot "):
            _ = request.upgrades
    else:
        assert request.upgrades is answer


LINE = some.one_of(
    some.sampled_from(
        [
            "Host: a",
            "Content-Length: 5",
            "content-length: 5",
            "Transfer-Encoding: chunked",
            "X: y",
            " z",
            "A:b",
            "A :b",
            "",
        ]
    ),
    some.text("HostTransfer-EncodigLph: \t015,;chunked\r\n\0\x7f\u0131", max_size=20),
)


@given(
    some.sampled_from(["GET /a HTTP/1.1", "POST /b?c=d HTTP/1.1", "GET /a HTTP/1.1 ", "GET /a b HTTP/1.1"]),
    some.lists(LINE, max_size=6),
    some.sampled_from(["\r\n", "\n", "\r"]),
)
def test_a_head_that_is_taken_has_one_reading(first: str, lines: list[str], end: str) -> None:
    head = "\r\n".join([first, *lines[:3]]) + end + end.join(lines[3:])
    try:
        request = parse_request(head.encode())
    except RefusedError:
        return
    lenient = email.parser.HeaderParser().parsestr(
        head.partition("\r\n")[2] + "\r\n\r\n"
    )  # folds, LF alone, twice the same
    assert [name.lower() for name in lenient] == list(request.headers)
    assert all((lenient[name] or "").strip(" \t") == value for name, value in request.headers.items())
    again = parse_request(write_head(head.partition("\r\n")[0], request.headers)[:-4])
    assert again == request


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 20 OK", b"HTTP/2 200", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b""]
)
def test_the_engines_reply_is_read_as_strictly(head: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_response(head)


def test_an_ordinary_reply_is_read() -> None:
    response = parse_response(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp")
    assert (response.status, response.reason, response.headers["upgrade"]) == (101, "UPGRADED", "tcp")
