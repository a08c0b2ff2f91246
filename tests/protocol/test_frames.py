"""Frames: whatever the bytes and however they are cut, only messages or FrameError come out."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.protocol.frames import CONTAINERS_PER_ITEM, MAX_DEPTH, Decoder, FrameError, pack

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4), max_leaves=12
)
MESSAGES = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5)


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def fed_in_pieces(stream: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    decoder = Decoder()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found = [m for a, b in pairwise(edges) for m in decoder.feed(stream[a:b])]
    assert decoder.pending == 0
    return found


@given(MESSAGES, st.lists(st.integers(0, 2**20), max_size=20))
def test_a_valid_stream_reads_the_same_however_it_is_cut(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    stream = b"".join(map(pack, messages))
    assert fed_in_pieces(stream, cuts) == messages


@given(MESSAGES)
def test_a_valid_stream_reads_the_same_byte_by_byte(messages: list[dict[str, Any]]) -> None:
    stream = b"".join(map(pack, messages))
    assert fed_in_pieces(stream, list(range(len(stream)))) == messages


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_arbitrary_bytes_give_messages_or_a_frame_error(pieces: list[bytes]) -> None:
    decoder = Decoder(limit=4096)
    try:
        for piece in pieces:
            assert all(type(message) is dict for message in decoder.feed(piece))
            assert decoder.pending <= 4096 + 4
    except FrameError as error:
        assert str(error).startswith("cannot read frame: ")


@given(st.binary(max_size=200))
def test_an_arbitrary_body_gives_one_message_or_a_frame_error(body: bytes) -> None:
    try:
        (message,) = Decoder().feed(framed(body))
    except FrameError as error:
        assert str(error).startswith("cannot read frame: ")
    else:
        assert all(type(key) is str for key in message)


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.data())
def test_a_damaged_body_gives_a_message_or_a_frame_error(message: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(pack(message)[4:])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        (damaged,) = Decoder().feed(framed(bytes(body)))
    except FrameError:
        return
    assert type(damaged) is dict


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\x81\xa1a", "not msgpack"),
        (b"\x80\x80", "not msgpack"),
        (b"\x81\xa1a\xa1\xff", "not msgpack"),
        (b"\x81\xa1a\xc7\x00\x05", "extension type 5"),
        (b"\x81\xa1a\xd4\x05x", "not msgpack"),
        (b"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "not msgpack"),
        (b"\x90", "a map is expected, not list"),
        (b"\xc0", "a map is expected, not NoneType"),
        (b"\x07", "a map is expected, not int"),
        (b"\xc4\x00", "a map is expected, not bytes"),
        (b"\x81\x01\x01", "not msgpack"),
        (b"\x81\xc4\x01a\x01", "a key is not text"),
        (b"\x81\xa1a\x91\x81\xc5\x00\x01a\x01", "a key is not text"),
        (b"\xdf\xff\xff\xff\xff", "not msgpack"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "not msgpack"),
        (b"\x81\xa1a" + b"\x91" * 2000, "not msgpack"),
    ],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=f"cannot read frame: {reason}"):
        Decoder().feed(framed(body))


def test_the_size_is_refused_from_the_header_alone() -> None:
    decoder = Decoder(limit=100)
    assert decoder.feed(b"\0\0\0\x64") == []
    with pytest.raises(FrameError, match="101 bytes announced, at most 100"):
        Decoder(limit=100).feed(b"\0\0\0\x65")


def test_a_body_of_just_the_limit_is_read() -> None:
    frame = pack({"a": "x" * 100})
    assert Decoder(limit=len(frame) - 4).feed(frame) == [{"a": "x" * 100}]
    with pytest.raises(FrameError):
        Decoder(limit=len(frame) - 5).feed(frame)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_nesting_is_accepted_up_to_the_limit(wrap: Any) -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels - 1):
            value = wrap(value)
        return {"top": value}

    deepest = nested(MAX_DEPTH)
    assert Decoder().feed(pack(deepest)) == [deepest]
    with pytest.raises(FrameError, match=f"nested deeper than {MAX_DEPTH}"):
        Decoder().feed(pack(nested(MAX_DEPTH + 1)))


@pytest.mark.parametrize("of", [lambda n: [1] * n, lambda n: {str(i): 1 for i in range(n)}])
def test_items_are_accepted_up_to_the_limit(of: Any) -> None:
    assert Decoder(items=50).feed(pack({"a": of(50)})) == [{"a": of(50)}]
    with pytest.raises(FrameError):
        Decoder(items=50).feed(pack({"a": of(51)}))


@pytest.mark.parametrize("empty", [{}, []])
def test_arrays_and_maps_are_counted_all_together(empty: Any) -> None:
    most = 10 * CONTAINERS_PER_ITEM
    few = {"a": [[empty] * 10] * 6, "pad": "x" * most}
    assert Decoder(items=10).feed(pack(few)) == [few]
    many = {"a": [[empty] * 10] * 8, "pad": "x" * most}
    with pytest.raises(FrameError, match=f"more than {most} arrays and maps"):
        Decoder(items=10).feed(pack(many))


def test_small_bytes_do_not_become_large_memory() -> None:
    inner = b"\xdc\x3f\xff" + b"\x80" * 0x3FFF
    body = b"\x81\xa1a\xdc\x00\x3f" + inner * 0x3F
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            Decoder().feed(framed(body))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20  # a million maps would take 64 MiB


def test_a_stream_of_frames_leaves_nothing_behind() -> None:
    decoder = Decoder()
    frame = pack({"a": "x" * 1000})
    for _ in range(100):
        assert decoder.feed(frame + frame[:10]) == [{"a": "x" * 1000}]
        assert decoder.pending == 10
        assert decoder.feed(frame[10:]) == [{"a": "x" * 1000}]
        assert decoder.pending == 0


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_pack_writes_the_length_before_msgpack(message: dict[str, Any]) -> None:
    frame = pack(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert msgpack.unpackb(frame[4:]) == message
