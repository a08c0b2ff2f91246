"""Files of the kernel, in /proc and /sys: read and written in one piece."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """All of it. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return file.readall().decode("utf-8", "replace")


def write(path: str, text: str) -> None:
    """In one write(2), as the kernel wants it; nothing is made. Raises OSError."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
