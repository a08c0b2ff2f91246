"""The pipe of a start: what was told comes out as it was meant, in whatever pieces, and nothing is taken for something else."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.executor import report
from rdagentd.protocol.keys import MOST, PIECE

NAMES = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.binary(max_size=40).map(lambda value: value.replace(b"\0", b""))
SECRETS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
WORDS = st.binary(max_size=40).map(lambda words: words.replace(b"\0", b""))


def written(*secrets: tuple[str, bytes]) -> bytes:
    read, write = os.pipe()
    report.tell_secrets(write, secrets)
    os.close(write)
    with open(read, "rb") as file:
        return file.read()


def failed(number: int, stage: str, detail: str = "") -> bytes:
    read, write = os.pipe()
    report.tell_failure(write, number, stage, detail)
    os.close(write)
    with open(read, "rb") as file:
        return file.read()


def heard(told: bytes, *cuts: int) -> bytes:
    """What is kept of it when it comes in pieces."""
    kept, edges = b"", [0, *sorted(cut % (len(told) + 1) for cut in cuts), len(told)]
    for begin, end in itertools.pairwise(edges):
        kept = report.kept(kept + told[begin:end])
    return kept


@given(
    SECRETS, WORDS, st.none() | st.integers(1, 1 << 22), st.none() | st.integers(1, 130), st.lists(st.integers(0, 999))
)
def test_whatever_is_told_comes_out_as_it_was_meant(
    secrets: list[tuple[str, bytes]], words: bytes, heir: int | None, number: int | None, cuts: list[int]
) -> None:
    told = written(*secrets) + words
    told += b"" if heir is None else b"\0=%d\0" % heir
    told += b"" if number is None else failed(number, "exec: /x", "why")
    kept = heard(told, *cuts)
    assert report.secrets(kept) == secrets
    assert report.heir(kept) == (heir or 0)
    if number is not None:
        assert report.failure(kept) == (number, "exec", "/x why", "")
    elif heir is not None or not words:
        assert report.failure(kept) is None


@given(SECRETS, st.binary(max_size=60))
def test_what_others_write_there_is_no_secret_whatever_it_is(secrets: list[tuple[str, bytes]], others: bytes) -> None:
    assert report.secrets(heard(written(*secrets) + others, 3, 5, 8)) == secrets


@given(SECRETS.filter(bool), st.integers(0, 99))
def test_a_child_that_was_killed_while_it_told_has_told_nothing(secrets: list[tuple[str, bytes]], cut: int) -> None:
    """Then nothing was executed either."""
    whole = written(*secrets)
    told = heard(whole[: cut % len(whole)])
    assert (report.secrets(told), report.heir(told), report.failure(told)) == ([], 0, None)


def test_a_secret_that_looks_like_a_heir_or_a_failure_is_a_secret() -> None:
    told = written(("A_KEY", b"=1"), ("B_KEY", b"2\nexec: x\n"))
    assert (report.heir(told), report.failure(told)) == (0, None)
    assert report.secrets(told) == [("A_KEY", b"=1"), ("B_KEY", b"2\nexec: x\n")]


def test_a_step_that_fails_before_the_secrets_are_told() -> None:
    told = failed(errno.EPERM, "uid: 7")
    assert report.failure(told) == (errno.EPERM, "uid", "7", "")
    assert report.secrets(told) == []


def test_of_words_without_end_as_many_are_told_as_are_kept() -> None:
    told = heard(written() + b"x" * 9000 + b"\0=7\0" + failed(7, "exec: " + "€" * 9000, "€" * 9000))
    assert report.heir(told) == 7
    assert report.failure(told) == (7, "exec", "€" * 794 + " " + "€" * 800, "")


def test_what_bwrap_says_is_the_reason_unless_somebody_tells_a_better_one() -> None:
    begun = written() + b"bwrap: Can't find\n source path\n"
    assert report.failure(begun) == (0, "isolation", "", "bwrap: Can't find source path")
    assert report.failure(begun + b"\0=7\0") is None, "a warning"
    told = begun + failed(errno.ENOENT, "exec: /a\0b", "d\ne")
    assert report.failure(told) == (errno.ENOENT, "exec", "/a?b d\ne", "")


def test_a_flood_pushes_out_no_secret_and_is_not_kept() -> None:
    secrets = [(f"N{n}_KEY", b"%04d" % n * 200) for n in range(100)]
    told = written(*secrets[:70]) + b"\0x_KEY=y\0" * 100_000
    kept = heard(told, *range(0, len(told), 1 << 16))
    assert report.secrets(kept) == secrets[:70]
    assert len(kept) <= len(written(*secrets[:70])) + report.REST


def test_no_more_is_told_than_is_looked_for() -> None:
    large = b"x" * (MOST * PIECE - 100)
    read, write = os.pipe()
    told = bytearray()

    def drain() -> None:
        while text := os.read(read, 1 << 16):
            told.extend(text)

    thread = threading.Thread(target=drain)
    thread.start()
    report.tell_secrets(write, [("A_KEY", large), ("B_KEY", large), ("C_KEY", b"small")])
    os.close(write)
    thread.join()
    os.close(read)
    assert report.secrets(bytes(told)) == [("A_KEY", large), ("C_KEY", b"small")]


def test_a_child_that_is_stopped_in_the_middle_tells_it_all() -> None:
    """As a freeze does without cgroups: it makes a write to a full pipe a short one."""
    secrets = [(f"N{n}_KEY", b"%04d" % n * 400) for n in range(70)]
    read, write = os.pipe()
    os.set_inheritable(write, True)
    pid = os.fork()
    if not pid:
        try:
            os.close(read)
            report.tell_secrets(write, secrets)
        finally:
            os._exit(0)
    os.close(write)
    told = b""
    while text := os.read(read, 1 << 12):
        told += text
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            pid = 0
            break
        os.kill(pid, signal.SIGCONT)
    while text := os.read(read, 1 << 16):
        told += text
    os.close(read)
    if pid:
        os.waitpid(pid, 0)
    assert report.secrets(told) == secrets
