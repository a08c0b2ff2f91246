"""syslog and TCP: real sockets that stall, die and come back."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from rdagentd.config.outputs import Address, File, Main, Syslog, Tcp
from rdagentd.outputs.output import MOST
from rdagentd.outputs.sinks import LogError
from tests.harness import eventually
from tests.outputs.conftest import Configure, Sink


def listening(path: Path) -> socket.socket:
    """A syslog server's socket."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))
    server.settimeout(60)
    return server


def message(datagram: bytes) -> str:
    """What a syslog server shows."""
    found = re.fullmatch(rb"<(\d+)>rdagentd\[%d\]: (.*)\0" % os.getpid(), datagram, re.DOTALL)
    assert found, datagram
    return f"{found[1].decode()} {found[2].decode()}"


# --- syslog -----------------------------------------------------------------------------------------------------------


def test_syslog_over_a_unix_socket(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    with listening(tmp_path / "log") as server:
        configure(syslog=Syslog(str(tmp_path / "log")))
        log.error("%s ü \udcff", "broken")
        log.info("fine")
        assert message(server.recv(4096)) == "27 rdagentd.test: broken ü ?"  # daemon.err
        assert message(server.recv(4096)) == "30 rdagentd.test: fine"  # daemon.info


def test_syslog_over_udp(configure: Configure, log: logging.Logger) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        configure(syslog=Syslog(Address("127.0.0.1", server.getsockname()[1])))
        log.warning("careful")
        assert message(server.recv(4096)) == "28 rdagentd.test: careful"


def test_a_syslog_server_that_does_not_read_holds_nobody_up(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    with listening(tmp_path / "log") as server:
        configure(syslog=Syslog(str(tmp_path / "log")))
        for number in range(5000):
            log.info("%d", number)
        told = [message(server.recv(4096)).split()[-1] for _ in range(5000)]
    assert told == [str(number) for number in range(5000)]


def test_a_syslog_server_that_comes_back_gets_what_was_said_meanwhile(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    path = tmp_path / "log"
    with listening(path) as server:
        configure(syslog=Syslog(str(path)), file=File(str(tmp_path / "beside.log")))
        log.info("before")
        assert message(server.recv(4096)).endswith("before")
    log.info("meanwhile")
    beside = tmp_path / "beside.log"
    eventually(lambda: "connection refused; it is tried again" in beside.read_text(), "the trouble to be told")
    with listening(path) as server:
        assert message(server.recv(4096)).endswith("meanwhile")
        assert "cannot log to syslog at" in message(server.recv(4096))
        assert "goes on" in message(server.recv(4096))


def test_a_message_that_is_too_long_for_a_datagram_is_counted(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    with listening(tmp_path / "log") as server:
        configure(syslog=Syslog(str(tmp_path / "log")))
        log.info("x" * 3_000_000)
        assert "message too long; messages are dropped" in message(server.recv(4096))
        assert "goes on; 1 messages are missing there" in message(server.recv(4096))
        log.info("next")
        assert "next" in message(server.recv(4096))


def test_a_syslog_socket_that_is_not_there_is_refused(tmp_path: Path, configure: Configure) -> None:
    with pytest.raises(LogError, match=f"cannot log to syslog at {tmp_path}/none: no such file or directory"):
        configure(syslog=Syslog(str(tmp_path / "none")))
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="socket operation on non-socket"):
        configure(syslog=Syslog(str(tmp_path / "file")))


# --- TCP --------------------------------------------------------------------------------------------------------------


def to(sink: Sink) -> Tcp:
    return Tcp(Address("127.0.0.1", sink.port))


def test_lines_of_json(configure: Configure, log: logging.Logger, sink: Sink) -> None:
    configure(tcp=to(sink))
    log.info("one\ntwo")
    told = json.loads(next(sink.lines()))
    assert (told["message"], told["logger"], told["level"]) == ("one\ntwo", "rdagentd.test", "INFO")


def lines_until(file: BinaryIO, last: str) -> Iterator[str]:
    """Lines of a file that grows, up to the one with this text."""
    line = b""
    while last not in line.decode():
        line = b""
        while not line.endswith(b"\n"):
            line += eventually(file.readline, "the next line")
        yield line.decode()


def test_a_sink_that_stalls_and_reads_again_misses_what_it_is_told_to_miss(
    configure: Configure, log: logging.Logger, sink: Sink, tmp_path: Path
) -> None:
    beside = tmp_path / "beside.log"
    configure(tcp=to(sink), file=File(str(beside), size=None))
    log.info("0 ")
    sink.accept()
    said, warned = 1, False
    eventually(beside.exists, "the file")
    with beside.open("rb") as written:
        while not warned:
            for _ in range(200):
                log.info("%d %s", said, "x" * 10_000)
                said += 1
            for line in lines_until(written, f": {said - 1} xxx"):  # so that the file keeps up
                warned |= "it does not keep up; messages are dropped" in line
    lines = sink.lines()
    got: list[int] = []
    for line in lines:
        got.append(int(json.loads(line)["message"].split()[0]))
        if got[-1] * 10_000 > MOST * 3 // 4:
            break
    log.info("%d last", said)
    missing = 0
    for line in lines:
        text = json.loads(line)["message"]
        if " last" in text:
            break
        if "are missing in the log" in text:
            missing = int(text.split()[0])
        elif text[0].isdigit():
            got.append(int(text.split()[0]))
    assert got == list(range(len(got))), "none in between is missing, none is there twice"
    assert missing > 0
    assert len(got) + missing == said + 1, "the warning that it does not keep up was the other one"
    eventually(lambda: f"{missing} messages are missing in the log to 127.0.0.1" in beside.read_text(), "the count")
    numbers = [int(line.split(": ", 1)[1].split()[0]) for line in beside.read_text().splitlines() if "xxx" in line]
    assert numbers == list(range(1, said)), "the file has them all"


def test_a_sink_that_dies_and_comes_back_gets_all_that_was_said_meanwhile(
    configure: Configure, log: logging.Logger, sink: Sink, tmp_path: Path
) -> None:
    beside = tmp_path / "beside.log"
    configure(tcp=to(sink), file=File(str(beside)))
    log.info("before")
    assert json.loads(next(sink.lines()))["message"] == "before"
    sink.close()
    for number in range(1000):
        log.info("%d", number)
    eventually(lambda: "connection refused; it is tried again" in beside.read_text(), "the trouble to be told")
    again = Sink(sink.port)
    try:
        lines = (json.loads(line)["message"] for line in again.lines())
        told = [next(lines) for _ in range(1002)]
    finally:
        again.close()
    assert [text for text in told if text.isdigit()] == [str(number) for number in range(1000)]
    assert any(text.endswith("goes on; 0 messages are missing there") for text in told)
    assert beside.read_text().count("it is tried again") == 1


def test_a_sink_that_was_never_there_is_no_reason_not_to_start(
    configure: Configure, log: logging.Logger, sink: Sink
) -> None:
    sink.close()
    configure(tcp=to(sink))
    log.info("early")
    late = Sink(sink.port)
    try:
        assert json.loads(next(late.lines()))["message"] == "early"
    finally:
        late.close()


def test_who_leaves_says_what_did_not_get_there(
    configure: Configure, log: logging.Logger, sink: Sink, capfd: pytest.CaptureFixture[str]
) -> None:
    sink.close()
    outputs = configure(tcp=to(sink), output=Main.TEXT)
    for number in range(3):
        log.info("%d", number)
    outputs.close()
    assert re.search(r"[34] messages are missing in the log to 127\.0\.0\.1:\d+\n$", capfd.readouterr().err)
