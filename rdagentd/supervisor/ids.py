"""Run ids: time-ordered, unique over crashes and over a clock that is set back."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter looks like a digit."""


class RunIds:
    """Makes ids of 20 characters: ten of milliseconds since the epoch, ten random; each greater than `last` and all before."""

    def __init__(self, last: str = "") -> None:
        self._millis = _decode(last[:10]) if last else 0

    def __call__(self) -> str:
        self._millis = max(self._millis + 1, time.time_ns() // 1_000_000)
        return _encode(self._millis) + _encode(secrets.randbits(50))


def _encode(value: int) -> str:
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(45, -5, -5))


def _decode(text: str) -> int:
    value = 0
    for letter in text:
        value = value << 5 | max(0, _ALPHABET.find(letter))
    return value
