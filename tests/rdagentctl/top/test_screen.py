"""Lines as bytes for a terminal, as a terminal emulator understands them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.top.glyphs import Glyphs, encoding
from rdagentctl.top.screen import Screen, encode

spans = st.lists(
    st.tuples(st.sampled_from(["a", "日本", "plain text", "ü", "e\u0301"]), st.sampled_from(["", "1", "1;31", "7", "2;33"])),
    max_size=3,
)  # fmt: skip


def test_colours_can_be_left_out_and_the_rest_stays() -> None:
    assert encode([("a", "1;31"), ("b", "7"), ("c", "")], Glyphs()) == b"\x1b[0;1;31ma\x1b[0;7mb\x1b[0mc"
    assert encode([("a", "1;31"), ("b", "32")], Glyphs(colour=False)) == b"\x1b[0;1ma\x1b[0mb"


def test_behind_what_may_be_wider_the_column_is_said() -> None:
    assert encode([("日本", ""), ("x", "")], Glyphs()) == "日本\x1b[5Gx".encode()


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"LC_ALL": "de_DE.UTF-8"}, "utf-8"), ({"LANG": "C.utf8"}, "utf-8"), ({"LC_ALL": "C", "LANG": "C.UTF-8"}, "ascii"),
        ({}, "ascii"), ({"LANG": "POSIX"}, "ascii"), ({"LC_CTYPE": "ca_ES.UTF-8@valencia"}, "utf-8"),
    ],
)  # fmt: skip
def test_the_locale_says_what_can_be_shown(environment: dict[str, str], name: str) -> None:
    assert encoding(environment) == name


class Wire:
    """A pseudo-terminal with a Screen on one side and an emulator on the other."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.seen = pyte.Screen(40, 6)
        self._stream = pyte.ByteStream(self.seen)
        self.screen = Screen(self.slave, self.slave, Glyphs())

    def show(self, *lines: list[tuple[str, str]]) -> int:
        count = self.screen.show(lines)
        if count:
            data = b""
            while len(data) < count:
                data += os.read(self.master, 65536)
            self._stream.feed(data)
        return count


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    os.close(made.master)
    os.close(made.slave)


def test_only_lines_that_changed_are_sent(wire: Wire) -> None:
    wire.screen.anew()
    first = wire.show([("one", "")], [("two", "1")], [("three", "")])
    assert wire.show([("one", "")], [("two", "1")], [("three", "")]) == 0
    assert 0 < wire.show([("one", "")], [("2", "")], [("three", "")]) < first
    assert [line.rstrip() for line in wire.seen.display[:3]] == ["one", "2", "three"]
    wire.show([("x" * 40, "")], [], [("日" * 20, "7")])
    assert wire.seen.display[0] == "x" * 40  # to the very edge
    assert wire.seen.buffer[2][39].reverse
    assert wire.screen.size() == (80, 24)  # nobody has said


@given(first=st.lists(spans, min_size=6, max_size=6), second=st.lists(spans, min_size=6, max_size=6))
def test_a_picture_upon_another_looks_as_if_it_were_the_first(
    wire: Wire, first: list[list[tuple[str, str]]], second: list[list[tuple[str, str]]]
) -> None:
    wire.screen.anew()
    wire.show(*second)
    alone = [list(line.values()) for line in map(dict, (wire.seen.buffer[at] for at in range(6)))]
    wire.screen.anew()
    wire.show(*first)
    wire.show(*second)
    upon = [list(line.values()) for line in map(dict, (wire.seen.buffer[at] for at in range(6)))]
    strip = [["".join(char.data for char in line).rstrip() for line in picture] for picture in (alone, upon)]
    assert strip[0] == strip[1]
