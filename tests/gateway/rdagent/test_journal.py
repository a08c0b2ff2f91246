"""The journal holds what was put in, in its order and within its bounds, and whatever its file was cut to."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.gateway.rdagent.journal import LONGEST_TAG, Journal, line_of

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAGS = st.text(max_size=LONGEST_TAG) | st.sampled_from(
    ["END", "research.hypothesis", "\ud800", "😀" * LONGEST_TAG, '"\\']
)
MESSAGES = st.builds(lambda tag, content, more: {**more, "tag": tag, "content": content}, TAGS, JSON,
                     st.dictionaries(st.text(), JSON, max_size=2))  # fmt: skip


def held(journal: Journal) -> list[Any]:
    """All messages, as a reader finds them."""
    pieces = journal.pieces(journal.first, journal.end)
    data = b"".join(piece.path.read_bytes()[piece.offset :][: piece.length] for piece in pieces)
    return [json.loads(line) for line in data.splitlines()]


@given(messages=st.lists(MESSAGES, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_put_in_comes_out_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"))
    for message in messages:
        journal.append(message)
    again = Journal(journal.directory)
    again.load()
    for one in (journal, again):
        assert held(one) == messages
        assert one.tags == [message["tag"] for message in messages]
        assert (one.first, one.end) == (0, len(messages))
    assert again.ended == journal.ended


@given(counts=st.lists(st.integers(1, 2000), min_size=1, max_size=60), most=st.integers(4, 40))
@settings(max_examples=40, deadline=None)
def test_it_stays_within_its_bounds_and_keeps_the_newest(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], most: int
) -> None:
    most_bytes = 20_000
    journal = Journal(tmp_path_factory.mktemp("journal"), most_bytes, most)
    for number, count in enumerate(counts):
        journal.append({"tag": "t", "content": [number, "x" * count]})
        assert journal.size <= most_bytes and journal.end - journal.first <= most
        assert sum(path.stat().st_size for path in journal.directory.iterdir()) == journal.size
    numbers = [message["content"][0] for message in held(journal)]
    assert numbers == list(range(journal.first, len(counts))) and len(numbers) >= min(len(counts), 1)
    again = Journal(journal.directory, most_bytes, most)
    again.load()
    assert held(again) == held(journal) and (again.first, again.end) == (journal.first, journal.end)


@given(messages=st.lists(MESSAGES, min_size=1, max_size=6), data=st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_a_crash_leaves_of_the_last_write_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any], data: st.DataObject
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"))
    for message in messages:
        journal.append(message)
    (path,) = journal.directory.iterdir()
    whole = path.read_bytes()
    last = len(line_of(messages[-1]))
    left = data.draw(st.integers(0, last - 1))
    path.write_bytes(whole[: len(whole) - last + left] + b"\0" * data.draw(st.sampled_from([0, 1, 5000])))
    again = Journal(journal.directory)
    again.load()
    assert held(again) == messages[:-1] and path.stat().st_size == again.size
    again.append(messages[-1])
    assert held(again) == messages


def test_one_message_may_be_more_than_half_of_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1000, 10)
    for number in range(5):
        journal.append({"tag": "t", "content": str(number) * 900})
    assert [message["content"][0] for message in held(journal)] == ["3", "4"]


def test_what_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append({"tag": "a"})
    (path,) = journal.directory.iterdir()
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(OSError):
        journal.append({"tag": "b"})
    path.rmdir()
    (tmp_path / "away").rename(path)
    journal.append({"tag": "c"})
    assert journal.tags == ["a", "c"] and [one["tag"] for one in held(journal)] == ["a", "c"]


WRITER = """
import sys
from pathlib import Path
from rdagentd.gateway.rdagent.journal import Journal
journal = Journal(Path(sys.argv[1]), 100_000, 300)
journal.load()
while True:
    journal.append({"tag": "t", "content": [journal.end, "x" * (journal.end * 37 % 900)]})
    print(journal.end, flush=True)
"""


@pytest.mark.crash
def test_what_was_answered_for_survives_kill_9(tmp_path: Path, seeded: random.Random) -> None:
    answered = 0
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(seeded.randrange(1, 400)):
            answered = int(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read().splitlines(keepends=True)
        answered = max([answered, *(int(line) for line in rest if line.endswith(b"\n"))])
        writer.wait()
        journal = Journal(tmp_path, 100_000, 300)
        journal.load()
        assert journal.end in (answered, answered + 1)
        assert [message["content"][0] for message in held(journal)] == list(range(journal.first, journal.end))
