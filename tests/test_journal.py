"""What the journal gets: priorities, fields, and nothing lost while journald is away."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.journal import JournalHandler, priority, to_journal


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket in journald's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(20)
        yield listener


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    """A logger that writes there."""
    logger = logging.Logger("rdagentd.test")
    handler = JournalHandler(str(tmp_path / "journal"), "rdagentd-test")
    logger.addHandler(handler)
    yield logger
    handler.close()


def fields(datagram: bytes) -> dict[str, str]:
    """A datagram of the native protocol, read back."""
    found = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        found[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        datagram = rest[9 + size :]
    return found


def test_a_record_becomes_fields(journald: socket.socket, log: logging.Logger) -> None:
    log.warning("%s failed\nPRIORITY=0", "it", extra={"worker": "web"})
    found = fields(journald.recv(1 << 16))
    assert found.pop("CODE_LINE").isdigit()
    assert found == {
        "MESSAGE": "it failed\nPRIORITY=0",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "rdagentd-test",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_a_record_becomes_fields",
        "LOGGER": "rdagentd.test",
        "WORKER": "web",
    }
    log.info("x" * 200_000)
    found = fields(journald.recv(1 << 18))
    assert len(found["MESSAGE"]) == 48 << 10 and "WORKER" not in found


def test_a_traceback_is_in_the_message(journald: socket.socket, log: logging.Logger) -> None:
    try:
        raise ValueError("odd \udcff")
    except ValueError:
        log.exception("defect")
    found = fields(journald.recv(1 << 16))
    assert found["MESSAGE"].startswith("defect\nTraceback") and "ValueError: odd ?" in found["MESSAGE"]
    assert found["PRIORITY"] == "3"


def test_without_journald_it_goes_to_stderr(log: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    log.error("one\ntwo")
    assert capfd.readouterr().err == "<3>one\n<3>two\n"


def test_a_journald_that_does_not_read_holds_nobody_up(
    journald: socket.socket, log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(5000):
        log.info("line %d", number)
    held = 0
    journald.setblocking(False)
    try:
        while journald.recv(1 << 16):
            held += 1
    except BlockingIOError:
        pass
    assert held + len(capfd.readouterr().err.splitlines()) == 5000


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (25, 6)],
)
def test_priorities(level: int, number: int) -> None:
    assert priority(level) == number


def test_whether_stderr_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as file:
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert to_journal({"JOURNAL_STREAM": stream}, file.fileno())
        assert not to_journal({"JOURNAL_STREAM": stream + "1"}, file.fileno())
        assert not to_journal({}, file.fileno())
    assert not to_journal({"JOURNAL_STREAM": stream}, -1)


@pytest.mark.parametrize("journal", [True, False])
def test_why_it_cannot_start_has_the_priority_of_an_error(tmp_path: Path, journal: bool) -> None:
    """`systemctl status` shows these lines."""
    (tmp_path / "rdagentd.toml").write_text("keep_runs = 0\nkep_events = 1\n")
    read, write = os.pipe()
    found = os.fstat(write)
    environ = os.environ | ({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"} if journal else {})
    command = [sys.executable, "-m", "rdagentd", "up", "--state-dir", str(tmp_path), "--config", "rdagentd.toml"]
    done = subprocess.run(command, stderr=write, env=environ, cwd=tmp_path, timeout=60, check=False)
    os.close(write)
    with open(read) as pipe:
        lines = pipe.read().splitlines()
    mark = "<3>" if journal else ""
    assert done.returncode == 78
    assert [line.startswith(f"{mark}rdagentd: cannot read {tmp_path}/rdagentd.toml: ") for line in lines] == [True] * 2
