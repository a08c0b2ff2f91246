"""What secrets look like: the patterns of well-known keys, variables that hold one, the forms in which one is printed.

The patterns are those on which gitleaks and detect-secrets agree, with open ends: keys have grown longer over the years.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple
from urllib.parse import quote_from_bytes

LEAST = 6
"""Shortest secret that is looked for, in bytes: a shorter one would be found in ordinary words and numbers."""

LEAST_GUESSED = 8
"""Shortest value that is taken for a secret because of its variable's name alone."""

PIECE = 1024
"""A longer line of a secret is looked for in pieces of so many bytes."""

MOST = 128
"""Texts of one run that are looked for, the first ones: each costs time on every byte of output, and others wait meanwhile."""


class Pattern(NamedTuple):
    """A head that stays, and the secret behind it. What leads up to a whole secret has no newline in it.

    lead: length of the literal with which the expressions begin, the end of the head; the rest of it is told by looking back.
    So the search is one for a literal that is rare in logs, many times quicker than one for alternatives. whole: group 1 is
    the secret. begun: group 1 is the beginning of one that goes on to the end of the text. more: what else belongs to a
    secret that goes on to the end. needs: a byte of the lead, or right behind the secret: that it is not there is seen at once.
    """

    lead: int
    whole: re.Pattern[bytes]
    begun: re.Pattern[bytes] | None
    more: re.Pattern[bytes] | None
    needs: bytes


def _token(needs: bytes, lead: bytes, head: bytes, letters: bytes, least: int) -> Pattern:
    """At least so many of some letters. needs: a byte of `lead`; head: what is seen looking back from the end of it."""
    begin = lead + b"(?:%b)" % head
    return Pattern(
        len(re.sub(rb"\[[^]]*\]", b".", lead)),
        re.compile(begin + b"(%b{%d,})" % (letters, least)),
        re.compile(begin + b"(%b{1,%d})\\Z" % (letters, least - 1)) if least > 1 else None,
        re.compile(letters + b"*"),
        needs,
    )


_PEM = b"|".join(
    b"(?<=BEGIN %bPRIVATE KEY-----)" % kind for kind in (b"", b"RSA ", b"EC ", b"DSA ", b"OPENSSH ", b"ENCRYPTED ")
)

PATTERNS = (
    _token(b"-", b"k-", rb"(?<=\bsk-)", rb"[A-Za-z0-9_-]", 32),  # OpenAI, Anthropic, DeepSeek, OpenRouter
    _token(b"_", b"gh[pousr]_", rb"(?<=\bgh._)", rb"[A-Za-z0-9]", 36),  # GitHub
    _token(b"_", b"b_pat_", rb"(?<=\bgithub_pat_)", rb"[A-Za-z0-9_]", 36),  # GitHub, fine-grained
    _token(b"_", b"f_", rb"(?<=\bhf_)", rb"[A-Za-z0-9]", 30),  # Hugging Face
    _token(b"K", b"KIA", rb"(?<=\bAKIA)", rb"[A-Z0-9]", 16),  # AWS
    _token(b"z", b"za", rb"(?<=\bAIza)", rb"[A-Za-z0-9_-]", 35),  # Google
    _token(b"o", b"xox", rb"(?<=\bxox)", rb"[A-Za-z0-9-]", 24),  # Slack
    _token(b"B", b"Bearer ", b"", rb"[A-Za-z0-9._~+/=-]", 20),  # RFC 6750
    _token(b"Y", b"Y-----", _PEM, rb"[A-Za-z0-9+/=\s\\]", 1),  # RFC 7468; JSON writes newlines as \n
    Pattern(  # RFC 3986, userinfo; without a colon in it, it is the name of a user
        len(b"://"),
        re.compile(rb"://([^\s/@:]{0,64}:[^\s/@]{1,256})(?=@)"),
        re.compile(rb"://([^\s/@:]{1,64}|[^\s/@:]{0,64}:[^\s/@]{0,256})\Z"),
        None,
        b"@",
    ),
)

LOOK_BACK = 40
"""Bytes before a secret that tell whether it is one; no head is longer."""

LOOK_AHEAD = 64 + 1 + 256
"""Longest beginning of a secret about which a pattern can be in doubt, in bytes."""

SECRETIVE = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "_PASS", "_PWD", "_PAT")
"""How the names of variables end that hold secrets."""


def guessed(environment: Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    """Variables whose names end as those of keys do, with values that are long enough."""
    for name, value in environment.items():
        text = name.decode("utf-8", "replace")
        if len(value) >= LEAST_GUESSED and text.upper().endswith(SECRETIVE):
            yield text, value


def forms(secrets: Iterable[tuple[str, bytes]]) -> dict[bytes, str]:
    """What to look for → its name, longest first. Each line of a secret counts; one of a single line in other forms too."""
    known = [(name, [line for line in map(bytes.strip, secret[: MOST * PIECE].splitlines()) if len(line) >= LEAST])
             for name, secret in secrets]  # fmt: skip
    plain = (
        (line[at : at + PIECE], name) for name, lines in known for line in lines for at in range(0, len(line), PIECE)
    )
    alone = ((lines[0], name) for name, lines in known if len(lines) == 1 and len(lines[0]) <= PIECE)
    found: dict[bytes, str] = {}
    for form, name in chain(plain, ((form, name) for line, name in alone for form in _encoded(line))):
        if len(form) >= LEAST and len(found) < MOST:
            found.setdefault(form, name)
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _encoded(secret: bytes) -> Iterator[bytes]:
    """In a URL, and in Base64, whatever stands before and after it there: what does not depend on that."""
    yield quote_from_bytes(secret, safe="").encode()
    for before in range(3):
        text = b64encode(bytes(before) + secret).rstrip(b"=")
        text = text[(0, 2, 3)[before] : len(text) - ((before + len(secret)) % 3 > 0)]
        yield text
        yield text.translate(bytes.maketrans(b"+/", b"-_"))
