"""Parts of the page by themselves: text, numbers, colours, the stream of events, the address."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rdagentctl import render
from tests.gateway.browser import Browser
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd


@pytest.fixture
def page(browser: Browser, show: Show) -> Browser:
    """Any page: its modules can be had in it."""
    show(Crowd([]))
    return browser


def call(page: Browser, module: str, expression: str) -> Any:
    """The value of an expression over the module `m`."""
    return page.eval(f"import('/static/{module}.js').then((m) => {expression})")


def test_numbers_read_as_those_of_the_client(page: Browser) -> None:
    durations = [0, 0.9, 12, 59.99, 60, 312, 3599, 3600, 7512, 86400, 273600, 1e7]
    assert call(page, "format", f"{json.dumps(durations)}.map(m.duration)") == [render.ago(one) for one in durations]
    sizes = [0, 512, 999, 1000, 1024, 1536, 10239, 10240, 1 << 20, 64 << 20, 999 << 20, 1 << 30, 5 << 40, 1 << 53]
    assert call(page, "format", f"{json.dumps(sizes)}.map(m.size)") == [render.size(one) for one in sizes]
    shares = "[0, 0.004, 0.0994, 0.5, 1, 12.34]"
    assert call(page, "format", f"{shares}.map(m.cpu)") == ["0%", "0.4%", "9.9%", "50%", "100%", "1234%"]


def test_control_characters_and_turned_text_are_shown_as_such(page: Browser) -> None:
    text = "a\x1b[1mb\nc\x7f\u202egpj\u2066\x9b\u200f"
    assert (
        call(page, "format", f"m.plain({json.dumps(text)})") == "a\u241b[1mb\u240ac\u2421" + "\ufffdgpj" + 3 * "\ufffd"
    )


def test_values_read_as_toml(page: Browser) -> None:
    told = {"a": [1, 'x"y'], "b": None, "c": {"d": True}}
    assert call(page, "format", f"m.value({json.dumps(told)})") == '{ a = [1, "x\\"y"], c = { d = true } }'


def test_events_are_read_whatever_pieces_they_come_in(page: Browser) -> None:
    text = ": hello\n\nid: 7\nevent: row\ndata: one\ndata: two\n\r\ndata:x\r\n\r\nid\nevent: gone\n\ndata: {}\n\n"
    expected = [
        {"event": "row", "id": "7", "data": "one\ntwo"},
        {"event": "message", "id": "7", "data": "x"},
        {"event": "message", "id": "", "data": "{}"},
    ]
    for size in (1, 2, 3, 7, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        parse = f"const parse = m.parser((e) => told.push(e)); {json.dumps(pieces)}.forEach(parse);"
        told = call(page, "stream", f"{{ const told = []; {parse} return told; }}")
        assert told == expected, size


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain", [["plain", ""]]),
        ("\x1b[31mred\x1b[0m none", [["red", "ansi-1"], [" none", ""]]),
        ("\x1b[1;32mx\x1b[22my\x1b[39mz", [["x", "bold ansi-2"], ["y", "ansi-2"], ["z", ""]]),
        ("\x1b[38;5;9mx\x1b[38;2;1;2;3my\x1b[48;5;200mz", [["x", "ansi-1"], ["y", ""], ["z", ""]]),
        ("\x1b[91ma\x1b[mb", [["a", "ansi-1"], ["b", ""]]),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x1b\\!", [["link", ""], ["!", ""]]),
        ("\x1b[2J\x1b[10;10H\x1b7x\x00\x08y", [["x", ""], ["y", ""]]),
        ("10%\r20%\r30%\r", [["30%", ""]]),
        ("\x1b[", []),
    ],
)  # fmt: skip
def test_colours_of_terminals_are_read_and_the_rest_left_out(page: Browser, line: str, expected: Any) -> None:
    assert call(page, "ansi", f"m.pieces({json.dumps(line)}, new Set())") == expected


def test_any_place_has_an_address_that_leads_back_to_it(page: Browser) -> None:
    place = {"worker": "a/b?c#d%e ü", "tab": "log", "host": False, "q": "x&y=z", "state": "failed,queued"}
    place |= {"group": "g h", "label": "k=v", "sort": "-cpu"}
    assert call(page, "place", f"m.parse(m.format({json.dumps(place)}))") == place
    for odd in ("", "#", "#/", "#//", "#/worker", "#/worker/%E0%A4%A", "#?&&=", "#/nothing/at/all?q"):
        assert call(page, "place", f"typeof m.format(m.parse({json.dumps(odd)}))") == "string", odd


def test_gaps_of_a_plot_stay_gaps(page: Browser) -> None:
    line, area = call(page, "plot", "m.paths([NaN, 1, 2, NaN, 4, ...Array(85).fill(NaN)], 89, 12, 4)")
    assert line == "M1.0 8.5L2.0 6.0M4.0 1.0"
    assert area.count("Z") == 2
