"""The gateway beside a daemon of `rdagentd up`: there when the daemon is, gone with it, never in its way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.gateway.client import ask
from tests.harness import LiveDaemon, alive, eventually, free_port

ANY_PORT = "[gateway]\nport = 0\n"


@pytest.fixture
def up(daemon: LiveDaemon, tmp_path: Path) -> LiveDaemon:
    """A daemon that may have a gateway, not started yet."""
    daemon.program = ["up", "--config", str(tmp_path / "rdagentd.toml"), "--state-dir"]
    (tmp_path / "rdagentd.toml").write_text(ANY_PORT)
    return daemon


def told(daemon: LiveDaemon, besides: int = 0) -> dict[str, object]:
    """What the runtime file says, once there is one of another process than that."""

    def look() -> dict[str, object] | None:
        with suppress(OSError, ValueError):
            found: dict[str, object] = json.loads((daemon.state / "gateway.json").read_text())
            return found if found["pid"] != besides else None
        return None

    found: dict[str, object] = eventually(look, "the gateway to say where it listens")
    return found


def is_ready(found: dict[str, object]) -> None:
    """It says that it is not where the daemon did not answer in time."""
    eventually(lambda: ask(found["urls"][0], "/readyz").text == "ok\n", "it to be ready")  # type: ignore[index]


def test_it_comes_with_the_daemon_and_goes_with_it(up: LiveDaemon) -> None:
    up.start()
    found = told(up)
    is_ready(found)
    asked = [sys.executable, "-m", "rdagentd", "status", "--state-dir", str(up.state)]
    assert f"its page: {found['urls'][0]}\n" in subprocess.check_output(asked, text=True)  # type: ignore[index]
    assert (up.state / "gateway/token").stat().st_mode & 0o777 == 0o600
    assert up.terminate() == 0
    assert not alive(int(str(found["pid"]))) and not (up.state / "gateway.json").exists()


def test_it_goes_when_the_daemon_is_killed_and_comes_back_with_it(up: LiveDaemon) -> None:
    up.start()
    first = int(str(told(up)["pid"]))
    up.kill()
    eventually(lambda: not alive(first), "the gateway to leave")
    up.start()
    assert alive(int(str(told(up, besides=first)["pid"])))


def test_one_that_is_killed_is_started_again(up: LiveDaemon) -> None:
    up.start()
    first = int(str(told(up)["pid"]))
    os.kill(first, signal.SIGKILL)
    again = told(up, besides=first)
    is_ready(again)
    eventually(lambda: "was ended by signal 9; it is started again" in up.said(), "its log")


def ten_of(taken: ExitStack) -> int:
    """The first of ten ports that we have now; 0 if one of them is somebody else's."""
    port = free_port()
    try:
        for number in range(port, port + 10):
            taken.enter_context(socket.create_server(("127.0.0.1", number)))
    except OSError:
        taken.close()
        return 0
    return port


def test_the_daemon_serves_where_no_port_is_free(up: LiveDaemon, tmp_path: Path) -> None:
    with ExitStack() as taken:
        port = eventually(lambda: ten_of(taken), "ten ports in a row that nobody has")
        (tmp_path / "rdagentd.toml").write_text(f"[gateway]\nport = {port}\naddresses = ['127.0.0.1']\n")
        client = up.start()
        eventually(lambda: "there is no gateway: it ended with code 1" in up.said(), "the gateway to give up")
    eventually(lambda: f"ports {port} to {port + 9} are taken" in up.said(), "its reason")
    assert client is not None and client.submit("x", "true")["name"] == "x"


def test_the_daemon_serves_where_aiohttp_is_missing(up: LiveDaemon, tmp_path: Path) -> None:
    (tmp_path / "none/aiohttp").mkdir(parents=True)
    (tmp_path / "none/aiohttp/__init__.py").write_text("raise ImportError('No module named aiohttp')")
    client = up.start(env={"PYTHONPATH": os.pathsep.join([str(tmp_path / "none"), *sys.path[1:]])})
    eventually(lambda: "there is no gateway" in up.said(), "the gateway to give up")
    eventually(lambda: "install python3-aiohttp" in up.said(), "its reason")
    assert client is not None and client.call("ping")["pid"]


def test_there_is_none_where_the_configuration_says_so(up: LiveDaemon, tmp_path: Path) -> None:
    (tmp_path / "rdagentd.toml").write_text("[gateway]\nup = false\n")
    client = up.start()
    assert client is not None and up.process is not None
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    assert [b"\0gateway\0" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children] == [False]
    assert up.terminate() == 0 and "listening on" not in up.said()
