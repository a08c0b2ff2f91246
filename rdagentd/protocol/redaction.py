"""Secrets taken out of output as it comes, in whatever pieces: the output is the same as if all had come at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from rdagentd.protocol.keys import LOOK_AHEAD, LOOK_BACK, PATTERNS, Pattern, forms

HARMLESS = 4
"""Fewer bytes than that of a secret's beginning may be shown: they are as likely the end of an ordinary word."""

Span = tuple[int, int]


class _Known:
    """A value that is looked for."""

    __slots__ = ("_value", "mark")
    more: re.Pattern[bytes] | None = None

    def __init__(self, value: bytes, name: str) -> None:
        self._value = value
        self.mark = f"[redacted {name}]".encode()

    def find(self, text: bytes, at: int) -> Span | None:
        """The first one from there on."""
        start = text.find(self._value, at)
        return None if start < 0 else (start, start + len(self._value))

    def begun(self, text: bytes, at: int) -> int:
        """Where one begins that the text does not hold to its end; else the text's length."""
        at = max(at, len(text) - len(self._value) + 1)
        while (at := text.find(self._value[:1], at)) >= 0:
            if self._value.startswith(text[at:]):
                return at
            at += 1
        return len(text)


class _Like:
    """What looks like a key."""

    __slots__ = ("_pattern", "more")
    mark = b"[redacted]"

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self.more = pattern.more

    def find(self, text: bytes, at: int) -> Span | None:
        at = max(0, at - self._pattern.lead)
        if text.find(self._pattern.needs, at) < 0:
            return None
        found = self._pattern.whole.search(text, at)
        return None if found is None else found.span(1)

    def begun(self, text: bytes, at: int) -> int:
        pattern = self._pattern
        found = pattern.begun and pattern.begun.search(
            text, max(0, at - pattern.lead, len(text) - LOOK_AHEAD - LOOK_BACK)
        )
        return len(text) if found is None else found.start(1)


_LIKE = tuple(map(_Like, PATTERNS))


class Redactor:
    """One stream of output. secrets: names and values that are known, beside what looks like a key.

    Where several match, the leftmost does, of known ones that begin there the longest. held: input that may be the beginning
    of a secret, not written yet but for the first `shown` bytes. context: the input before it. inside: what belongs to a
    secret whose mark was written already.
    """

    __slots__ = ("_context", "_held", "_inside", "_rules", "_secrets", "_shown")

    def __init__(self, secrets: Iterable[tuple[str, bytes]] = ()) -> None:
        self._secrets = [(name, secret) for name, secret in secrets]
        known = [_Known(value, name) for value, name in forms(self._secrets).items()]
        self._rules: tuple[_Known | _Like, ...] = (*known, *_LIKE)
        self._context = self._held = b""
        self._shown = 0
        self._inside: re.Pattern[bytes] | None = None

    def feed(self, data: bytes) -> bytes:
        """What can be written now."""
        return self._take(data, last=False)

    def close(self) -> bytes:
        """What is left to be written: nothing more comes."""
        return self._take(b"", last=True)

    def show(self) -> bytes:
        """What may be written of what is held, because nothing came for a while. If it was a secret, the rest of it is not."""
        ready = self._held[self._shown :] if len(self._held) < HARMLESS else b""
        self._shown += len(ready)
        return ready

    @property
    def waits(self) -> bool:
        """Whether `show` would have something."""
        return self._shown < len(self._held) < HARMLESS

    @property
    def clean(self) -> bool:
        """Whether a new redactor would go on from here as this one does."""
        return not self._held and self._inside is None and self._context[-1:] in (b"", b"\n")

    def state(self) -> list[Any]:
        """For `restored`; holds the secrets."""
        inside = self._inside and self._inside.pattern
        return [self._secrets, self._context, self._held, self._shown, inside]

    @classmethod
    def restored(cls, state: list[Any]) -> Redactor:
        """One that goes on where another has stopped."""
        one = cls(state[0])
        one._context, one._held, one._shown = state[1:4]
        one._inside = state[4] and re.compile(state[4])
        return one

    def _take(self, data: bytes, last: bool) -> bytes:
        if self._inside is not None:
            over = self._inside.match(data)
            assert over is not None  # it matches nothing, too
            self._context, data = (self._context + data[: over.end()])[-LOOK_BACK:], data[over.end() :]
            self._inside = None if data or last else self._inside
        text, at = self._context + self._held + data, len(self._context)
        written = at + self._shown
        ready: list[bytes] = []
        found = [(span[0], number, span[1]) for number, rule in enumerate(self._rules) if (span := rule.find(text, at))]
        heapify(found)
        stop = len(text) if last else self._in_doubt(text, at)
        while found and found[0][0] < stop:
            start, number, end = heappop(found)
            rule = self._rules[number]
            if start >= at:  # else it overlaps one before it
                ready += text[max(at, written) : start], rule.mark
                at = end
                stop = self._in_doubt(text, at) if at > stop else stop
                self._inside = rule.more if at == len(text) and not last else None
            if span := rule.find(text, at):
                heappush(found, (span[0], number, span[1]))
        ready.append(text[max(at, written) : stop])
        self._held, self._shown = text[stop:], max(0, written - stop)
        self._context = text[max(0, stop - LOOK_BACK) : stop]
        return b"".join(ready)

    def _in_doubt(self, text: bytes, at: int) -> int:
        """Where the first beginning of a secret stands that the next bytes may complete. None goes over the end of a line."""
        at = max(at, text.rfind(b"\n") + 1)
        return min((rule.begun(text, at) for rule in self._rules), default=len(text)) if at < len(text) else at
