"""What is read in place of the table: a worker's output as it comes, why it is where it is, the keys."""

from __future__ import annotations

import re
from collections import deque

from rdagentctl.render import DIM, RED, plain, width_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KEPT = 5000
"""Lines of output that can be scrolled back to."""

LONGEST = 4096
"""Bytes of a line that are shown, if it is longer."""

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[ -/]+[0-~])")
"""Colours and the like in output, ECMA-48: they would be ours if they reached the terminal."""


class Pane:
    """Lines to read, each with a style. back: how many of them are hidden below the window; 0: it follows the end."""

    def __init__(self, kind: str, name: str, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.kind = kind
        self.name = name
        self.lines: deque[tuple[str, str]] = deque(lines, KEPT)
        self.back = 0

    def all(self) -> Sequence[tuple[str, str]]:
        """Every line."""
        return self.lines

    def scroll(self, by: int) -> None:
        """So many lines up (or, negative, down)."""
        self.back = min(max(0, self.back + by), max(0, len(self.all()) - 1))

    def window(self, width: int, height: int) -> list[tuple[str, str]]:
        """The last lines that fit above what is hidden, long ones folded; at the beginning as many as there is room for."""
        lines = self.all()
        self.back = min(self.back, _most_back(lines, width, height))
        shown: list[tuple[str, str]] = []
        for at in range(len(lines) - 1 - self.back, -1, -1):
            text, style = lines[at]
            shown[:0] = [(part, style) for part in fold(text, width)]
            if len(shown) >= height:
                break
        return shown[-height:] if height > 0 else []


class LogPane(Pane):
    """Output, by stream; what has no end of line yet is shown too.

    offsets: up to where each stream was read. open: streams that are followed. told_over: that there is no more was said.
    """

    def __init__(self, name: str) -> None:
        super().__init__("logs", name)
        self.offsets: dict[str, int] = {}
        self.open: set[str] = set()
        self.told_over = False
        self._begun: dict[str, bytes] = {}

    def all(self) -> Sequence[tuple[str, str]]:
        """Every line, and those that are not complete."""
        begun = [(clean(data), _style(stream)) for stream, data in self._begun.items() if data]
        return [*self.lines, *begun] if begun else self.lines

    def take(self, stream: str, offset: int, data: bytes) -> None:
        """Bytes that begin at `offset`; those that are known already are left out."""
        known = self.offsets.get(stream, offset)
        end = offset + len(data)
        data = data[max(0, known - offset) :]
        self.offsets[stream] = max(known, end)
        *lines, begun = (self._begun.get(stream, b"") + data).rsplit(b"\n", KEPT)
        if lines and b"\n" in lines[0]:
            lines[0] = lines[0].rpartition(b"\n")[2]
        self._begun[stream] = begun[-LONGEST:]
        for line in lines:
            self._add(clean(line[:LONGEST]), _style(stream))

    def gap(self, stream: str, dropped: int, offset: int) -> None:
        """Bytes before `offset` are no longer there."""
        self._end_line(stream)
        self.offsets[stream] = offset
        self._add(f"[{dropped} bytes are gone: the log has a cap]", DIM)

    def note(self, text: str) -> None:
        """A word of our own between the lines."""
        for stream in self._begun:
            self._end_line(stream)
        self._add(f"[{text}]", DIM)

    def over(self, text: str) -> None:
        """There is no more for now; said once."""
        if not self.told_over:
            self.note(text)
        self.told_over = True

    def _end_line(self, stream: str) -> None:
        begun = self._begun.get(stream)
        self._begun[stream] = b""
        if begun:
            self._add(clean(begun), _style(stream))

    def _add(self, text: str, style: str) -> None:
        """Who has scrolled back goes on seeing what they see."""
        self.lines.append((text, style))
        if self.back:
            self.scroll(1)


def clean(data: bytes) -> str:
    """A line of output as a terminal would leave it: no escape sequences, tabs as blanks, after a return only what follows."""
    text = data.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    return plain(_SEQUENCE.sub("", text).expandtabs())


def fold(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` columns, at least one piece."""
    if width < 2:  # no room for a wide character
        return [""]
    if text.isascii():
        return [text[at : at + width] for at in range(0, len(text), width)] or [""]
    pieces, piece, room = [], "", width
    for char in text:
        takes = width_of(char)
        if takes > room:
            pieces.append(piece)
            piece, room = "", width
        piece += char
        room -= takes
    return [*pieces, piece]


def _most_back(lines: Sequence[tuple[str, str]], width: int, height: int) -> int:
    """How far up one may scroll before the window would begin above the first line."""
    room = height
    for at, (text, _) in enumerate(lines):
        room -= len(fold(text, width))
        if room <= 0:
            return len(lines) - 1 - at
        if at > height:
            break
    return 0


def _style(stream: str) -> str:
    return RED if stream == "err" else ""
