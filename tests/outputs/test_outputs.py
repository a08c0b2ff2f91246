"""All places together: levels, changes without a lost line, and the way out."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from rdagentd.config.outputs import File, Logging, LogLevel, Main, Syslog
from rdagentd.outputs.outputs import places_of
from rdagentd.outputs.sinks import Standard
from tests.outputs.conftest import Configure, finish
from tests.outputs.test_files import _THREADS, everything, found, load


def test_a_change_of_places_loses_and_doubles_nothing(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    files = [File(str(tmp_path / f"{number}.log")) for number in range(7)]
    changes, each = 40, 1000
    permits = threading.Semaphore(0)
    configure(file=files[-1])
    threads = load(log, each, permits)
    for change in range(changes):
        permits.release(_THREADS * each // changes)
        outputs = configure(file=files[change % len(files)])
    for thread in threads:
        thread.join()
    finish(outputs)
    numbers: dict[int, list[int]] = {}
    for file in files:
        for name, some in found(Path(file.path).read_text() if Path(file.path).exists() else "").items():
            numbers.setdefault(name, []).extend(some)
    assert {name: sorted(some) for name, some in numbers.items()} == everything(each)


def test_a_place_that_stays_is_left_alone(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    file = File(str(tmp_path / "x.log"))
    configure(file=file)
    log.info("one")
    before = {thread for thread in threading.enumerate() if thread.name == "log"}
    outputs = configure(file=file, level=LogLevel.ERROR)
    assert before == {thread for thread in threading.enumerate() if thread.name == "log"}
    log.info("two")
    log.error("three")
    outputs.close()
    assert [line.split()[-1] for line in (tmp_path / "x.log").read_text().splitlines()] == ["one", "three"]


def test_a_logger_has_its_own_level_until_that_is_taken_away(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    file = File(str(tmp_path / "x.log"))
    below, other = logging.getLogger("rdagentd.test.below"), logging.getLogger("rdagentd.else")
    configure(file=file, levels=(("rdagentd.test", LogLevel.DEBUG), ("rdagentd.else", LogLevel.ERROR)))
    below.debug("a")
    other.warning("no")
    other.error("b")
    outputs = configure(file=file)
    below.debug("no")
    below.info("c")
    other.warning("d")
    outputs.close()
    assert [line.split()[-1] for line in (tmp_path / "x.log").read_text().splitlines()] == ["a", "b", "c", "d"]


def test_what_is_said_is_settled_when_it_is_said(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    things = [1]
    outputs = configure(file=File(str(tmp_path / "x.log")))
    log.info("%s", things)
    things.append(2)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("defect")
    outputs.close()
    text = (tmp_path / "x.log").read_text()
    assert "rdagentd.test: [1]\n" in text and "ValueError: why\n" in text


def test_a_message_that_cannot_be_made_is_nobodys_end(
    tmp_path: Path, configure: Configure, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = configure(file=File(str(tmp_path / "x.log")))
    log.info("%d", "no number")
    log.info("next")
    outputs.close()
    assert (tmp_path / "x.log").read_text().endswith("next\n")
    assert "no number" in capsys.readouterr().err


def test_a_stuck_stderr_holds_nobody_up(configure: Configure, log: logging.Logger) -> None:
    """A pipe that nobody reads, in the place of this process' standard error."""
    read, write = os.pipe()
    kept = os.dup(2)
    os.dup2(write, 2)
    try:
        outputs = configure(output=Main.TEXT)
        for number in range(5000):
            log.info("%d %s", number, "x" * 100)
        with open(read) as pipe:
            told = [pipe.readline().split()[-2] for _ in range(5000)]
            outputs.close()
    finally:
        os.dup2(kept, 2)
        os.close(write)
        os.close(kept)
    assert told == [str(number) for number in range(5000)]


def test_places() -> None:
    assert places_of(Logging()) == (Standard(Main.TEXT),)
    assert places_of(Logging(output=Main.OFF, syslog=Syslog())) == (Syslog(),)
    assert places_of(Logging(output=Main.JOURNAL, file=File("/x"))) == (Standard(Main.JOURNAL), File("/x"))


def test_afterwards_all_is_as_it_was(tmp_path: Path, configure: Configure) -> None:
    before = list(logging.getLogger().handlers)
    outputs = configure(file=File(str(tmp_path / "x.log")))
    assert logging.getLogger().handlers == [outputs]
    outputs.close()
    assert logging.getLogger().handlers == before
    assert not [thread for thread in threading.enumerate() if thread.name == "log"]
