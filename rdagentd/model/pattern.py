"""Patterns for the lines of a log: literal text with {number}, {int}, {word} and {any} for what changes.

Linear in the text by construction. Lines are found by the pattern's longest literal, with bytes.find. A pattern is cut at {any}
into chunks; each chunk but for its bounded, atomic pieces is literal, so it matches at a place in one way or not at all, at a
cost that the pattern alone bounds. In a line the leftmost match of each chunk behind the one before is the best there is (as
with * in globs), and where a chunk is not found, no later beginning in that line can help: nothing is ever tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from attrs import frozen

MOST_TEXT = 256
"""Characters of a pattern."""

MOST_PLACES = 8
"""Placeholders of a pattern."""

LEAST_LITERAL = 3
"""Bytes of the longest literal: less is found in every line, and tells nothing."""

LINE = 16 << 10
"""Longest line, in bytes: of a longer one what is farther from a literal is not looked at. It bounds how long one takes."""

_WORD = rb"[0-9A-Za-z_\x80-\xff]"
_WHOLE = rb"(?:[0-9]{1,3}(?:,[0-9]{3}){1,5}(?![0-9])|[0-9]{1,18})"
_PLACES: dict[str, bytes] = {
    "number": rb"((?>[+-]?(?:" + _WHOLE + rb"(?:\.[0-9]{1,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?)(?![0-9]))",
    "int": rb"((?>[+-]?" + _WHOLE + rb")(?![0-9]|\.[0-9]))",
    "word": rb"((?>" + _WORD + rb"{1,64}(?:[./:@-]{1,2}" + _WORD + rb"{1,64}){0,7})(?!" + _WORD + rb"))",
}
"""What each placeholder stands for: a bounded, atomic group. A number may have commas between thousands."""

ANY = "any"

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LINE_END = re.compile(rb"[\r\n]")


class PatternError(ValueError):
    """A pattern that cannot be used: why, as half a sentence."""


Match = tuple[int, float | str | None]
"""Where it begins, and its value: None if the pattern has none."""


@frozen
class Pattern:
    """text: as it was written. places: its placeholders, in order. anchor: its longest literal.

    chunks: the pieces between two {any}; any_last: whether it ends with one. value: where the value stands: the number of the
    chunk, and of the group in it, 0 for the {any} behind it; None: nowhere. numeric: whether that is a number; percent: told in
    per cent.
    """

    text: str
    places: tuple[str, ...]
    anchor: bytes
    chunks: tuple[re.Pattern[bytes], ...]
    any_last: bool
    value: tuple[int, int] | None
    numeric: bool
    percent: bool

    def matches(self, data: bytes) -> Iterator[Match | None]:
        """The matches in some lines, and None behind each line that was looked at: a moment to pause."""
        start = 0
        while (found := data.find(self.anchor, start)) >= 0:
            back, ahead = max(start, found - LINE), min(len(data), found + LINE)
            first = max(data.rfind(b"\n", back, found), data.rfind(b"\r", back, found)) + 1
            line = _LINE_END.search(data, found, ahead)
            end = ahead if line is None else line.start()
            yield from self._line(data, max(back, first), end)
            start = end
            yield None

    def _line(self, data: bytes, start: int, end: int) -> Iterator[Match]:
        while start < end:
            groups = []
            for chunk in self.chunks:
                found = chunk.search(data, start, end)
                if found is None:
                    return
                start = found.end()
                groups.append(found)
            if self.any_last:
                start = end
            yield groups[0].start(), self._value(data, groups, end)

    def _value(self, data: bytes, groups: list[re.Match[bytes]], end: int) -> float | str | None:
        if self.value is None:
            return None
        chunk, group = self.value
        if group:
            found = groups[chunk][group]
        else:
            upto = groups[chunk + 1].start() if chunk + 1 < len(groups) else end
            found = data[groups[chunk].end() : upto].strip()
        if not self.numeric:
            return found.decode(errors="replace")
        number = float(found.replace(b",", b""))
        return number / 100 if self.percent else number


@lru_cache(1024)
def compile_pattern(text: str) -> Pattern:
    """The pattern that is written so. Its value is its first number (a fraction if "%" follows), else its first word, else what
    its first {any} behind some text stands for. "{{" and "}}" stand for braces. Raises PatternError.
    """
    if len(text) > MOST_TEXT:
        raise PatternError(f"has {len(text)} characters, at most {MOST_TEXT} are allowed")
    parts = list(_parts(text))
    places = tuple(place for place, _ in parts if place)
    if len(places) > MOST_PLACES:
        raise PatternError(f"has {len(places)} placeholders, at most {MOST_PLACES} are allowed")
    anchor = max((literal for place, literal in parts if not place), key=len, default=b"")
    if len(anchor.strip()) < LEAST_LITERAL:
        raise PatternError(f"needs {LEAST_LITERAL} characters of literal text on end, by which lines are found")
    if any(end in literal for _, literal in parts for end in (b"\n", b"\r")):
        raise PatternError("contains the end of a line; each line is matched by itself")
    chunks = _chunks(parts)
    return Pattern(
        text,
        places,
        anchor,
        tuple(re.compile(b"".join(_source(part) for part in chunk)) for chunk in chunks),
        bool(parts) and parts[-1][0] == ANY,
        _value_place(chunks, places),
        any(place in ("number", "int") for place in places),
        _is_percent(parts),
    )


_Part = tuple[str, bytes]
"""A placeholder, or "" and a literal."""


def _parts(text: str) -> Iterator[_Part]:
    literal, start = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[start : token.start()]
        start = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] in (*_PLACES, ANY):
            if literal:
                yield "", literal.encode()
            literal = ""
            yield token[1], b""
        else:
            known = ", ".join(f"{{{place}}}" for place in (*_PLACES, ANY))
            raise PatternError(f"contains {token[0][:40]!r}; placeholders are {known}, and {{{{ stands for a brace")
    literal += text[start:]
    if literal:
        yield "", literal.encode()


def _chunks(parts: list[_Part]) -> list[list[_Part]]:
    chunks: list[list[_Part]] = [[]]
    for part in parts:
        if part[0] == ANY:
            chunks.append([])
        else:
            chunks[-1].append(part)
    return [chunk for chunk in chunks if chunk]


def _source(part: _Part) -> bytes:
    place, literal = part
    return _PLACES[place] if place else re.escape(literal)


def _value_place(chunks: list[list[_Part]], places: tuple[str, ...]) -> tuple[int, int] | None:
    for wanted in (("number", "int"), ("word",)):
        for number, chunk in enumerate(chunks):
            groups = [place for place, _ in chunk if place]
            for group, place in enumerate(groups, 1):
                if place in wanted:
                    return number, group
    return (0, 0) if ANY in places else None


def _is_percent(parts: list[_Part]) -> bool:
    """Whether a per cent sign follows the value, which is then told as a fraction."""
    numbers = [index for index, (place, _) in enumerate(parts) if place in ("number", "int")]
    if not numbers or numbers[0] + 1 >= len(parts):
        return False
    return parts[numbers[0] + 1][1].startswith(b"%")
