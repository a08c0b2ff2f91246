"""The locked file: who is there, who died, and leaving in good order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd import pidfile

HOLD = """
import sys
from pathlib import Path
from rdagentd import pidfile
lock = pidfile.acquire(Path(sys.argv[1]))
print(flush=True)
sys.stdin.read()
pidfile.release(lock)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline()
    yield process
    process.kill()
    process.communicate(timeout=20)


def test_nobody_was_ever_there(tmp_path: Path) -> None:
    found = pidfile.standing(tmp_path)
    assert (found.code, found.pid) == (pidfile.NOT_RUNNING, 0) and "does not run in" in found.text
    assert list(tmp_path.iterdir()) == []
    assert pidfile.end(tmp_path) == found


def test_one_is_there_and_leaves(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    for _ in range(2):  # looking does not change it
        found = pidfile.standing(tmp_path)
        assert (found.code, found.pid) == (pidfile.RUNNING, holder.pid) and f"as process {holder.pid}" in found.text
    with pytest.raises(pidfile.LockedError) as caught:
        pidfile.acquire(tmp_path)
    assert caught.value.pid == holder.pid
    holder.communicate(timeout=20)
    assert pidfile.standing(tmp_path).code == pidfile.NOT_RUNNING


def test_one_died(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait(20)
    found = pidfile.standing(tmp_path)
    assert (found.code, found.pid) == (pidfile.DEAD, holder.pid) and "start it again" in found.text
    assert pidfile.end(tmp_path) == found, "nobody else is signalled who may have that number now"
    pidfile.release(pidfile.acquire(tmp_path))
    assert pidfile.standing(tmp_path).code == pidfile.NOT_RUNNING


def test_one_is_asked_to_leave(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    found = pidfile.end(tmp_path)
    assert holder.wait(20) == -15 and (found.code, found.pid) == (pidfile.DEAD, holder.pid)


@pytest.mark.parametrize("text", [b"", b"x", b"-5", b"99999999999999999999999999"])
def test_nonsense_in_the_file(tmp_path: Path, text: bytes) -> None:
    (tmp_path / pidfile.NAME).write_bytes(text)
    assert pidfile.standing(tmp_path).code in (pidfile.NOT_RUNNING, pidfile.DEAD)
    lock = pidfile.acquire(tmp_path)
    assert pidfile.standing(tmp_path).pid == os.getpid()
    pidfile.release(lock)


def test_a_place_that_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = pidfile.standing(tmp_path / "file")
    assert found.code == pidfile.UNKNOWN and "Not a directory" in found.text
