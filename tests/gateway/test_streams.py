"""Streams as server-sent events: marks, characters that pieces cut in two, going on over a restart of the daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.gateway import streams
from rdagentd.gateway.streams import Log, Story, Way, followed, resumed, with_beats
from rdagentd.protocol.errors import NOT_FOUND, UNAVAILABLE, ProtocolError

AWAY = ProtocolError(UNAVAILABLE, "cannot reach rdagentd")


class Script:
    """A link whose streams are written beforehand, one after the other: items, and an error to end with. asked: arguments."""

    def __init__(self, *told: list[Any]) -> None:
        self.told = list(told)
        self.asked: list[dict[str, Any]] = []

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        self.asked.append(args or {})
        for item in self.told.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item

    async def call(self, op: str, args: dict[str, Any] | None = None, within: float | None = None) -> Any:
        raise NotImplementedError


def parsed(chunk: bytes) -> tuple[str | None, str | None, Any]:
    """Id, kind and data of an event."""
    fields = dict(line.split(": ", 1) for line in chunk.decode().removesuffix("\n\n").split("\n"))
    return fields.get("id"), fields.get("event"), json.loads(fields["data"])


def told(link: Script, op: str, way: Way, **args: Any) -> list[tuple[str | None, str | None, Any]]:
    async def collect() -> list[Any]:
        return [parsed(chunk) async for chunk in followed(link, op, args, way) if chunk]

    return asyncio.run(collect())


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PAUSE", 0)


def story(*numbers: int) -> list[dict[str, Any]]:
    return [{"seq": number, "worker": "w"} for number in numbers]


def piece(offset: int, data: bytes) -> dict[str, Any]:
    return {"offset": offset, "time": 1.0, "data": data}


# --- following --------------------------------------------------------------------------------------------------------


def test_what_is_not_followed_is_asked_for_once_and_ends() -> None:
    link = Script(story(3, 4))
    assert told(link, "events", Story(), tail=2) == [
        ("3", None, {"seq": 3, "worker": "w"}),
        ("4", None, {"seq": 4, "worker": "w"}),
        (None, "end", {}),
    ]
    assert link.asked == [{"tail": 2}]


def test_who_follows_is_told_what_there_is_and_then_what_comes() -> None:
    link = Script(story(3, 4), story(5))
    assert [mark for mark, _, _ in told(link, "events", Story(), tail=2, follow=True)] == ["3", "4", "5", None]
    assert link.asked == [{"tail": 2, "follow": False}, {"since": 4, "follow": True}]


def test_a_daemon_that_goes_is_found_again_without_a_gap() -> None:
    link = Script(story(3, 4), [*story(5), AWAY], [AWAY], story(6))
    found = told(link, "events", Story(), follow=True)
    assert [kind or mark for mark, kind, _ in found] == ["3", "4", "5", "away", "away", "6", "end"]
    assert found[3][2]["error"]["code"] == UNAVAILABLE
    assert [args.get("since") for args in link.asked] == [None, 4, 5, 5]


def test_a_log_goes_on_at_its_offset_whatever_was_asked_for_at_first() -> None:
    link = Script([piece(10, b"abc"), AWAY], [piece(13, b"d")], [])
    found = told(link, "logs", Log(), name="w", tail=1, since=5, until=9, follow=True)
    assert [mark for mark, kind, _ in found if kind is None] == ["13", "14"]
    assert link.asked[1:] == [
        {"name": "w", "until": 9, "offset": 13, "follow": False},
        {"name": "w", "until": 9, "offset": 14, "follow": True},
    ]


@pytest.mark.parametrize("error", [ProtocolError(NOT_FOUND, "cannot find worker"), AWAY])
def test_an_error_before_the_first_word_is_told_as_one(error: ProtocolError) -> None:
    with pytest.raises(ProtocolError) as raised:
        told(Script([error]), "events", Story(), follow=True)
    assert raised.value is error


def test_a_stream_without_marks_is_not_begun_again() -> None:
    with pytest.raises(ProtocolError):
        told(Script([{"a": 1}, AWAY]), "unheard-of", Way())


def test_what_is_no_truth_value_goes_to_the_daemon_as_it_is() -> None:
    link = Script([])
    told(link, "events", Story(), follow="yes")
    assert link.asked == [{"follow": "yes"}]


# --- marks ------------------------------------------------------------------------------------------------------------


def test_a_client_goes_on_after_the_last_event_that_it_has() -> None:
    assert resumed(Story(), {"select": {}, "tail": 5, "since": 1, "follow": True}, "41") == {
        "select": {}, "since": 41, "follow": True,
    }  # fmt: skip
    assert resumed(Log(), {"name": "w", "tail": 5}, "0") == {"name": "w", "offset": 0}
    assert resumed(Log(), {"name": "w", "tail": 5}, None) == {"name": "w", "tail": 5}
    for wrong in ("-1", "x", "1.0", "\u0663", "9" * 19):
        with pytest.raises(ProtocolError, match="Last-Event-ID"):
            resumed(Story(), {}, wrong)


@given(st.text(), st.lists(st.integers(0, 40)), st.integers(0, 10**6))
def test_a_log_is_the_same_text_however_its_pieces_are_cut(text: str, cuts: list[int], base: int) -> None:
    data = text.encode(errors="replace")
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [piece(base + start, data[start:end]) for start, end in pairwise(edges)]
    found = [(mark, value) for mark, kind, value in told(Script(pieces), "logs", Log(), name="w") if kind is None]
    assert "".join(value["data"] for _, value in found) == data.decode()
    for mark, value in found:  # an offset is where its text begins, and a mark where it ends: never within a character
        assert data[value["offset"] - base : int(mark or 0) - base].decode() == value["data"]


def test_bytes_that_are_no_text_are_shown_as_such_and_a_character_without_an_end_too() -> None:
    link = Script([piece(0, b"a\xff"), piece(2, b"b\xc3"), {"dropped": 5, "offset": 9}, piece(9, b"c\xe2\x82")])
    assert [(mark, value.get("data")) for mark, kind, value in told(link, "logs", Log(), name="w") if kind is None] == [
        ("2", "a\ufffd"), ("3", "b"), ("9", None), ("10", "c"), (None, "\ufffd"),
    ]  # fmt: skip


def test_silence_is_told_too() -> None:
    async def run() -> list[str | None]:
        first, never = asyncio.Event(), asyncio.Event()

        async def items() -> AsyncIterator[str]:
            yield "a"
            await first.wait()
            yield "b"
            await never.wait()

        found: list[str | None] = []
        async for item in with_beats(items(), 0.01):
            found.append(item)
            if item is None and "b" in found:
                return found
            if item is None:
                first.set()
        return found

    found = asyncio.run(run())
    assert found[:2] == ["a", None] and [item for item in found if item] == ["a", "b"] and found[-1] is None
