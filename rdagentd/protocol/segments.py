"""Where captured output lies: the executor writes it, the daemon reads it, and both must agree to the byte.

A worker's log is one endless stream of bytes, addressed by offset; the offset of a byte never changes. The stream is cut
into segments: `<offset of its first byte, 20 digits>.log`. Beside each lies `<same number>.idx`: records of 16 bytes, big
endian, (offset, microseconds since the epoch), ascending in offset, telling when the byte at that offset arrived. Segments
are only appended to, and removed oldest first.
"""

from __future__ import annotations

import struct

INDEX_RECORD = struct.Struct(">QQ")
"""One record of an index: offset, microseconds since the epoch."""

INDEX_INTERVAL = 100_000
"""Least distance between two index records, in microseconds: the precision of `--since`."""

STREAMS = ("out", "err")
"""Directories below a worker's log directory. `err` is used only where a spec keeps the streams apart."""


def log_name(offset: int) -> str:
    """File name of the segment that begins at `offset`."""
    return f"{offset:020d}.log"


def index_name(offset: int) -> str:
    """File name of the index beside that segment."""
    return f"{offset:020d}.idx"


def base_of(name: str) -> int | None:
    """First offset of the segment with this file name; None if it is not a segment."""
    digits = name[:-4]
    return int(digits) if name.endswith(".log") and len(digits) == 20 and digits.isdigit() else None
