"""Kinds of text: names, paths, users, commands. What cannot be passed to execve(2) is refused."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import Any

from rdagentd.config.kinds import Kind, collect, each
from rdagentd.config.problems import refused, show, wrong_type

MAX_ARGUMENT = (128 << 10) - 1
"""Longest argument in bytes: MAX_ARG_STRLEN of execve(2), less the final NUL."""

MAX_SPLIT = 8 << 10
"""Longest command, in characters, that is split like a shell's: splitting costs a microsecond for each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def text(value: Any, longest: int = 4096, *, empty: bool = False) -> str:
    """Text that the kernel can take: UTF-8 without NUL, at most `longest` bytes, not empty unless `empty`."""
    if type(value) is not str:
        raise wrong_type("text", value, "write it in quotes" if type(value) in (int, float, bool) else "")
    if not value and not empty:
        raise refused("is empty")
    if "\0" in value:
        raise refused("contains a NUL character")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise refused("is not UTF-8")
    if len(value) > longest or size_of(value) > longest:
        raise refused(f"is longer than {longest} bytes")
    return value


def size_of(value: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(value) if value.isascii() else len(value.encode())


def _name(value: Any) -> str:
    if type(value) is not str:
        raise wrong_type("a name", value, "write it in quotes")
    if not _NAME.fullmatch(value):
        raise refused(
            f"{show(value)} is not a name", "1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or a digit", value
        )
    return value


def _path(value: Any) -> str:
    path = text(value, 4095)  # PATH_MAX of limits.h, less the final NUL
    if not path.startswith("/"):
        hint = "~ is not expanded here" if path.startswith("~") else "give the whole path, from /"
        raise refused(f"{show(path)} is relative", hint, value)
    return path


def rebased(path: str, base: str) -> str:
    """A relative path from `base` on; an absolute one, one from ~ and an empty one stay, to be judged by their kind."""
    return path if not path or path.startswith(("/", "~")) else str(PurePosixPath(base, path))


def _paths(value: Any) -> tuple[str, ...]:
    return _PATH_LIST.parse([value] if type(value) is str else value)  # type: ignore[no-any-return]


def _user(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is int and 0 <= value < 2**32 - 1:  # the last one means "leave unchanged" to setuid(2)
        return str(value)
    return text(value, 256)


def _argument(value: Any) -> str:
    return text(value, MAX_ARGUMENT, empty=True)


def _command(value: Any) -> tuple[str, ...]:
    words = _split(value) if type(value) is str else value
    if type(words) is not list and type(words) is not tuple:
        raise wrong_type("a list of words, or text", value)
    if not words or words[0] == "":
        raise refused("is empty", "give the program and its arguments")
    return tuple(collect(_argument, words))


def _split(line: str) -> list[str]:
    if len(line) > MAX_SPLIT:
        raise refused(f"text of {len(line)} characters is too long to split", "write a list of words")
    try:
        return shlex.split(line)
    except ValueError as error:
        raise refused(f"cannot be split into words: {str(error).lower()}", "write a list of words") from None


NAME = Kind("name", _name)
OPTIONAL_PATH = Kind("path", lambda value: None if value is None else _path(value))
PATH = Kind("path", _path)
_PATH_LIST = each(PATH, 16)
PATHS = Kind("path, or list of at most 16 paths", _paths)
USER = Kind("name or number", _user)
COMMAND = Kind("list of words, or text that is split like a shell's", _command)
