"""What looks like a secret, and what does not."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse

import pytest

from rdagentd.protocol.keys import LOOK_BACK, MOST, PATTERNS, forms, guessed
from rdagentd.protocol.redaction import Redactor

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n{BODY}==\n-----END PRIVATE KEY-----\n"


def redacted(text: str) -> str:
    redactor = Redactor()
    return (redactor.feed(text.encode()) + redactor.close()).decode()


LIKE = [
    ("sk-" + "a1B2" * 12, "sk-[redacted]"),
    ("key=sk-proj-" + "a1_-" * 20 + ";", "key=sk-[redacted];"),
    ("'sk-ant-api03-" + "x9" * 46 + "AA'", "'sk-[redacted]'"),
    ("sk-or-v1-" + "0f" * 32, "sk-[redacted]"),
    ("ghp_" + "Ab1" * 12, "ghp_[redacted]"),
    ("ghs_" + "Ab1" * 12, "ghs_[redacted]"),
    ("github_pat_" + "11ABCDEFG0" + "_" + "x" * 59, "github_pat_[redacted]"),
    ("hf_" + "aBcDeFgHiJ" * 3 + "klmn", "hf_[redacted]"),
    ("AKIA" + "IOSFODNN7EXAMPLE", "AKIA[redacted]"),
    ("AIza" + "SyA1" * 9, "AIza[redacted]"),
    ("xox" + "b-123456789012-123456789012-" + "Aa1" * 8, "xox[redacted]"),
    ("Authorization: Bearer " + "eyJ0eXAi.eyJzdWIi.abc-_~+/==\r\n", "Authorization: Bearer [redacted]\r\n"),
    ("{'Authorization': 'Bearer " + "0123456789abcdefghij'}", "{'Authorization': 'Bearer [redacted]'}"),
    ("postgres://app:s3cr3t@db/x", "postgres://[redacted]@db/x"),
    ("redis://:s3cr3t@db:6379/0", "redis://[redacted]@db:6379/0"),
    ("https://x-access-token:abc@github.com/a/b.git", "https://[redacted]@github.com/a/b.git"),
    (PEM, "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----\n"),
    (PEM.replace("PRIVATE", "OPENSSH PRIVATE"),
     "-----BEGIN OPENSSH PRIVATE KEY-----[redacted]-----END OPENSSH PRIVATE KEY-----\n"),
    (json.dumps({"private_key": PEM}),
     '{"private_key": "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----\\n"}'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), LIKE)
def test_what_looks_like_a_key_is_taken_out_and_its_kind_stays(text: str, said: str) -> None:
    assert redacted(text) == said


@pytest.mark.parametrize("text", [text for text, _ in LIKE])
def test_it_is_found_wherever_it_is_cut(text: str) -> None:
    raw = f"before {text} after".encode()
    for size in range(1, len(raw)):
        redactor = Redactor()
        output = b"".join(redactor.feed(raw[at : at + size]) for at in range(0, len(raw), size)) + redactor.close()
        assert output.decode() == redacted(raw.decode()), size


@pytest.mark.parametrize(
    "text",
    [
        "sk-toggleable__label-arrow sk-learn sk-estimator-doc-link",  # the classes of scikit-learn's HTML
        "task-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa risk-" + "b" * 40,
        "sk-" + "a" * 31,
        "ghp_short my_ghp_" + "a" * 36,
        "AKIA AKIA1234 MAKIAVELLI",
        "https://pypi.org/simple/ ssh://git@github.com/x http://localhost:8080/ a@b.example",
        "http://127.0.0.1:8000 mail to: me@example.org",
        "Bearer of bad news",
        "-----BEGIN CERTIFICATE-----\n" + BODY + "\n-----END CERTIFICATE-----\n",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "2026-01-02 12:00:03,123 INFO epoch 3 loss=0.123 " + "#" * 40,
    ],
)
def test_what_does_not_stays(text: str) -> None:
    assert redacted(text) == text


def test_no_head_is_longer_than_what_is_looked_back_on() -> None:
    longest = max(found.start(1) for text in (PEM, PEM.replace("PRIVATE", "ENCRYPTED PRIVATE"))
                  for pattern in PATTERNS if (found := pattern.whole.search(text[5:].encode())))  # fmt: skip
    assert longest == len("BEGIN ENCRYPTED PRIVATE KEY-----") < LOOK_BACK


def test_variables_are_told_by_their_names() -> None:
    value = b"12345678"
    kept = {b"OPENAI_API_KEY", b"GITHUB_TOKEN", b"client_secret", b"PGPASSWORD", b"MYSQL_PWD", b"SMTP_PASS", b"GH_PAT"}
    others = {b"PATH", b"PWD", b"OLDPWD", b"KEY_FILE", b"MAX_TOKENS", b"TOKENIZERS_PARALLELISM", b"HOME", b"COMPASS"}
    found = dict(guessed(dict.fromkeys(kept | others, value)))
    assert {name.encode() for name in found} == kept
    assert list(guessed({b"API_KEY": b"1234567"})) == []


def test_a_secret_is_looked_for_as_it_is_printed() -> None:
    secret = os.urandom(20).hex().encode() + b"+/?&"
    looked_for = forms([("K", secret + b"\n")])
    assert set(looked_for.values()) == {"K"} and secret in looked_for
    assert urllib.parse.quote_plus(secret.decode()).encode() in looked_for
    for before in (b"", b"u", b"us", b"user:", b"x" * 50):
        for after in (b"", b"a", b"ab", b"\n"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = encode(before + secret + after)
                assert any(form in text for form in looked_for), (before, after)


def test_each_line_of_a_secret_counts_and_long_ones_in_pieces() -> None:
    assert list(forms([("K", b"first line\r\n\n ab \n  second line  \n")])) == [b"second line", b"first line"]
    assert sorted(map(len, forms([("K", b"x" * 1024 + b"y" * 1024 + b"z" * 5)]))) == [1024, 1024]
    assert forms([("K", b"short"), ("L", b"")]) == {}
    lines = b"".join(b"line %08d\n" % number for number in range(10_000))
    assert len(forms([("K", lines)])) == len(forms([("K", b"hunter22"), ("L", lines)])) == MOST
    many = [(f"N{number}", b"value %d" % number) for number in range(MOST)]
    assert set(forms(many)) == {value for _, value in many}, "rather all of them than some of them in every form"
    assert forms([("A", b"abcdefgh"), ("B", b"abcdefgh")])[b"abcdefgh"] == "A"
