"""What a terminal sends, as names of keys: ECMA-48, xterm and the Linux console (console_codes(4)) agree on what is here."""

from __future__ import annotations

import codecs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPE = "\x1b"

_NAMES = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x15": "clear", "\x0c": "redraw"}

_SEQUENCES = {
    "[A": "up", "OA": "up", "[B": "down", "OB": "down", "[C": "right", "OC": "right", "[D": "left", "OD": "left",
    "[5~": "page up", "[6~": "page down",
    "[H": "home", "OH": "home", "[1~": "home", "[7~": "home", "[F": "end", "OF": "end", "[4~": "end", "[8~": "end",
}  # fmt: skip

_LONGEST = 32
"""Characters of a sequence; what goes on longer is none."""


class Keys:
    """Takes bytes, gives keys: a printable character stands for itself, others have a name, unknown sequences are dropped."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""

    @property
    def pending(self) -> bool:
        """Whether an escape waits for the rest of its sequence, or is the key of that name."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with these bytes."""
        self._text += self._decode(data)
        return list(self._take())

    def flush(self) -> list[str]:
        """Nothing more came: an escape that waited was the key."""
        waited, self._text = self._text, ""
        return ["escape", *(char for char in waited[1:] if char.isprintable())] if waited else []

    def _take(self) -> Iterator[str]:
        while self._text:
            if self._text[0] != _ESCAPE:
                key = _NAMES.get(self._text[0], self._text[0])
                self._text = self._text[1:]
                if key.isprintable():
                    yield key
                continue
            size = _size(self._text)
            if not size:
                return
            sequence, self._text = self._text[1:size], self._text[size:]
            if not sequence:
                yield "escape"
            elif sequence in _SEQUENCES:
                yield _SEQUENCES[sequence]


def _size(text: str) -> int:
    """Characters of the sequence that the text begins with: 1 for an escape alone, 0 if its end has not come yet."""
    if len(text) == 1:
        return 0
    if text[1] == "O":
        return 3 if len(text) > 2 else 0
    if text[1] != "[":
        return 1
    for at, char in enumerate(text[2:_LONGEST], 3):
        if "@" <= char <= "~":
            return at
    return _LONGEST if len(text) >= _LONGEST else 0
