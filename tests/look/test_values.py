"""Values in JSON files: of each glob the newest of this run, and what stands at a path."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rdagentd.look.documents import MAX_FILE
from rdagentd.look.values import at, values


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("a.c.1", "y"), ("a.c.9", None), ("a.c.x", None), ("n", None), ("a.b.c", None), ("f", False)],
)
def test_a_path_leads_through_keys_and_lists(path: str, value: object) -> None:
    assert at({"a": {"b": 1, "c": ["x", "y"]}, "f": False}, path) == value


def test_the_newest_file_counts_and_none_older_than_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, number, written in (("m_1", 1, 100), ("m_3", 3, 300), ("m_2", 2, 200)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"n": number}))
        os.utime(tmp_path / f"{name}.json", (written, written))
    assert values([("m_*.json", "n"), ("m_*.json", "x"), ("no*.json", "n")], 250) == [("m_*.json", "n", 3)]
    assert values([("m_*.json", "n")], 301) == []


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"n": {}}', f'{{"n": "{"x" * MAX_FILE}"}}'])
def test_what_is_damaged_or_no_plain_value_is_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.json").write_text(text)
    assert values([("m.json", "n")], 0) == []
