"""Bytes of a terminal become keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.top.keys import Keys

KNOWN = {
    b"a": ["a"],
    b"N": ["N"],
    "ü日".encode(): ["ü", "日"],
    b"\x1b[A\x1b[B": ["up", "down"],
    b"\x1bOA\x1bOH": ["up", "home"],
    b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~": ["page up", "page down", "home", "end"],
    b"\r": ["enter"],
    b"\x7f\x08\x15\x0c": ["backspace", "backspace", "clear", "redraw"],
    b"\x1bq": ["escape", "q"],
    b"\x1b\x1b[A": ["escape", "up"],
    b"\x1b[1;5A\x1b[200~x": ["x"],
    b"\x00\x01\t": [],
    b"\xff": ["\ufffd"],
    b"\x1b[" + b"1" * 40: ["1"] * 10,
}


@pytest.mark.parametrize("data", KNOWN)
def test_what_is_sent_is_known(data: bytes) -> None:
    keys = Keys()
    assert keys.feed(data) == KNOWN[data]
    assert not keys.pending


def test_an_escape_is_a_key_when_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.pending
    assert keys.flush() == ["escape"]
    assert keys.flush() == []
    assert keys.feed(b"\x1b[") == []
    assert keys.flush() == ["escape", "["]


@given(st.sampled_from(list(KNOWN)), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    keys = Keys()
    assert keys.feed(data[:at]) + keys.feed(data[at:]) == KNOWN[data]


@given(st.binary(max_size=200))
def test_whatever_comes_every_key_has_a_name_or_can_be_printed(data: bytes) -> None:
    keys = Keys()
    found = keys.feed(data) + keys.flush()
    assert all(key and key.isprintable() for key in found)
    assert not keys.pending
