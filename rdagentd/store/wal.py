"""Whether the write-ahead log was damaged in its middle.

SQLite reads a WAL up to the first frame whose checksum is wrong, and drops the rest without a word. That is right for a tail
that was torn by a crash: it was never promised. With `synchronous=FULL` only one commit can be torn, the last. So if
two or more commits lie behind the place where SQLite stops, the WAL was damaged, and so it was if its header is wrong.
Formats: https://www.sqlite.org/fileformat2.html#walformat and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from pathlib import Path

HEADER = struct.Struct(">8I")
"""Magic, format, page size, checkpoint number, two salts, two checksum words."""

FRAME = struct.Struct(">4I8x")
"""Page number; size of the database in pages if the frame ends a commit, else 0; the two salts; then checksums."""

MAGIC = 0x377F0682
"""Plus 1 if the checksums are over big-endian words."""

VALID_FRAMES = struct.Struct("=16xI")
"""Of the -shm file, in the machine's byte order: how many frames SQLite found sound."""


def fault(path: str) -> str | None:
    """What is wrong with the WAL of the database `path`, or None.

    Call it after a read through a connection that is closed by now: that read made the -shm file true. Raises OSError.
    """
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size < HEADER.size:
        return None
    with wal.open("rb") as file:
        header = file.read(HEADER.size)
        if not any(header):
            return None
        magic, _, page_size, _, *salts, first, second = HEADER.unpack(header)
        if magic & ~1 != MAGIC or _checksum(header[:24], magic) != (first, second):
            return "the header of its write-ahead log (-wal) is damaged"
        commits = 0
        for offset in range(HEADER.size + _valid_frames(path) * (FRAME.size + page_size), size, FRAME.size + page_size):
            file.seek(offset)
            frame = file.read(FRAME.size)
            if len(frame) == FRAME.size:
                _, pages, *its = FRAME.unpack(frame)
                commits += bool(pages) and its == salts
    if commits < 2:
        return None
    return f"its write-ahead log (-wal) is damaged in the middle: {commits} commits behind that place cannot be read"


def _valid_frames(path: str) -> int:
    with Path(f"{path}-shm").open("rb") as file:
        (frames,) = VALID_FRAMES.unpack(file.read(VALID_FRAMES.size))
    return int(frames)


def _checksum(data: bytes, magic: int) -> tuple[int, int]:
    first = second = 0
    words = struct.unpack(f"{'>' if magic & 1 else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
