"""Arguments are decoded or refused, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rdagentd.api import args as kinds
from rdagentd.api.args import decode
from rdagentd.api.table import OPERATIONS
from rdagentd.protocol.errors import INVALID, ProtocolError

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
FIELDS = {
    "text": kinds.TEXT,
    "count": kinds.COUNT.otherwise(3),
    "few": kinds.maybe(kinds.up_to(10)),
    "number": kinds.maybe(kinds.NUMBER),
    "map": kinds.MAP.otherwise({}),
}


@settings(deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), VALUES | st.dictionaries(st.text(), VALUES))
def test_any_arguments_are_decoded_or_refused_in_words(op, given_args) -> None:
    fields = OPERATIONS[op].args
    try:
        decoded = decode(op, fields, given_args)
    except ProtocolError as error:
        assert error.code == INVALID and error.message.startswith(f"cannot {op}: ")
        assert len(error.message) < 500
    else:
        assert decoded.keys() == fields.keys()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False).filter(lambda x: x % 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "\0"]), inner, max_size=3),
    max_leaves=4,
)
NEAR_THE_EDGES = st.sampled_from(
    [0, 1, -1, -1000, -1001, 10_000, 10_001, 2**63 - 1, 2**63, -(2**63), 10**12, 10**12 - 1, "", "\0", "a\0b", "a\n",
     "x" * 65536, "x" * 65537, "rest", "out", "SIGHUP", "SIGNOT", [{}], [1], True]
)  # fmt: skip


@settings(deadline=None)
@given(
    st.sampled_from(sorted((op, name) for op in OPERATIONS for name in OPERATIONS[op].args)),
    JSON_VALUES | NEAR_THE_EDGES,
)
def test_what_the_schema_takes_is_what_the_check_takes(place, value) -> None:
    field = OPERATIONS[place[0]].args[place[1]]
    if field.schema.get("properties") and type(value) is dict:
        return  # a selection is looked into by whoever selects
    assert Draft202012Validator(field.schema).is_valid(value) == field.check(value)


@settings(deadline=None)
@given(st.sampled_from([(op, name) for op in sorted(OPERATIONS) for name in OPERATIONS[op].args]), VALUES)
def test_any_value_of_a_known_argument_is_decoded_or_refused_by_name(place, value) -> None:
    op, name = place
    try:
        assert decode(op, {name: OPERATIONS[op].args[name]}, {name: value})[name] == value
    except ProtocolError as error:
        assert error.code == INVALID and error.details == {"argument": name}


def test_defaults_fill_what_is_not_given() -> None:
    assert decode("do", FIELDS, {"text": "x"}) == {"text": "x", "count": 3, "few": None, "number": None, "map": {}}
    assert decode("do", {"map": kinds.MAP.otherwise({})}, None) == {"map": {}}


@pytest.mark.parametrize(
    ("given_args", "words"),
    [
        ([], "cannot do: args must be a map, not list"),
        ({}, "cannot do: argument text is missing; it must be a text"),
        ({"text": None}, "cannot do: argument text must be a text, not None"),
        ({"text": "a\0b"}, "cannot do: argument text must be a text, not 'a\\x00b'"),
        ({"text": "x", "cuont": 1}, "cannot do: unknown argument 'cuont' (did you mean count?)"),
        ({"text": "x", "count": -1}, "cannot do: argument count must be a whole number, 0 or more, not -1"),
        ({"text": "x", "count": True}, "cannot do: argument count must be a whole number, 0 or more, not True"),
        ({"text": "x", "count": None}, "cannot do: argument count must be a whole number, 0 or more, not None"),
        ({"text": "x", "few": 11}, "cannot do: argument few must be a whole number from 0 to 10 or nil, not 11"),
        ({"text": "x", "number": float("nan")}, "cannot do: argument number must be a number or nil, not nan"),
        ({"text": "x", "map": [1]}, "cannot do: argument map must be a map, not list"),
    ],
)
def test_a_refusal_names_the_argument_and_what_it_must_be(given_args, words) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode("do", FIELDS, given_args)
    assert refused.value.message == words
