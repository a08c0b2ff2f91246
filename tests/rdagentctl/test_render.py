"""Columns, durations and what must not reach a terminal."""

from __future__ import annotations

import pytest

from rdagentctl import render


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (312, "5m12s"), (7500, "2h05m"), (273600, "3d4h"), (-3, "0s")],
)
def test_ago(seconds: float, text: str) -> None:
    assert render.ago(seconds) == text


def test_control_characters_are_shown() -> None:
    assert render.plain("a\x1b[2Jb\nc\u202e") == "a\\x1b[2Jb\\nc\\u202e"
    assert render.plain("naïve 漢字") == "naïve 漢字"


def test_width_counts_columns() -> None:
    assert render.width_of("漢字") == 4
    assert render.width_of("e\u0301") == 1
    assert render.fit("漢字漢字", 5) == "漢字…"
    assert render.fit("abcdef", 4) == "abc…"
    assert render.fit("abcd", 4) == "abcd"


def test_columns_are_aligned_and_fitted() -> None:
    rows = [("NAME", "STATE", "PID", "DETAIL"), ("漢", "running", "1", "x" * 50), ("worker", "failed", "22", "y")]
    assert render.table(rows, 42, drop=(2,)) == (
        f"NAME    STATE    PID  DETAIL\n漢      running  1    {'x' * 19}…\nworker  failed   22   y\n"
    )


def test_columns_are_dropped_when_it_is_narrow() -> None:
    rows = [("NAME", "STATE", "PID", "DETAIL"), ("worker-with-a-name", "running", "12345", "d" * 50)]
    narrow = render.table(rows, 52, drop=(2,)).splitlines()
    assert narrow[0].split() == ["NAME", "STATE", "DETAIL"]
    assert narrow[1].startswith("worker-with-a-name  running")
    assert len(narrow[1]) == 52


def test_colour_does_not_change_alignment() -> None:
    rows = [("NAME", "STATE", "DETAIL"), ("a", "failed", "x"), ("b", "running", "y")]
    plain = render.table(rows, None)
    painted = render.table(rows, None, ["31", ""])
    assert "\x1b[31m" in painted
    for code in ("\x1b[31m", "\x1b[1m", "\x1b[0m"):
        painted = painted.replace(code, "")
    assert painted == plain


@pytest.mark.parametrize(
    ("thing", "text"),
    [(None, "-"), (True, "true"), (1.5, "1.5"), (10.0, "10"), ("a\x1b", '"a\\x1b"'), (["a", 1], '["a", 1]'),
     ({"soft": 1, "hard": None}, "{soft = 1, hard = -}")],
)  # fmt: skip
def test_values_as_in_toml(thing: object, text: str) -> None:
    assert render.value(thing) == text


def test_endings() -> None:
    assert render.ending({"kind": "code", "code": 3, "signal": None, "reason": "exit code 3"}) == "exit code 3"
    assert render.ending({"kind": "signal", "code": None, "signal": "SIGKILL", "reason": ""}) == "ended by SIGKILL"
    assert render.ending({"kind": "out_of_memory", "code": None, "signal": None, "reason": ""}) == "out of memory"
    assert render.ending(None) == ""


def test_sizes() -> None:
    told = {
        None: "-",
        0: "0",
        999: "999",
        1023: "1.0K",
        1536: "1.5K",
        10 << 10: "10K",
        64 << 20: "64M",
        5 << 40: "5.0T",
    }
    assert {count: render.size(count) for count in told} == told
    assert [render.seconds(0.25, None), render.seconds(61, 4.5)] == ["0.25s", "1m05s"]
