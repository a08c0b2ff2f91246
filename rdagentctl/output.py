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
            sink.write(end - len(data), item["time"], data, item.get("run"))
            request.update(offset=end, since=None, tail=None)

    resume(client, once)
    for sink in sinks:
        sink.end()


class Sink:
    """Writes the bytes unchanged."""

    def __init__(self, stream: str, file: BinaryIO | None = None) -> None:
        self.stream = stream
        self._file = file or sys.stdout.buffer

    def write(self, offset: int, at: float, data: bytes, run: str | None = None) -> None:
        """Takes the bytes that begin at `offset`, came at `at` and are of `run` (None: unknown)."""
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
        self._run: str | None = None

    def write(self, offset: int, at: float, data: bytes, run: str | None = None) -> None:
        """Takes bytes; a line is passed on when its end is there, or the next run begins."""
        if run != self._run:
            self.end()
            self._run = run
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


class NamedLines(Lines):
    """Passes on lines with the worker's name before each, for several workers in one output."""

    def __init__(self, stream: str, wanted: Callable[[bytes], bool], name: str, width: int) -> None:
        super().__init__(stream, wanted)
        self._head = f"{name:<{width}} | ".encode()

    def put(self, offset: int, at: float, line: bytes, end: bytes) -> None:
        """Writes one line, whole: another worker's may be next."""
        self._file.write(self._head + line + b"\n")


class JsonLines(Lines):
    """Writes each line as an object: offset, time, worker, run, stream, text."""

    def __init__(self, stream: str, wanted: Callable[[bytes], bool], worker: str) -> None:
        super().__init__(stream, wanted)
        self._worker = worker

    def put(self, offset: int, at: float, line: bytes, end: bytes) -> None:
        """Writes one line."""
        self._show({"offset": offset, "time": at, "run": self._run, "text": line})

    def gap(self, dropped: int, offset: int) -> None:
        """Writes an object for the gap."""
        self.end()
        self._show({"offset": offset, "dropped": dropped})

    def _show(self, told: dict[str, Any]) -> None:
        render.show_json({"worker": self._worker, "stream": self.stream, **told}, stream=True)
