"""Chunked bodies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rdagentd.dockerproxy.chunks import Chunks
from rdagentd.dockerproxy.refusal import RefusedError

HOSTILE = {
    "an extension": b"1;a=b\r\nx\r\n0\r\n\r\n",
    "a trailer": b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a sign": b"+1\r\nx\r\n0\r\n\r\n",
    "0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "a space": b"1 \r\nx\r\n0\r\n\r\n",
    "nothing": b"\r\nx\r\n0\r\n\r\n",
    "LF alone": b"1\nx\n0\n\n",
    "LF after the data": b"1\r\nx\n0\r\n\r\n",
    "CR alone": b"1\rx\r\n0\r\n\r\n",
    "no end of the data": b"1\r\nxx\r\n0\r\n\r\n",
    "a huge size": b"fffffffff\r\nx",
    "an underscore": b"1_0\r\nx",
    "a wide digit": b"\xef\xbc\x91\r\nx\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_wrong_chunk_is_refused(body: bytes, step: int) -> None:
    chunks = Chunks()
    with pytest.raises(RefusedError, match=r"^cannot read body"):
        for at in range(0, len(body), step):
            chunks.feed(memoryview(body[at : at + step]))
    assert not chunks.done


def reference(data: bytes) -> bytes | None:
    """The body in these bytes by the grammar of RFC 9112 without its options; None if it is no whole body."""
    body = b""
    while True:
        size = re.match(rb"([0-9a-fA-F]{1,8})\r\n", data)
        if size is None:
            return None
        length, data = int(size[1], 16), data[size.end() :]
        if not length:
            return body if data.startswith(b"\r\n") else None
        if data[length : length + 2] != b"\r\n":
            return None
        body, data = body + data[:length], data[length + 2 :]


PIECE = some.one_of(
    some.binary(max_size=20).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
    some.sampled_from([b"0\r\n", b"\r\n", b"0\r\n\r\n", b"5\r\n", b"1;", b"\n", b"00", b"a"]),
)


@given(some.lists(PIECE, max_size=8).map(b"".join), some.integers(1, 9))
def test_what_is_taken_is_what_the_grammar_says_however_it_arrives(data: bytes, step: int) -> None:
    chunks, body = Chunks(), b""
    try:
        for at in range(0, len(data), step):
            body += b"".join(bytes(piece) for piece in chunks.feed(memoryview(data[at : at + step])))
    except RefusedError:
        assert reference(data) is None
        return
    assert reference(data) == (body if chunks.done else None)
