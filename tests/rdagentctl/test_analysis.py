"""What a log comes to, against counting by hand."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentctl import analysis, patterns
from rdagentctl.analysis import Analysis, Groups, Rates
from rdagentctl.commands.analyse import Blocks, bars, lines

START = 1_800_000_000.0


def report(*blocks: tuple[float | None, str, str]) -> dict[str, Any]:
    """Of blocks of text: seconds after START, run, text."""
    made = Analysis()
    for after, run, text in blocks:
        made.add(text.encode(), None if after is None else START + after, run)
    return made.report()


def test_errors_in_groups() -> None:
    told = report(
        (0, "r", "ERROR worker 1 failed\nfine\nValueError: bad\n"),
        (5, "r", "ERROR worker 2 failed\n"),
        (9, "r", "ERROR worker 33 failed"),
    )
    assert (told["lines"], told["first"], told["last"]) == (5, START, START + 9)
    first, second = told["errors"]["groups"]
    assert first == {
        "message": "ERROR worker <n> failed", "count": 3, "first": START, "last": START + 9, "example": "ERROR worker 1 failed",
    }  # fmt: skip
    assert (second["message"], second["count"], told["errors"]["count"]) == ("ValueError: bad", 1, 4)


def test_groups_are_bounded() -> None:
    groups = Groups()
    for number in range(analysis._GROUPS + 50):
        groups.add(f"ERROR {number:b}".translate({48: "o", 49: "l"}), 1.0)
    told = groups.report(timed=False)
    assert len(told["groups"]) == analysis._GROUPS
    assert told["count"] == told["in_other_groups"] + sum(group["count"] for group in told["groups"])
    assert told["in_other_groups"] == 50


def test_slow_operations_that_are_told() -> None:
    told = report((0, "r", "step 1 took 9.9 s\nstep 2 took 12 s\nstep 3 took 40 s\nRunning time: 20 seconds\n"))[
        "slow"
    ]["told"]
    assert told["count"] == 3
    longest = told["groups"][0]
    assert (longest["count"], longest["seconds"], longest["longest"]) == (2, 52.0, 40.0)
    assert longest["example"] == "step 3 took 40 s"


def test_silences_by_arrival_where_there_are_no_timestamps() -> None:
    told = report((0, "r", "a\nb\n"), (9, "r", "c\n"), (50, "r", "d\n"), (60.5, "r", "e\n"))["slow"]["silences"]
    assert (told["by"], told["count"], told["seconds"]) == ("arrival", 2, 51.5)
    assert told["longest"][0] == {"seconds": 41.0, "at": START + 9, "after": "c"}


def test_silences_by_timestamps_of_a_program_that_keeps_its_output_back() -> None:
    told = report(
        (0, "r", "2026-01-01 10:00:00 a\n"),
        (60, "r", "2026-01-01 10:00:01 b\n2026-01-01 10:00:31 c\nmore\n2026-01-01 10:01:00 d\n"),
    )["slow"]["silences"]
    assert (told["by"], told["count"]) == ("timestamps", 2)
    assert [(one["seconds"], one["after"]) for one in told["longest"]] == [
        (30.0, "2026-01-01 10:00:01 b"),
        (29.0, "more"),
    ]


def test_output_that_was_kept_back_is_no_silence() -> None:
    busy = "".join(f"2026-01-01 10:00:{second:02} x\n" for second in range(60))
    told = report((0, "r", "2026-01-01 09:59:59 x\n"), (60, "r", busy))["slow"]["silences"]
    assert (told["by"], told["count"]) == ("timestamps", 0)


def test_a_date_that_is_written_about_is_no_silence() -> None:
    told = report(
        (0, "r", "2026-01-01 10:00:00 a\n"),
        (1, "r", "2030-01-01 10:00:00 is the day\n"),
        (2, "r", "2026-01-01 10:00:02 b\n"),
        (30, "r", "2026-01-01 18:00:30 other zone\n2026-01-01 10:00:30 c\n"),
    )["slow"]["silences"]
    assert told["count"] == 0 or [one["seconds"] for one in told["longest"]] == [28.0]


def test_between_two_runs_nobody_was_slow() -> None:
    told = report((0, "r1", "2026-01-01 10:00:00 a\n"), (5000, "r2", "2026-01-01 11:23:20 b\n"))["slow"]["silences"]
    assert told["count"] == 0


def test_costs_and_tokens() -> None:
    line = "Current Cost: ${}; Accumulated Cost: ${}; finish_reason=stop\n"
    text = (
        line.format(0.25, 0.25) + line.format(0.5, 0.75) + line.format(1, 0.1) + "prompt_tokens: 5\nprompt_tokens: 7\n"
    )
    assert report((0, "r", text))["cost"] == {
        "usd": 1.75,
        "calls": 3,
        "running_total_usd": 0.85,
        "tokens": {"prompt": 12},
    }
    assert report((0, "r", "x\n"))["cost"] == {"usd": None, "calls": 0, "running_total_usd": None, "tokens": {}}


TIMES = st.lists(
    st.tuples(st.floats(0, 1e8) | st.floats(0, 300), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60
).map(sorted)


@given(TIMES)
def test_rates_count_each_line_where_it_came(times: list[tuple[float, int, int]]) -> None:
    rates = Rates()
    for at, some, errors in times:
        rates.add(at, some, errors)
    told = rates.report()
    assert len(told["lines"]) <= 60
    for which, place in (("lines", 1), ("errors", 2)):
        for index, count in enumerate(told[which]):
            begin = told["start"] + index * told["interval"]
            assert count == sum(one[place] for one in times if begin <= one[0] < begin + told["interval"])
        assert sum(told[which]) == sum(one[place] for one in times)


@given(
    st.lists(
        st.sampled_from(["ERROR a 1\n", "fine\n", "took 12 s\n", "Cost: $1\n", "\n", "x" * 50 + "\n"]), max_size=30
    ),
    st.data(),
)
def test_how_it_is_cut_changes_nothing(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    reports = []
    for bounds in ([0, len(text)], [0, *cuts, len(text)]):
        sink = Blocks("out")
        for begin, end in pairwise(bounds):
            sink.write(begin, START, text[begin:end], "r")
        sink.end()
        reports.append(sink.analysis.report())
    assert reports[0] == reports[1]
    assert reports[0]["lines"] == len(parts) and reports[0]["errors"]["count"] == parts.count("ERROR a 1\n")


def test_memory_is_bounded() -> None:
    """Nothing grows with the log: as much is held after ten times as much of it."""

    def held(blocks: int) -> int:
        chosen = random.Random(1)
        made = Analysis()
        for number in range(blocks):
            text = "".join(
                f"ERROR {chosen.randrange(10**9):x} {'abcdefghij'[number % 10]}\ntook {chosen.randrange(100)} s\n"
                for _ in range(20)
            )
            made.add(text.encode(), START + 20 * number, "r")
        return sum(map(len, (made._errors._groups, made._told._groups, made._arrived._longest, made._rates._counts)))

    assert held(2000) <= max(held(200), analysis._GROUPS + 3 * 60)


def test_a_line_without_end_is_handed_over() -> None:
    sink = Blocks("out")
    for number in range(40):
        sink.write(number << 16, START, b"x" * (1 << 16), "r")
    assert sink.analysis.bytes > 1 << 20
    sink.write(40 << 16, START, b"ERROR", "r")
    sink.write((40 << 16) + 5, START, b"ERROR other\n", "r2")
    sink.gap(7, 99)
    told = sink.analysis.report()
    assert (told["dropped"], told["errors"]["count"]) == (7, 1)


@pytest.mark.parametrize(("counts", "drawn"), [([0, 1, 8, 4], " ▁█▄"), ([0, 0], "  "), ([1, 1000], "▁█"), ([], "")])
def test_bars(counts: list[int], drawn: str) -> None:
    assert bars(counts) == drawn


def test_a_page_for_a_person() -> None:
    told = report(
        (
            0,
            "r",
            "ERROR worker 1 failed\nstep took 12 s\nCurrent Cost: $0.5; Accumulated Cost: $0.5\nprompt_tokens=3\n",
        ),
        (30, "r", "fine\n"),
    )
    page = "\n".join(lines({"worker": "w\x1b", "stream": "err", **told, "dropped": 5}, 80))
    for text in (
        "w\\x1b (err): 5 lines", "30s", "5 bytes are gone", "errors: 1", "ERROR worker 1 failed", "slow, as the log tells: 1",
        "silences, by arrival: 1, 30s together", "cost: $0.5000 in 1 call", "cost: $0.5000 by running totals",
        "tokens: 3 prompt",
        "rates, a column is 1s",
    ):  # fmt: skip
        assert text in page, text
    assert max(map(len, page.splitlines())) <= 80
    assert "errors: 0" in "\n".join(lines({"worker": "w", "stream": "out", **Analysis().report()}, None))


def test_a_log_of_errors_alone_is_counted_in_full() -> None:
    text = "".join(f"ERROR {number}\n" for number in range(5000))
    assert report((0, "r", text))["errors"]["count"] == 5000
    assert len(patterns.interesting(text.encode())) == 5000
