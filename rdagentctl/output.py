"""A worker's output on its way to the caller: bytes as they are, or line by line for --grep and --json."""

from __future__ import annotations

import sys

from rdagentctl import render
from rdagentctl.client import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from rdagentctl.client import Client

LONGEST_LINE = 1 << 20
"""Bytes after which a line without an end is treated as one."""


def copy(client: Client, requests: Sequence[dict[str, Any]], sinks: Sequence[Sink]) -> None:
    """Reads one log or several at once, each into its sink, and goes on where it was if the daemon goes away.

    The requests are brought up to date, so that a second call goes on as well.
    """

    def once() -> None:
        for index, item in client.stream(*(("logs", request) for request in requests)):
            request, sink = requests[index], sinks[index]
            if "dropped" in item:
                sink.gap(item["dropped"], item["offset"])
                continue
            known = request.get("offset")
            data = item["data"][max(0, known - item["offset"]) :] if known is not None else item["data"]
            end = item["offset"] + len(item["data"])
            sink.write(end - len(data), item["time"], data)
            request.update(offset=end, since=None, tail=None)

    resume(client, once)
    for sink in sinks:
        sink.end()


class Sink:
    """Writes the bytes unchanged."""

    def __init__(self, stream: str, file: BinaryIO | None = None) -> None:
        self.stream = stream
        self._file = file or sys.stdout.buffer

    def write(self, offset: int, at: float, data: bytes) -> None:
        """Takes the bytes that begin at `offset` and came at `at`."""
        self._file.write(data)
        self._file.flush()

    def gap(self, dropped: int, offset: int) -> None:
        """Takes note of bytes before `offset` that are no longer there."""
        self._file.flush()
        print(f"[{dropped} bytes before offset {offset} are gone: the log has a cap]", file=sys.stderr)

    def end(self) -> None:
        """There is no more."""


class Lines(Sink):
    """Passes on those lines that `wanted` wants."""

    def __init__(self, stream: str, wanted: Callable[[bytes], bool]) -> None:
        super().__init__(stream)
        self._wanted = wanted
        self._begun = b""
        self._offset = 0
        self._at = 0.0

    def write(self, offset: int, at: float, data: bytes) -> None:
        """Takes bytes; a line is passed on when its end is there."""
        if not self._begun:
            self._offset, self._at = offset, at
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._line(line, b"\n")
            self._at = at
        if len(self._begun) > LONGEST_LINE:
            self.end()
        self._file.flush()

    def gap(self, dropped: int, offset: int) -> None:
        """A line does not go on beyond a gap."""
        self.end()
        super().gap(dropped, offset)

    def end(self) -> None:
        """Passes on a last line without an end."""
        if self._begun:
            self._line(self._begun, b"")
        self._begun = b""
        self._file.flush()

    def _line(self, line: bytes, end: bytes) -> None:
        if self._wanted(line):
            self.put(self._offset, self._at, line, end)
        self._offset += len(line) + len(end)

    def put(self, offset: int, at: float, line: bytes, end: bytes) -> None:
        """Writes one line."""
        self._file.write(line + end)


class JsonLines(Lines):
    """Writes each line as an object: offset, time, stream, line."""

    def put(self, offset: int, at: float, line: bytes, end: bytes) -> None:
        """Writes one line."""
        render.show_json({"offset": offset, "time": at, "stream": self.stream, "line": line}, stream=True)

    def gap(self, dropped: int, offset: int) -> None:
        """Writes an object for the gap."""
        self.end()
        render.show_json({"offset": offset, "stream": self.stream, "dropped": dropped}, stream=True)
