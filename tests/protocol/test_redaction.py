"""Output without secrets: the same in whatever pieces it comes."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.protocol.keys import forms
from rdagentd.protocol.redaction import HARMLESS, Redactor

# No brackets: a mark between two pieces of text must not become a secret with them.
WORDS = [b"sk-", b"ghp_", b"_", b"AKIA", b"xox", b"Bearer ", b"://", b":", b"@", b"-----BEGIN ", b"RSA ", b"PRIVATE KEY-----",
         b"\n", b"\r", b" ", b"abc", b"a" * 31, b"A" * 16, b"Z9" * 18, b"\\n", b"=", b"secret", b"value", b"sec", b"\0\xff",
         b"x" * 300]  # fmt: skip
SECRETS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(b"".join), max_size=3).map(
    lambda values: [(f"N{number}", value) for number, value in enumerate(values)]
)


@st.composite
def texts(draw: st.DrawFn, secrets: list[tuple[str, bytes]]) -> bytes:
    """Words, secrets, and beginnings of secrets in their forms."""
    looked_for = [*forms(secrets)]
    begun = st.sampled_from(looked_for).flatmap(lambda one: st.integers(0, len(one)).map(lambda end: one[:end]))
    pieces = st.sampled_from(WORDS) | st.binary(max_size=5).map(lambda some: re.sub(rb"[\[\]]", b"", some))
    return b"".join(draw(st.lists(pieces | begun if looked_for else pieces, max_size=30)))


def whole(secrets: list[tuple[str, bytes]], text: bytes) -> bytes:
    redactor = Redactor(secrets)
    return redactor.feed(text) + redactor.close()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_the_pieces_make_no_difference(data: st.DataObject) -> None:
    """Nor does being handed over to another program in between."""
    secrets = data.draw(SECRETS)
    text = data.draw(texts(secrets))
    redactor, output, at = Redactor(secrets), b"", 0
    while at < len(text):
        size = data.draw(st.sampled_from([1, 1, 2, 3, 7, 50, 500]))
        output += redactor.feed(text[at : at + size])
        at += size
        if data.draw(st.booleans()):
            redactor = Redactor.restored(redactor.state())
    assert output + redactor.close() == whole(secrets, text)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_secret_is_left_even_if_what_is_held_back_is_shown_in_between(data: st.DataObject) -> None:
    secrets = data.draw(SECRETS)
    text = data.draw(texts(secrets))
    redactor, output, at = Redactor(secrets), b"", 0
    while at < len(text):
        size = data.draw(st.integers(1, 60))
        output += redactor.feed(text[at : at + size])
        at += size
        if data.draw(st.booleans()):
            output += redactor.show()
            assert not redactor.waits
    output += redactor.close()
    for secret in forms(secrets):
        assert secret not in output
    plain = re.sub(rb"\[redacted[^]]*\]", b"", output)
    assert len(plain) <= len(text), "and nothing comes twice"


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(deadline=None)
def test_what_has_no_secret_in_it_stays_to_the_byte(text: bytes, size: int) -> None:
    redactor = Redactor([("K", b"a secret that is not there")])
    pieces = [redactor.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert b"".join(pieces) + redactor.close() == text


def test_a_mark_names_the_variable() -> None:
    assert whole([("OPENAI_API_KEY", b"hunter22")], b"<hunter22>\n") == b"<[redacted OPENAI_API_KEY]>\n"


def test_the_longest_of_known_ones_wins_and_they_win_over_what_looks_like_a_key() -> None:
    secrets = [("SHORT", b"sk-abcdef"), ("LONG", b"sk-abcdef" + b"0" * 40)]
    assert whole(secrets, b"sk-abcdef" + b"0" * 40) == b"[redacted LONG]"
    assert whole(secrets, b"sk-abcdef" + b"1" * 40) == b"[redacted SHORT]" + b"1" * 40


def test_only_what_may_be_the_beginning_of_a_secret_is_held_back() -> None:
    redactor = Redactor([("K", b"hunter22")])
    assert redactor.feed(b"password: ") == b"password: "
    assert redactor.feed(b"hunt") == b"" and redactor.feed(b"ing\n") == b"hunting\n"
    assert redactor.feed(b"hunter2") == b"" and redactor.feed(b"2") == b"[redacted K]"
    assert redactor.feed(b"hunter2") == b"" and redactor.close() == b"hunter2"


def test_some_letters_that_wait_are_shown_and_a_longer_beginning_is_not() -> None:
    redactor = Redactor([("K", b"hunter22")])
    assert redactor.feed(b"in depth") == b"in dept" and redactor.waits
    assert redactor.show() == b"h" and not redactor.waits
    assert redactor.feed(b"unter22!") == b"[redacted K]!", "what was shown of it was harmless"
    assert redactor.feed(b"hunter22"[:HARMLESS]) == b"" and not redactor.waits and redactor.show() == b""


def test_a_key_that_is_longer_than_any_buffer_is_not_held() -> None:
    redactor = Redactor()
    output = redactor.feed(b"token ghp_" + b"a" * 40) + b"".join(redactor.feed(b"a" * 1000) for _ in range(1000))
    assert output == b"token ghp_[redacted]"
    assert redactor.feed(b"a b\n") == b" b\n"


def test_where_it_is_clean_a_new_one_goes_on_alike() -> None:
    redactor = Redactor([("K", b"hunter22")])
    for text, clean in ((b"", True), (b"a", False), (b"\n", True), (b"hun", False), (b"\n", True),
                        (b"-----BEGIN PRIVATE KEY-----\nMII", False), (b"\n", False), (b"-\n", True)):  # fmt: skip
        redactor.feed(text)
        assert redactor.clean == clean, text
