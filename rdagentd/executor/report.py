"""What is told on the pipe of a start, until the exec closes it: one format, so that no word is taken for another's.

    report  = *(name "=" value NUL) NUL rest      secrets of the environment
    rest    = words [NUL "=" pid NUL] [NUL failure]
    failure = errno LF stage [": " about] LF detail

Up to the empty record it is written by the child alone, before it lets any other program have the pipe: what comes then is no
secret, whoever wrote it. Words are bwrap's; the pid is its heir's and the failure after it is told by inside.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from rdagentd.protocol.keys import MOST, PIECE

REST = 1 << 13
"""Most of the rest that is kept, in bytes: a failure, and the last of the words."""

_WORDS = 800
"""Longest stage or detail, in characters: together they are less than what is kept, with the form round them."""

_HEIR = re.compile(rb"\0=([0-9]{1,10})\0")
_FORM = re.compile(r"([0-9]+)\n([^\n]*)\n(.*)", re.DOTALL)

Failure = tuple[int, str, str, str]
"""Error number, stage, detail; and a reason where the error number tells none."""


def tell_secrets(fd: int, secrets: Iterable[tuple[str, bytes]]) -> None:
    """As far as so much is looked for. All of it, although a stop in between makes a write a short one; signal(7)."""
    left, told = MOST * PIECE, b""
    for name, value in secrets:
        record = b"%b=%b\0" % (name.encode(), value)
        if len(record) <= left:
            left -= len(record)
            told += record
    told += b"\0"
    while told:
        told = told[os.write(fd, told) :]


def tell_failure(fd: int, number: int, stage: str, detail: str) -> None:
    """Its NUL ends whatever was told before."""
    text = f"{number}\n{stage[:_WORDS]}\n{detail[:_WORDS]}".replace("\0", "?")
    os.write(fd, b"\0" + text.encode("utf-8", "replace"))


def kept(told: bytes) -> bytes:
    """What is remembered: the secrets whole, of the rest the end."""
    secrets, end, rest = _parts(told)
    return (secrets + end + rest[-REST:])[1:]


def secrets(told: bytes) -> list[tuple[str, bytes]]:
    """Names and values. None while they are not told to the end: then nothing was executed either."""
    records, end, _ = _parts(told)
    pairs = [record.partition(b"=") for record in records.split(b"\0")[1:]] if end else []
    return [(name.decode(), value) for name, _, value in pairs]


def heir(told: bytes) -> int:
    """The process that claims to take bwrap's place, or 0; to be believed only as far as the kernel says the same."""
    found = _HEIR.search(_parts(told)[2])
    return int(found[1]) if found else 0


def failure(told: bytes) -> Failure | None:
    """Why the start has failed, if it has; what is not in our form bwrap has said."""
    text = _parts(told)[2].rpartition(b"\0")[2].decode("utf-8", "replace")
    found = _FORM.fullmatch(text)
    if found is None:
        return (0, "isolation", "", " ".join(text.split())) if text else None
    stage, _, about = found[2].partition(": ")
    return int(found[1]), stage, f"{about} {found[3]}".strip(), ""


def _parts(told: bytes) -> tuple[bytes, bytes, bytes]:
    """Secrets, each with a NUL before it; the empty record, if it has come; the rest."""
    return (b"\0" + told).partition(b"\0\0")
