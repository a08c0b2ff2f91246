"""TOML files and what is told of those that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdagentd.config.problems import ConfigError
from rdagentd.config.toml import MAX_FILE, read_toml, toml_files


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = 1\nb = = 2\n", r"not TOML: invalid value \(at line 2, column 5\)"),
        (b"a = 1\na = 2\n", r"not TOML: cannot overwrite a value \(at line 2, column 6\)"),
        (b"[a\n", r"not TOML: expected '\]' at the end of a table declaration \(at line 1, column 3\)"),
        (b"a = '\xff'\n", r"not UTF-8 \(at byte 5\)"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"#" * (MAX_FILE + 1), f"is larger than {MAX_FILE} bytes"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^cannot read {path}: {told}$"):
        read_toml(path)


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.toml", "a.toml", "10.toml", "9.toml", ".hidden.toml", "c.toml.disabled", "d.tomlx", "e.conf"):
        (tmp_path / name).touch()
    (tmp_path / "directory.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")  # opening it would wait for ever
    (tmp_path / "link.toml").symlink_to("e.conf")
    (tmp_path / "nowhere.toml").symlink_to("nothing")
    assert [path.name for path in toml_files(tmp_path)] == ["10.toml", "9.toml", "a.toml", "b.toml", "link.toml"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^cannot read {tmp_path}/x: no such file or directory$"):
        toml_files(tmp_path / "x")
