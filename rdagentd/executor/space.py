"""What a directory holds on disk, and which of its files go. No link is followed, no other file system entered."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress

_BLOCK = 512
"""Of st_blocks: inode(7)."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

Entry = tuple[int, str, os.stat_result]
"""Descriptor of the directory that it is in, name, and what it is."""


def walk(path: str) -> Iterator[Entry]:
    """All that is below, a directory after what is in it. What its owner has closed to himself is not looked into.

    By descriptors: while we walk the owner may put a link in the place of a directory, and it leads nowhere. Raises OSError.
    """
    top = os.open(path, _DIRECTORY)
    device = os.fstat(top).st_dev
    levels: list[tuple[int, Iterator[str], Entry | None]] = [(top, iter(os.listdir(top)), None)]
    try:
        while levels:
            fd, names, entry = levels[-1]
            for name in names:
                with suppress(FileNotFoundError, NotADirectoryError):
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if found.st_dev != device:
                        continue
                    if stat.S_ISDIR(found.st_mode) and (below := _open(fd, name)) >= 0:
                        levels.append((below, iter(os.listdir(below)), (fd, name, found)))
                        break
                    yield fd, name, found
            else:
                levels.pop()
                os.close(fd)
                if entry is not None:
                    yield entry
    finally:
        for fd, _, _ in levels:
            os.close(fd)


def _open(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        return -1


def measure(path: str) -> dict[int, int]:
    """Bytes on disk by the second in which a file was last used; a file with several names counts once. Raises OSError."""
    seen = set()
    by_use: dict[int, int] = {}
    for _, _, found in walk(path):
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if found.st_ino in seen:
                continue
            seen.add(found.st_ino)
        if found.st_blocks:
            use = _last_use(found)
            by_use[use] = by_use.get(use, 0) + found.st_blocks * _BLOCK
    return by_use


def cutoff(by_use: Mapping[int, int], size: int | None, age: float | None, now: float) -> float:
    """The time of last use before which files go, so that none is older than `age` seconds and `size` bytes are left."""
    before = 0.0 if age is None else now - age
    left = sum(by_use.values())
    for use in sorted(by_use):
        if use >= before and (size is None or left <= size):
            break
        before = max(before, use + 1)
        left -= by_use[use]
    return before


def sweep(path: str, before: float) -> tuple[int, int]:
    """Removes the files that were last used before this time, and directories that are empty then. How many, and bytes."""
    files = size = 0
    for parent, name, found in walk(path):
        if _last_use(found) >= before:
            continue
        with suppress(OSError):  # somebody has used it, or it is a directory with something in it
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)
            files, size = files + 1, size + found.st_blocks * _BLOCK
    return files, size


def _last_use(found: os.stat_result) -> int:
    """Of a directory only what was made and removed in it: walking reads it."""
    return int(found.st_mtime if stat.S_ISDIR(found.st_mode) else max(found.st_atime, found.st_mtime))
