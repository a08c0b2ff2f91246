"""Arguments as HTTP brings them."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.api.table import OPERATIONS
from rdagentd.gateway.arguments import check, of_body, of_query
from rdagentd.protocol import frames
from rdagentd.protocol.errors import ProtocolError


def args_of(op: str) -> dict[str, Any]:
    return {name: field.described() for name, field in OPERATIONS[op].args.items()}


def read(op: str, *query: tuple[str, str]) -> dict[str, Any]:
    return of_query(args_of(op), query)


def refused(*args: Any, by: Any) -> str:
    with pytest.raises(ProtocolError) as error:
        by(*args)
    assert error.value.code == "invalid" and error.value.message.startswith("cannot ")
    return error.value.message


# --- queries ----------------------------------------------------------------------------------------------------------


def test_names_and_labels_make_a_selection() -> None:
    assert read("status") == {}
    assert read("status", ("name", "a"), ("label", "k=v=w"), ("name", "b*"), ("label", "x=")) == {
        "select": {"names": ["a", "b*"], "labels": {"k": "v=w", "x": ""}}
    }
    assert "key=value" in refused(args_of("status"), [("label", "team")], by=of_query)


def test_an_argument_called_name_is_no_selection() -> None:
    assert read("logs", ("name", "a"), ("stream", "err")) == {"name": "a", "stream": "err"}


def test_texts_become_what_the_argument_is() -> None:
    query = [("name", "7"), ("tail", "5"), ("since", "1.5"), ("until", "2e1"), ("follow", "true"), ("run", "-1")]
    assert read("logs", *query) == {
        "name": "7", "tail": 5, "since": 1.5, "until": 20.0, "follow": True, "run": -1,
    }  # fmt: skip
    assert read("logs", ("run", "01J-abc")) == {"run": "01J-abc"}


def test_what_is_not_of_the_type_stays_a_text_for_the_daemon_to_refuse() -> None:
    assert read("logs", ("tail", "many"), ("since", "nan"), ("follow", "yes"), ("tial", "1")) == {
        "tail": "many", "since": "nan", "follow": "yes", "tial": "1",
    }  # fmt: skip
    assert read("status", ("select", "{}")) == {"select": "{}"}


def test_an_argument_stands_in_a_query_once() -> None:
    assert "twice" in refused(args_of("logs"), [("tail", "1"), ("tail", "2")], by=of_query)


def test_a_list_stands_in_a_query_once_for_each_of_its_texts() -> None:
    assert read("events", ("kinds", "exited"), ("tail", "5"), ("kinds", "started")) == {
        "kinds": ["exited", "started"], "tail": 5,
    }  # fmt: skip
    assert read("events", ("kinds", "")) == {"kinds": [""]}


@given(st.lists(st.tuples(st.sampled_from([*args_of("logs"), "label", "x"]), st.text(string.printable))))
def test_any_query_is_read_or_refused_in_words(query: list[tuple[str, str]]) -> None:
    for op in ("logs", "events"):
        try:
            json.dumps(of_query(args_of(op), query))
        except ProtocolError as error:
            assert error.code == "invalid"


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_an_empty_body_has_no_arguments() -> None:
    assert of_body(b"") == of_body(b" \n") == of_body(b"{}") == {}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"[1]", "an array"),
        (b'"x"', "a text"),
        (b"null", "null"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 32"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, word: str) -> None:
    assert word in refused(body, by=of_body)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (2**64, "64 bits"),
        ("\ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ([0] * (frames.MAX_ITEMS + 1), "cannot read frame"),
        ("x" * frames.MAX_REQUEST, "at most"),
    ],
)
def test_what_no_frame_can_hold_never_reaches_the_connection_that_others_share(value: Any, word: str) -> None:
    assert word in refused("submit", {"spec": value}, by=check)


def test_nesting_ends_where_the_daemon_ends_it() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {} if depth == 0 else {"a": nested(depth - 1)}

    check("submit", nested(frames.MAX_DEPTH - 2))
    assert "deeper than 32" in refused("submit", nested(frames.MAX_DEPTH - 1), by=check)
    assert "cannot submit" in refused("submit", nested(900), by=check)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    )
)
def test_whatever_passes_is_a_frame_that_the_daemon_takes(value: Any) -> None:
    args = {"spec": value}
    try:
        check("submit", args)
    except ProtocolError as error:
        assert error.code == "invalid"
    else:
        frame = frames.pack({"v": 1, "id": 1, "op": "submit", "args": args})
        assert len(frames.Decoder().feed(frame)) == 1
