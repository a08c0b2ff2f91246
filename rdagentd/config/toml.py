"""TOML files, read whole, with errors that name file, line and column."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from rdagentd.config.problems import ConfigError, Problem

MAX_FILE = 4 << 20
"""Largest file that is read, in bytes."""


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a file. Raises ConfigError where it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from None
    if len(data) > MAX_FILE:
        raise _unreadable(path, f"is larger than {MAX_FILE} bytes")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 (at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"not TOML: {_lower(str(error))}") from None
    except RecursionError:
        raise _unreadable(path, "nested too deep") from None


def toml_files(directory: Path) -> list[Path]:
    """The regular files *.toml of a directory in the order of their names, hidden ones apart.

    Raises ConfigError where the directory cannot be read.
    """
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise _unreadable(directory, (error.strerror or str(error)).lower()) from None
    return [path for path in entries if path.suffix == ".toml" and not path.name.startswith(".") and path.is_file()]


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError([Problem("", reason, where=str(path))])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
