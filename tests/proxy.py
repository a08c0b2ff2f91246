"""`rdagentd docker-proxy` for tests: a real process, startable and killable as often as a test likes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness import DEADLINE, eventually


class LiveProxy:
    """The proxy in a directory of its own, before the engine at `engine`."""

    def __init__(self, directory: Path, engine: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker-proxy.sock"
        self.runtime = directory / "run"
        self.engine = engine
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(mode=0o711, exist_ok=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None, "the proxy is not started"
        return self.process.pid

    def start(self) -> None:
        """Starts it; returns once it listens."""
        self.socket.unlink(missing_ok=True)
        places = ["--engine", self.engine, "--socket", self.socket, "--runtime-dir", self.runtime]
        places += ["--state-dir", self.directory / "state", "--daemon-uid", os.geteuid()]
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, "-m", "rdagentd", "docker-proxy", *map(str, places)]
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        eventually(self.socket.exists, "the proxy to listen")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it with a signal, and waits until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(DEADLINE)
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: it hangs; SIGCONT: it goes on."""
        os.kill(self.pid, number)

    def said(self) -> str:
        """What it wrote."""
        return (self.directory / "log").read_text()
