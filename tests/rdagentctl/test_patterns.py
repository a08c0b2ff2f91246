"""What is recognised in a line, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl import patterns

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x1b"), max_size=200)
VOCABULARY = """
ERROR error: [error] ValueError: a.b.Exception took 12 s 1.5 seconds Running time: done in 3m elapsed duration_ms=5
/a/b/c 0xff x Current Cost: $0.5; total_cost_usd 2026-01-01 10:00:00 prompt_tokens: 7 1,200 output tokens
"""
WORDS = st.lists(st.sampled_from(VOCABULARY.split()), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22 10:00:00.123 | ERROR    | rdagent.core:run:7 - broken",
        "2026-11-22 10:00:00,123 [CRITICAL] x: broken",
        "ERROR:root:broken",
        '{"level": "error", "message": "broken"}',
        "time=1 level=fatal msg=broken",
        "2026-11-22 [error    ] broken",
        "error: broken",
        "error[E0308]: mismatched types",
        "fatal: not a git repository",
        "panic: broken",
        "ValueError: broken",
        "litellm.exceptions.RateLimitError: slow down",
        "  KeyError",
        "\x1b[31mERROR\x1b[0m broken",
    ],
)
def test_errors(line: str) -> None:
    assert patterns.is_error(patterns.clean(line.encode()))


@pytest.mark.parametrize(
    "line",
    [
        "0 errors, 0 warnings",
        "ERROR_COUNT=0",
        "no error was found",
        "INFO the error rate is 5",
        "Traceback (most recent call last):",
        '    raise ValueError("broken")',
        "level=info msg=fine",
        "terror: a film",
    ],
)
def test_no_errors(line: str) -> None:
    assert not patterns.is_error(patterns.clean(line.encode()))


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("took 12.3 s", [12.3]),
        ("Took: 500ms", [0.5]),
        ("2026 | INFO - Running time: 95.25 seconds", [95.25]),
        ("time taken: 3 minutes", [180]),
        ("completed in 1m 30s", [90]),
        ("done in 1h2m3s.", [3723]),
        ("elapsed: 2 hours", [7200]),
        ("step took about 12s and upload took 4s", [12, 4]),
        ('{"duration_ms": 12000}', [12]),
        ("elapsed_seconds=12.5", [12.5]),
        ("5 passed in 12.34s", []),
        ("timeout 600s", []),
        ("time limit: 3600 s", []),
        ("took 5 items", []),
        ("took 12 steps", []),
        ("took a while. 12 s later, nothing but words that are more than a few", [12]),
    ],
)
def test_durations(line: str, seconds: list[float]) -> None:
    assert list(patterns.durations(line)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "Current Cost: $0.0012000000; Accumulated Cost: $0.0340000000; finish_reason='stop'",
            [(False, 0.0012), (True, 0.034)],
        ),
        ('{"total_cost_usd": 0.1234}', [(True, 0.1234)]),
        ("Total accumulated cost: $1.5", [(True, 1.5)]),
        ("Cost: $0.25", [(False, 0.25)]),
        ("cost_usd=1e-05", [(False, 1e-05)]),
        ("cost: 0.693", []),  # of a model that is trained
        ("hostcost: $1", []),
    ],
)
def test_costs(line: str, found: list[tuple[bool, float]]) -> None:
    assert list(patterns.costs(line)) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            '{"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}',
            [("prompt", 12), ("completion", 3), ("total", 15)],
        ),
        ("Input tokens: 1,234,567", [("input", 1_234_567)]),
        ("used 30 output tokens", [("output", 30)]),
        ("max_tokens=100", []),
        ("the token is 5", []),
    ],
)
def test_tokens(line: str, found: list[tuple[str, int]]) -> None:
    assert list(patterns.tokens(line)) == found


@pytest.mark.parametrize(
    ("line", "signature"),
    [
        ("2026-11-22 10:00:00.123 ERROR worker 7 failed", "<time> ERROR worker <n> failed"),
        ("10:00:00 step3: 1.5e lost", "<time> step<n>: <n>e lost"),
        ("run 6f9619ff-8b86-d011-b42d-00c04fc964ff gone", "run <id> gone"),
        ("at 0x7f00ab12 and deadbeef01", "at <id> and <id>"),
        ("no file /home/a/b.py:12 in ~/x/y", "no file <path> in <path>"),
        ("10.0.0.1:8080 refused", "<n>:<n> refused"),
        ("either/or and/or", "either/or and/or"),
    ],
)
def test_signatures(line: str, signature: str) -> None:
    assert patterns.signature(line) == signature


@given(LINE, st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_make_no_other_group(line: str, one: int, other: int) -> None:
    assert patterns.signature(f"{line} {one} x") == patterns.signature(f"{line} {other} x")


@given(LINE | WORDS)
def test_whatever_is_recognised_is_looked_at(line: str) -> None:
    text = patterns.clean(line.encode())
    found = patterns.is_error(text) or any(
        list(what(text)) for what in (patterns.durations, patterns.costs, patterns.tokens)
    )
    assert not found or patterns.interesting(line.encode())


@given(st.lists(WORDS | LINE, max_size=8))
def test_interesting_lines_are_whole_and_in_order(lines: list[str]) -> None:
    raw = [line.encode() for line in lines]
    block = b"\n".join(raw)
    found = patterns.interesting(block)
    assert found == sorted(set(found))
    starts = {sum(map(len, raw[:index])) + index: line for index, line in enumerate(raw)}
    assert all(starts[start] == block[start:end] for start, end, _ in found)
    assert [block[start:end] for start, end, _ in found] == [line for line in raw if patterns.interesting(line)]


def test_colours_and_long_lines_are_cut() -> None:
    assert patterns.clean(b"\x1b[1;31mred\x1b[0m\r") == "red"
    assert len(patterns.clean(b"x" * 100_000)) == patterns.LONGEST
    assert patterns.clean(b"\xff") == "�"


def test_stamps() -> None:
    block = b"2026-11-22 00:00:01.5 a\nno\n[2026-11-22T00:01:00,250] b\n2026-13-45 00:00:00 c\nx 2026-11-23_00:00:00\n"
    found = list(patterns.stamps(block))
    assert [start for start, _ in found] == [0, 27, block.index(b"x 2026")]
    first, second, third = (seconds for _, seconds in found)
    assert (second - first, third - second) == (58.75, 86340 - 0.25)


@pytest.mark.parametrize(
    "line", ["a." * 5000, "a" * 10_000, "0" * 10_000, "took " * 2000, "/a" * 5000, "1 s" * 3000, "[" * 9000]
)
def test_no_line_takes_long(line: str) -> None:
    """Not measured: an expression that is not linear would take hours."""
    text = patterns.clean(line.encode() * 1)
    patterns.is_error(text)
    patterns.signature(text)
    for what in (patterns.durations, patterns.costs, patterns.tokens):
        list(what(text))
    list(patterns.stamps(line.encode() * 20))
    patterns.interesting(line.encode() * 20)
