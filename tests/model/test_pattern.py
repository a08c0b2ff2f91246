"""Patterns find what they say, as a naive matcher does; and cannot be made slow, neither by a log nor by who writes them."""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rdagentd.model.pattern import LINE, PatternError, compile_pattern


def values(pattern: str, text: bytes | str) -> list[Any]:
    data = text.encode() if isinstance(text, str) else text
    return [match[1] for match in compile_pattern(pattern).matches(data) if match is not None]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        # RD-Agent's cost, as it logs it
        ("Accumulated Cost: ${number}", "Current Cost: $0.01; Accumulated Cost: $1,234.5\n", [1234.5]),
        ("Cost: ${any}; Accumulated Cost: ${number}", "Cost: $1; Accumulated Cost: $2; Accumulated Cost: $3", [2.0]),
        ("Start Loop {int}, Step", "Start Loop 12, Step 3: coding\nStart Loop 13, Step 0: x", [12.0, 13.0]),
        ("Step {any}: {word}", "Start Loop 1, Step 3: coding.\n", ["coding"]),
        ("=== RALPH ITERATION {int} ===", "=== RALPH ITERATION 3 ===\r\n=== RALPH ITERATION x ===", [3.0]),
        ("progress: {number}%", "progress: 45%\rprogress: 46.5%\n", [0.45, 0.465]),
        ("Status: {any}", "Status: all is well \nStatus:\n", ["all is well"]),
        ("model {word} used", "model gpt-4o used, model a/b:c.d used", ["gpt-4o", "a/b:c.d"]),
        ('{{"cost": {number}}}', '{"cost": 1e-3} {"cost": -.5}', [0.001, -0.5]),
        ("Retrying {any} time", "Retrying 3th time\nRetrying\n time", ["3th"]),
        ("error", "error error\nerror", [None, None, None]),
        ("took {int} s", "took 3.5 s, took 12345678901234567890 s, took 1,200 s", [1200.0]),
        ("kosten: {number} €", "kosten: 5 €", [5.0]),
        ("{number} tokens", "12,345 tokens and 6 tokens", [12345.0, 6.0]),
    ],
)
def test_what_a_pattern_finds(pattern: str, text: str, found: list[Any]) -> None:
    assert values(pattern, text) == found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{number}", "needs 3 characters of literal text"),
        ("a {any} b", "needs 3 characters"),
        ("cost {nummer}", r"contains '{nummer}'; placeholders are {number}, {int}, {word}, {any}"),
        ("cost } x", "contains '}'"),
        ("a\nbcd", "contains the end of a line"),
        ("x" * 257, "has 257 characters"),
        ("abc" + "{int} " * 9, "has 9 placeholders"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused_in_words(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=re.escape(reason)):
        compile_pattern(pattern)


# --- against a naive matcher ------------------------------------------------------------------------------------------

PARTS = st.lists(
    st.sampled_from(["cost ", "ab", "a", ": ", "{int}", "{word}", "{any}", "1", "%"]), min_size=1, max_size=6
)
TEXTS = st.lists(st.sampled_from(["cost ", "ab", "a", ": ", "1", "12", "x", "%", "\n", "\r", " ", "1.5"]), max_size=30)


def naive(pattern: str, text: str) -> int:
    """How many matches there are, by trying everything: fit for short texts only."""
    parts = re.findall(r"\{\w+\}|[^{}]+", pattern)
    source = "".join({"{int}": r"[+-]?(?>\d+)(?!\.\d)", "{word}": r"(?>\w+(?:[./:@-]{1,2}\w+)*)", "{any}": r"[^\r\n]*?"}.get(p)
                     or re.escape(p) for p in parts)  # fmt: skip
    if parts[-1] == "{any}":
        source = source.removesuffix("?")
    return sum(1 for _ in re.finditer(source, text, re.ASCII))


@given(PARTS.map("".join), TEXTS.map("".join))
def test_as_many_matches_as_by_trying_everything(pattern: str, text: str) -> None:
    try:
        compile_pattern(pattern)
    except PatternError:
        assume(False)
    assert len(values(pattern, text)) == naive(pattern, text)


# --- linear by construction -------------------------------------------------------------------------------------------


def _cost(tree: Any) -> int:
    """Most characters that a try at one place may look at, every way of trying counted; asserts that there is a bound."""
    total = 1
    for kind, value in tree:
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            _, high, inner = value
            assert high is not op.MAXREPEAT, "a repeat without a bound"
            total += high * _cost(inner)
        elif kind is op.ATOMIC_GROUP:
            total += _cost(value)
        elif kind is op.SUBPATTERN:
            total += _cost(value[-1])
        elif kind is op.BRANCH:
            total += sum(_cost(branch) for branch in value[1])
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            total += _cost(value[1])
        else:
            assert kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.RANGE), kind
            total += 1
    return total


@given(st.lists(st.sampled_from(["cost ", "aaa", "{int}", "{word}", "{any}", "{number}", "%"]), min_size=1, max_size=8))
def test_every_chunk_is_literal_but_for_bounded_pieces_that_are_never_tried_again(parts: list[str]) -> None:
    try:
        pattern = compile_pattern("".join(parts))
    except PatternError:
        assume(False)
    for chunk in pattern.chunks:
        tree = parser.parse(chunk.pattern.decode("latin-1"))
        for kind, value in tree:
            assert kind is op.LITERAL or (kind is op.SUBPATTERN and value[-1][0][0] is op.ATOMIC_GROUP), chunk
        assert _cost(tree) < 20_000


HOSTILE = [
    ("cost {any} and {any} and {any} of {number} usd", b"cost x and y and z of " * 2_000),
    ("aaa{any}aaa{any}aaa{any}aab", b"a" * 4_000_000),
    ("111{number}x", b"1" * 400_000),
    ("word {word} end", b"word " + b"a." * 100_000),
    ("({any}) cost", b"(" * 400_000 + b" cost"),
    ("cost", b"cost" * 100_000),
]


@pytest.mark.parametrize(("pattern", "text"), HOSTILE)
def test_hostile_texts_are_read_in_a_moment(pattern: str, text: bytes) -> None:
    """Were the time quadratic, each of these would take an hour, and the test's time limit would end it."""
    count = sum(1 for match in compile_pattern(pattern).matches(text) if match is not None)
    assert count == (100_000 if pattern == "cost" else 0) or pattern == "({any}) cost"


def test_a_line_longer_than_any_is_looked_at_in_windows() -> None:
    far = b"cost " + b"x" * (2 * LINE) + b"cost 5"
    assert values("cost {number}", far) == [5.0]
    steps = list(compile_pattern("abc {any} zzz").matches(b"abc " * (8 * LINE)))
    assert steps.count(None) == len(steps) > 8, "there are moments to pause"
