"""The daemon's own log: in all places at once, changed by a reload, and never a reason not to answer."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import no_network
from tests.daemon.test_disk_full import fill, small  # noqa: F401 -- a fixture
from tests.harness import CallError, LiveDaemon, eventually
from tests.outputs.conftest import Sink, sink  # noqa: F401 -- a fixture


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "rdagentd.toml"


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_it_logs_to_all_places_at_once(
    daemon: LiveDaemon,
    tmp_path: Path,
    config: Path,
    sink: Sink,  # noqa: F811
) -> None:
    file = tmp_path / "own.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(60)
        config.write_text(
            f"[logging]\noutput = 'json'\nfile = {{path = '{file}'}}\nsyslog = {{address = '{tmp_path}/log'}}\n"
            f"tcp = {{address = '127.0.0.1:{sink.port}'}}\nlevels = {{'rdagentd.daemon' = 'info'}}\n"
        )
        assert daemon.start("--config", str(config)) is not None
        eventually(lambda: re.search(r"(?m)^\S+ \S+ \[INFO\] rdagentd\.daemon: ready on ", text(file)), "the file")
        assert any("ready on" in json.loads(line)["message"] for line in sink.lines())
        while b": rdagentd.daemon: ready on " not in syslog.recv(1 << 16):
            pass

    def said() -> list[dict[str, Any]]:
        lines = daemon.said()
        return [json.loads(line) for line in lines[: lines.rfind("\n") + 1].splitlines()]

    ready = lambda record: record["message"].startswith("ready on") and record["function"] == "_serve"  # noqa: E731
    eventually(lambda: any(map(ready, said())), "its stderr")


def test_without_a_word_about_it_stderr_has_lines_of_text(daemon: LiveDaemon) -> None:
    assert daemon.start() is not None
    eventually(lambda: re.search(r"(?m)^\S+ \S+ \[INFO\] rdagentd\.daemon: ready on ", daemon.said()), "the line")


def test_a_reload_changes_where_it_logs_and_how_much(daemon: LiveDaemon, tmp_path: Path, config: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    config.write_text(f"[logging]\noutput = 'off'\nfile = {{path = '{one}'}}\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    eventually(lambda: "ready on" in text(one), "the first file")
    config.write_text(f"[logging]\noutput = 'off'\nfile = {{path = '{two}', format = 'json'}}\n")
    client.call("reload")
    eventually(lambda: "configuration reloaded" in text(two), "the second file")
    config.write_text(f"log_level = 'error'\n[logging]\noutput = 'off'\nfile = {{path = '{two}', format = 'json'}}\n")
    client.call("reload")
    with pytest.raises(CallError):
        client.call("reload", nonsense=1)
    config.write_text(f"[logging]\noutput = 'off'\nfile = {{path = '{one}'}}\n")
    client.call("reload")
    eventually(lambda: text(one).count("configuration reloaded") == 1, "the first file again")
    assert text(two).count("configuration reloaded") == 1, "the one at level error is not there"
    assert daemon.said() == ""


def test_a_reload_to_a_place_that_cannot_be_says_so_and_changes_nothing(
    daemon: LiveDaemon, tmp_path: Path, config: Path
) -> None:
    good = tmp_path / "good.log"
    config.write_text(f"[logging]\nfile = {{path = '{good}'}}\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    config.write_text(f"log_level = 'error'\n[logging]\nfile = {{path = '{tmp_path}/none/x.log'}}\n")
    with pytest.raises(
        CallError, match=f"cannot reload: cannot log to {tmp_path}/none/x.log: no such file or directory"
    ):
        client.call("reload")
    eventually(lambda: "the configuration stays as it was" in text(good), "the old place")
    config.write_text(f"[logging]\nfile = {{path = '{good}'}}\n")
    client.call("reload")
    eventually(lambda: "configuration reloaded" in text(good), "the old level")


def test_a_place_that_cannot_be_is_no_start(daemon: LiveDaemon, tmp_path: Path, config: Path) -> None:
    config.write_text(f"[logging]\nfile = {{path = '{tmp_path}/none/x.log'}}\n")
    daemon.start("--config", str(config), ready=False)
    assert daemon.wait() == 78
    assert f"rdagentd: cannot log to {tmp_path}/none/x.log: no such file or directory" in daemon.said()
    assert "Traceback" not in daemon.said()


@pytest.mark.skipif(platform.machine() not in no_network.SOCKET, reason="needs the number of socket(2) on this machine")
@pytest.mark.parametrize("place", ["tcp = {address = '127.0.0.1:5959'}", "syslog = {address = '127.0.0.1:514'}"])
def test_a_unit_without_a_network_says_so_at_start(daemon: LiveDaemon, config: Path, place: str) -> None:
    """As one with RestrictAddressFamilies=AF_UNIX."""
    config.write_text(f"[logging]\n{place}\n")
    daemon.prefix = [sys.executable, no_network.__file__]
    daemon.start("--config", str(config), ready=False, env={"INVOCATION_ID": "1"})
    assert daemon.wait() == 78
    said = daemon.said()
    assert re.search(
        r"cannot log to .*127\.0\.0\.1:\d+: address family not supported by protocol; a unit reaches", said
    )


def test_a_full_disk_under_the_log_is_no_reason_not_to_answer(
    daemon: LiveDaemon,
    config: Path,
    small: Path,  # noqa: F811
) -> None:
    file = small / "own.log"
    config.write_text(f"[logging]\nfile = {{path = '{file}'}}\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    eventually(lambda: "ready on" in text(file), "the file")
    ballast = fill(small)
    for _ in range(200):
        client.call("reload")
    assert client.submit("w", "/bin/true")["name"] == "w"
    eventually(lambda: f"cannot log to {file}: no space left on device" in daemon.said(), "the trouble to be told")
    ballast.unlink()
    eventually(lambda: "goes on; 0 messages are missing there" in text(file), "the log to go on")
    eventually(lambda: text(file).count("configuration reloaded") == 200, "what was said meanwhile")


def test_a_server_that_reads_nothing_is_no_reason_not_to_answer_or_not_to_leave(
    daemon: LiveDaemon,
    config: Path,
    sink: Sink,  # noqa: F811
) -> None:
    config.write_text(f"[logging]\ntcp = {{address = '127.0.0.1:{sink.port}'}}\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    sink.accept()
    for _ in range(200):
        client.call("reload")
    assert client.submit("w", "/bin/true")["name"] == "w"
    client.wait("w")
    assert daemon.terminate() == 0


def test_a_journald_that_is_stuck_is_no_reason_not_to_answer_or_not_to_leave(daemon: LiveDaemon) -> None:
    """It reads neither its socket nor the stream that stderr is: a pipe that is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while os.write(write, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(write, True)
    found = os.fstat(write)
    environ = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    command = [sys.executable, "-m", "rdagentd", "up", "--state-dir", str(daemon.state)]
    daemon.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write, stderr=write, env=environ)
    try:
        client = daemon.client()
        for _ in range(50):
            client.call("reload")
        assert client.submit("w", "/bin/true")["name"] == "w"
        assert client.wait("w")[0]["state"] == "completed"
        assert daemon.terminate() == 0
    finally:
        os.close(read)
        os.close(write)
