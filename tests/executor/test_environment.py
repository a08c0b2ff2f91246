"""Environment files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdagentd.executor.environment import MAX_FILE, read_environment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"A=b", b"b"),
        (b"  A = b c ", b"b c"),
        (b"export A=b", b"b"),
        (b"A=", b""),
        (b"A=''", b""),
        (b"A='$X ${X} \"q\"'", b'$X ${X} "q"'),
        (b'A="${X}!"', b"known!"),
        (b"A=${X}${NONE}", b"known"),
        (b'A="a \\"b\\" \\\\ \\${X}"', b'a "b" \\ ${X}'),
        (b"A=C:\\\\x", b"C:\\\\x"),
        (b"A=1\nA=2", b"2"),
        (b"A=x#y", b"x#y"),
        (b"A=\xff\xfe", b"\xff\xfe"),
        (b"# c\n\n  # d\nA=1\r\n", b"1"),
    ],
)
def test_values(tmp_path: Path, text: bytes, value: bytes) -> None:
    (tmp_path / "env").write_bytes(text)
    env = {b"X": b"known"}
    read_environment(str(tmp_path / "env"), env, {"X"})
    assert env == {b"X": b"known", b"A": value}


@pytest.mark.parametrize("text", [b"A", b"1A=2", b"A='x", b'A="x', b"A='x'y", b"=x", b"export"])
def test_what_is_no_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "env").write_bytes(b"OK=1\n" + text)
    with pytest.raises(ValueError, match="line 2 is not KEY=value"):
        read_environment(str(tmp_path / "env"), {}, ())


def test_what_is_fixed_stays(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1\nB=${A}\n")
    env = {b"A": b"fixed"}
    read_environment(str(tmp_path / "env"), env, {"A"})
    assert env == {b"A": b"fixed", b"B": b"fixed"}


def test_size_and_kind(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"#" * (MAX_FILE + 1))
    with pytest.raises(ValueError, match="larger than"):
        read_environment(str(tmp_path / "env"), {}, ())
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Invalid argument"):
        read_environment(str(tmp_path / "fifo"), {}, ())
