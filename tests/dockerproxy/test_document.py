"""JSON with one reading."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rdagentd.dockerproxy import containers, document
from rdagentd.dockerproxy.fields import clean
from rdagentd.dockerproxy.refusal import RefusedError

HOSTILE = {
    "a key twice": b'{"a": 1, "a": 1}',
    "a key twice, written in two ways": b'{"a": 1, "\\u0061": 2}',
    "a key twice, deep": b'{"a": [{"b": {"c": 1, "c": 2}}]}',
    "something behind": b'{"a": 1} {"a": 2}',
    "a fraction": b'{"a": 1.0}',
    "an exponent": b'{"a": 1e3}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "beyond 64 bits": b'{"a": 9223372036854775808}',
    "far beyond": b'{"a": ' + b"9" * 6000 + b"}",
    "NUL": b'{"a": "/etc\\u0000/x"}',
    "half a character": b'{"a": "\\ud800"}',
    "half a character in a key": b'{"\\udc00": 1}',
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a mark of the byte order": b'\xef\xbb\xbf{"a": 1}',
    "a comment": b'{"a": 1 /* */}',
    "a comma too many": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "a list": b"[]",
    "nothing": b" ",
    "too deep": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_json_with_two_readings_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match=r"^cannot read body") as refused:
        document.parse_object(data)
    assert refused.value.status == 400


KEYS = some.sampled_from(
    ["HostConfig", "hostconfig", "HOSTCONFIG", "Ho\u017ftConfig", "Privileged", "privileged", "Image"]
)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-5, 5) | some.text("ab/:", max_size=4),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(some.dictionaries(KEYS, VALUES, max_size=5))
def test_no_key_that_is_kept_can_be_taken_for_another(given_: dict[str, Any]) -> None:
    read = document.parse_object(json.dumps(given_).encode())
    assert read == given_
    try:
        kept = clean(
            {**containers.CREATE, "HostConfig": lambda value, where, _: clean(HOST, value, where, _)}, read, "", None
        )
    except RefusedError:
        return
    for place, table in ((kept, containers.CREATE), (kept.get("HostConfig", {}), HOST)):
        assert set(place) <= set(table)
        assert len({key.casefold() for key in place}) == len(place)
    assert kept.get("HostConfig", {}).get("Privileged", False) is False


HOST = {name: kind for name, kind in containers.HOST.items() if name in ("Privileged", "Memory", "Runtime", "CapDrop")}
