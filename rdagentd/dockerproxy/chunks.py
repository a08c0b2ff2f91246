"""A chunked body: sizes checked, data handed out. No extensions, no trailers. No I/O here."""

from __future__ import annotations

import re

from rdagentd.dockerproxy.refusal import invalid

_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_LONGEST_LINE = 10


class Chunks:
    """Takes the bytes of a chunked body as they come. done: the last chunk was there; rest: what came behind it."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._left = 0
        self._line = b""
        self._after_data = False
        self._last = False

    def feed(self, data: memoryview) -> list[memoryview]:
        """The pieces of the body in these bytes, in order. Raises RefusedError at the first wrong byte."""
        pieces = []
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._after_data = not self._left
            else:
                at = self._read_line(data, at)
        if self.done:
            self.rest += bytes(data[at:])
        return pieces

    def _read_line(self, data: memoryview, at: int) -> int:
        """Adds to the line that was begun; the position behind what was taken."""
        part = bytes(data[at : at + _LONGEST_LINE - len(self._line)])
        end = part.find(b"\n")
        self._line += part if end < 0 else part[: end + 1]
        if end >= 0:
            self._take_line(self._line)
            self._line = b""
            return at + end + 1
        if len(self._line) >= _LONGEST_LINE:
            raise invalid(f"cannot read body: {self._line!r} does not begin a chunk")
        return at + len(part)

    def _take_line(self, line: bytes) -> None:
        text = line[:-2]
        if line[-2:] != b"\r\n":
            raise invalid(f"cannot read body: {line!r} does not end with CR LF")
        if self._after_data:
            if text:
                raise invalid(f"cannot read body: {line!r} follows a chunk")
            self._after_data = False
        elif self._last:
            if text:
                raise invalid("cannot read body: trailers are not supported")
            self.done = True
        elif _SIZE.fullmatch(text) is None:
            raise invalid(f"cannot read body: {text!r} is not the size of a chunk")
        else:
            self._left = int(text, 16)
            self._last = not self._left
