"""The messages of one trace on disk: one JSON object a line, appended, at most so many bytes and messages; the oldest go.

A message that was answered for is in the kernel's hands, so it survives the end of this program, however it comes; `sync` makes
it survive that of the machine. What such an end tears, the last line, is cut off by `load`. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

MOST_BYTES = 128 << 20
MOST_MESSAGES = 10_000
"""Of one trace. They are kept in two files, of which the older one goes when the newer one is half of that."""

END = "END"
"""The tag of the message after which nothing comes."""

LONGEST_TAG = 256
"""Characters."""

_TAG = b'{"tag": '
_HEAD = len(_TAG) + LONGEST_TAG * 12 + 2
"""Bytes at the beginning of a line that hold its tag: a character is two escapes of six at most."""

_decode = json.JSONDecoder().raw_decode


@frozen
class Piece:
    """Lines of a file: `length` bytes from `offset` on."""

    path: Path
    offset: int
    length: int


@define(eq=False)
class _Segment:
    """One file. first: number of its first message; starts: where each line begins; tags: of each."""

    path: Path
    first: int
    starts: array[int] = field(factory=lambda: array("Q"))
    tags: list[str] = field(factory=list)
    size: int = 0


def line_of(message: dict[str, Any]) -> bytes:
    """A message as a line, its tag (a text of at most LONGEST_TAG) first: an index is made without reading the rest."""
    return json.dumps({"tag": message.get("tag"), **message}).encode() + b"\n"


class Journal:
    """Numbers of messages count from the first one ever; those from `first` to before `end` are there."""

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES, most_messages: int = MOST_MESSAGES) -> None:
        self.directory = directory
        self._most = (most_bytes // 2, most_messages // 2)
        self._segments: list[_Segment] = []
        self.ended: str | None = None

    @property
    def first(self) -> int:
        """Number of the oldest message that is there."""
        return self._segments[0].first if self._segments else 0

    @property
    def end(self) -> int:
        """Number that the next message will have."""
        return self._segments[-1].first + len(self._segments[-1].starts) if self._segments else 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def tags(self) -> list[str]:
        """Of all messages that are there."""
        return [tag for segment in self._segments for tag in segment.tags]

    # --- in -----------------------------------------------------------------------------------------------------------

    def append(self, message: dict[str, Any]) -> None:
        """Keeps a message. Raises OSError, and then it is not kept."""
        line = line_of(message)
        segment = self._room(len(line))
        fd = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if (written := os.pwrite(fd, line, segment.size)) != len(line):
                os.ftruncate(fd, segment.size)
                raise OSError(f"only {written} of {len(line)} bytes could be written")
        finally:
            os.close(fd)
        self._note(segment, line)

    def _room(self, length: int) -> _Segment:
        newest = self._segments[-1] if self._segments else None
        most_bytes, most_messages = self._most
        if newest is not None and newest.size + length <= most_bytes and len(newest.starts) < most_messages:
            return newest
        if newest is not None and not newest.starts:  # one message that is more than half of all
            return newest
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        added = _Segment(self.directory / f"{self.end:012}.jsonl", self.end)
        for old in self._segments[:-1]:
            old.path.unlink(missing_ok=True)
        self._segments = [*self._segments[-1:], added]
        return added

    def _note(self, segment: _Segment, line: bytes) -> None:
        segment.starts.append(segment.size)
        segment.size += len(line)
        segment.tags.append(tag := _tag_of(line))
        if tag == END:
            self.ended = str(json.loads(line).get("timestamp"))

    def sync(self) -> None:
        """Has the disk keep what is there. Raises OSError."""
        for path in (*(segment.path for segment in self._segments[-2:]), self.directory, self.directory.parent):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # it went meanwhile
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    # --- out ----------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Reads what is there, and cuts off what is no whole line. Raises OSError."""
        self._segments, self.ended = [], None
        for path in sorted(self.directory.glob("*.jsonl")):
            if not path.stem.isdecimal() or int(path.stem) < self.end:
                continue
            segment = _Segment(path, int(path.stem))
            with path.open("rb+") as file:
                for line in file:
                    if not _whole(line):
                        break
                    self._note(segment, line)
                if file.seek(0, os.SEEK_END) != segment.size:
                    file.truncate(segment.size)
            self._segments.append(segment)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """Where the messages from `start` to before `end` are, as lines, each ending with a newline."""
        for segment in self._segments:
            low, high = max(start - segment.first, 0), min(end - segment.first, len(segment.starts))
            if low < high:
                upto = segment.starts[high] if high < len(segment.starts) else segment.size
                yield Piece(segment.path, segment.starts[low], upto - segment.starts[low])


def _tag_of(line: bytes) -> str:
    """Raises ValueError for what is no line of ours."""
    if not line.startswith(_TAG):
        raise ValueError("it does not begin with a tag")
    return sys.intern(str(_decode(line[len(_TAG) : _HEAD].decode(errors="replace"))[0]))


def _whole(line: bytes) -> bool:
    """Whether a line is a message. Zeros are what a file system may show after a power failure."""
    try:
        _tag_of(line)
    except ValueError:
        return False
    return line.endswith(b"}\n") and b"\0" not in line
