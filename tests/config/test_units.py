"""Sizes, durations, signals and umasks: what people write, what is refused, and what is written for people."""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.config.units import (
    MAX_DURATION,
    MAX_SIZE,
    format_duration,
    parse_duration,
    parse_signal,
    parse_size,
    parse_umask,
)
from rdagentd.model.size import format_size

from .strategies import ANYTHING

YEAR = 365 * 86400


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("4G", 4 << 30), ("4g", 4 << 30), ("4 GiB", 4 << 30), ("4GB", 4 << 30), ("64K", 65536), ("1M", 1 << 20),
        ("2T", 2 << 40), ("1.5G", 3 << 29), ("0", 0), ("512", 512), ("512B", 512), (4294967296, 4294967296), (0, 0),
        (MAX_SIZE, MAX_SIZE), (str(MAX_SIZE), MAX_SIZE), ("unlimited", None),
    ],
)  # fmt: skip
def test_sizes(written: Any, size: int | None) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    ["", "G", "4Q", "4P", "-1", -1, "1.5", "1e9", "4 4G", "4G ", "٤G", "0x10", "nan", "infinity", "Unlimited", MAX_SIZE + 1,
     str(MAX_SIZE + 1), "9" * 20 + "T", "8388608T", 1.5, 4.0, math.nan, math.inf, True, None, b"4G", [4], {"a": 1}],
)  # fmt: skip
def test_what_is_no_size(written: Any) -> None:
    with pytest.raises(ValueError, match=r"size|out of range"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10s", 10), ("1h30m", 5400), ("1 h 30 min", 5400), ("500ms", 0.5), ("1s500ms", 1.5), ("2d", 172800), ("1w", 604800),
        ("1.5h", 5400), ("90", 90), ("1.5", 1.5), (90, 90), (1.5, 1.5), (0, 0), (-0.0, 0), ("0", 0), ("1H", 3600),
        ("1ms", 0.001),
        (10 * YEAR, 10 * YEAR), ("unlimited", None),
    ],
)  # fmt: skip
def test_durations(written: Any, seconds: float | None) -> None:
    parsed = parse_duration(written)
    assert parsed == seconds
    assert parsed is None or (type(parsed) is float and math.copysign(1, parsed) > 0)


@pytest.mark.parametrize(
    "written",
    ["", " ", "s", "10 parsecs", "-1s", -1, -0.001, "1e3", "nan", "inf", math.nan, math.inf, -math.inf, "30m1h", "1m1m",
     "1h 30",
     "٣s", "11y", 10 * YEAR + 1, "3651d", "9" * 400, "1" * 50 + "s", 10**400, True, False, None, b"1s", [1]],
)  # fmt: skip
def test_what_is_no_duration(written: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|out of range"):
        parse_duration(written)


@given(ANYTHING)
def test_parsers_give_a_value_in_range_or_a_value_error(value: Any) -> None:
    for parse, largest in ((parse_size, MAX_SIZE), (parse_duration, MAX_DURATION), (parse_umask, 0o777)):
        try:
            parsed = parse(value)
        except ValueError:
            continue
        assert parsed is None or 0 <= parsed <= largest


@pytest.mark.parametrize("written", ["SIGTERM", "TERM", "term", "sigterm", "15", 15])
def test_ways_to_write_a_signal(written: Any) -> None:
    assert parse_signal(written) == "SIGTERM"


@pytest.mark.parametrize("one", signal.Signals)
def test_every_signal_has_one_name(one: signal.Signals) -> None:
    assert parse_signal(one.name) == parse_signal(int(one)) == one.name


def test_other_names_of_a_signal_become_its_name() -> None:
    assert parse_signal("SIGCLD") == "SIGCHLD"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("SIGTEM", r"'SIGTEM' is not a signal \(did you mean SIGTERM\?\)"),
        ("hpu", r"did you mean SIGHUP\?"),
        ("", "is not a signal"),
        (0, "is not a signal"),
        (-9, "is not a signal"),
        (400, "is not a signal"),
        ("999", "is not a signal"),
        (True, "expected the name of a signal, not true or false"),
        (9.0, "expected the name of a signal, not a number"),
        ("x" * 100_000, "is not a signal"),
    ],
)
def test_what_is_no_signal(written: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_signal(written)


@pytest.mark.parametrize(
    ("written", "mask"), [("022", 0o22), ("0o022", 0o22), ("0", 0), ("0777", 0o777), (0o22, 0o22), (0, 0)]
)
def test_umasks(written: Any, mask: int) -> None:
    assert parse_umask(written) == mask


@pytest.mark.parametrize("written", ["", "8", "1000", 0o1000, -1, "-1", "0x1", "u=rwx", True, 2.0, None, "0" * 50])
def test_what_is_no_umask(written: Any) -> None:
    with pytest.raises(ValueError, match=r"umask"):
        parse_umask(written)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "unlimited"), (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"),
        (4 << 30, "4 GiB"), (50 << 20, "50 MiB"), (3 << 40, "3 TiB"), (MAX_SIZE, "8388607 TiB"),
    ],
)  # fmt: skip
def test_sizes_for_people(size: int | None, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unlimited"), (math.inf, "unlimited"), (0, "0 s"), (0.0001, "0 s"), (0.5, "500 ms"), (0.9999, "1 s"),
        (1.5, "1.5 s"),
        (10, "10 s"), (59.9999, "1 min"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (3601, "1 h"), (5400, "1 h 30 min"),
        (86400, "1 d"), (90061, "1 d 1 h"), (86400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, MAX_DURATION))
def test_what_is_written_for_people_can_be_read_again(seconds: float) -> None:
    again = parse_duration(format_duration(seconds))
    assert again is not None
    assert abs(again - seconds) <= max(0.0006, seconds / 24)


@given(st.integers(0, 1 << 62))
def test_sizes_for_people_can_be_read_again(size: int) -> None:
    again = parse_size(format_size(size).removesuffix("s").replace("byte", "B"))
    assert again is not None
    assert abs(again - size) <= size / 20
