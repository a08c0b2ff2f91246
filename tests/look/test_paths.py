"""Which files a pattern names, and which of them is the newest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdagentd.look import paths


def make(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.json", ["a.json"]),
        ("**/*.json", ["a.json", "d/b.json", "d/e/c.json"]),
        ("d/**/?.json", ["d/b.json", "d/e/c.json"]),
        ("d/e/c.json", ["d/e/c.json"]),
        ("{name}.json", ["a.json"]),
        ("d", []),
        ("no/such/thing", []),
        ("x+y", ["x+y"]),
    ],
)
def test_a_pattern_names_regular_files(tmp_path: Path, pattern: str, found: list[str]) -> None:
    make(tmp_path, "a.json", "d/b.json", "d/e/c.json", "x+y", "xxy")
    assert sorted({entry.path for entry in paths.find(str(tmp_path), pattern)}) == found


def test_fields_order_as_numbers_and_not_as_text(tmp_path: Path) -> None:
    make(tmp_path, "9/4_record", "10/0_gen", "10/1_code", "2/0_gen", "x/0_gen", "10/none")
    entries = paths.find(str(tmp_path), "{loop:int}/{step:int}_{name}")
    ordered = paths.newest_first(entries, ("loop", "step"), 0)
    assert [entry.path for entry in ordered] == ["10/1_code", "10/0_gen", "9/4_record", "2/0_gen"]
    assert ordered[0].fields == {"loop": 10, "step": 1, "name": "code"}


def test_what_was_written_in_this_life_comes_before_all_that_was_not(tmp_path: Path) -> None:
    make(tmp_path, "1", "30", "2")
    for name, at in (("1", 200), ("2", 300), ("30", 100)):
        os.utime(tmp_path / name, (at, at))
    entries = paths.find(str(tmp_path), "{loop:int}")
    assert [entry.path for entry in paths.newest_first(entries, ("loop",), 150 * 10**9)] == ["2", "1", "30"]
    assert [entry.path for entry in paths.newest_first(entries, ("mtime",), 0)] == ["2", "1", "30"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("/etc/passwd", "below the directory"), ("../x", "below the directory"), ("a//b", "below the directory"),
        ("", "below the directory"), ("a/**", "ends with"), ("{a}/{a}", "twice"), ("{a:float}", "is no field"),
        ("}", "is no field"), ("{loop:int", "is no field"),
    ],
)  # fmt: skip
def test_a_pattern_that_makes_no_sense_is_refused(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        paths.parse(pattern)


def test_no_link_is_followed_be_it_to_a_file_or_a_directory(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    make(outside, "secret/a")
    make(top, "own/a")
    (top / "link").symlink_to(outside / "secret")
    (top / "own" / "b").symlink_to(outside / "secret" / "a")
    os.mkfifo(top / "own" / "fifo")
    assert [entry.path for entry in paths.find(str(top), "*/*")] == ["own/a"]
    for path in ("link/a", "own/b"):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            paths.opened(str(top), path)
    os.close(paths.opened(str(top), "own/a"))


def test_who_has_too_much_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"d/{number}" for number in range(20)))
    monkeypatch.setattr(paths, "MOST", 21)
    assert len(paths.find(str(tmp_path), "d/*")) == 20
    monkeypatch.setattr(paths, "MOST", 20)
    with pytest.raises(ValueError, match="more than 20 files"):
        paths.find(str(tmp_path), "d/*")
