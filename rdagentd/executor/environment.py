"""Environment files: lines `KEY=value`, read by the child as the user that the run has."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from errno import EINVAL

MAX_FILE = 1 << 20
"""Largest environment file, in bytes."""

_LINE = re.compile(
    rb"""\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*"""
    rb"""(?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"].*?|))\s*""",
    re.DOTALL,
)
_BARE = re.compile(rb"()\$\{([A-Za-z_]\w*)\}")
_DOUBLE = re.compile(rb"\\([\"\\$`])|\$\{([A-Za-z_]\w*)\}")


def read_environment(path: str, env: dict[bytes, bytes], fixed: Collection[str]) -> None:
    """Adds the variables of a file to `env`; those named in `fixed` stay as they are, a later line wins over an earlier.

    `KEY=value`, optionally after `export`; blank lines and lines that begin with `#` say nothing. A value may stand in
    single quotes (taken as it is) or double quotes (`\\"`, `\\\\`, `\\$` are the plain characters); `${VAR}` becomes the value
    of a variable known so far, else nothing. Raises OSError, ValueError with the line's number.
    """
    for number, line in enumerate(_read(path).split(b"\n"), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"line {number} is not KEY=value")
        key, value = found[1], found["single"]
        if value is None:
            pattern, text = (_BARE, found["bare"]) if found["double"] is None else (_DOUBLE, found["double"])
            value = pattern.sub(lambda match: match[1] or env.get(match[2], b""), text)
        if os.fsdecode(key) not in fixed:
            env[key] = value


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # non-blocking: opening a FIFO would wait
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(EINVAL, os.strerror(EINVAL))
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    return text
