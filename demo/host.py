"""The host side of the demo: rdagentd in a temporary directory, asked through rdagentctl."""

# ruff: noqa: S603 -- a demo runs commands

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 30.0
"""Seconds that any one step may take."""


class BrokenError(Exception):
    """Something was not as promised."""


class Host:
    """A daemon with its state below `root`, from the programs in `bin`."""

    def __init__(self, root: Path, programs: Path) -> None:
        self.root = root
        self.socket = root / "rdagentd.sock"
        self.output = root / "rdagentd.out"
        self._programs = programs
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the daemon that was started last."""
        assert self._daemon is not None
        return self._daemon.pid

    def up(self) -> None:
        """Starts the daemon; returns when it answers."""
        command = [self._programs / "rdagentd", "up", "--state-dir", self.root / "state", "--socket", self.socket]
        with self.output.open("ab") as output:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.wait_for("rdagentd to answer", lambda: self._try("ping").returncode == 0)

    def page(self) -> str:
        """Address of the page, with the token that lets its buttons work. Waits until something serves it."""
        told = self.root / "state/gateway.json"
        self.wait_for("the page to be served", told.exists)
        token = (self.root / "state/gateway/token").read_text().strip()
        return f"{json.loads(told.read_text())['urls'][0]}?token={token}"

    def kill(self) -> None:
        """kill -9, as a crash would do it."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def end(self) -> int:
        """Asks the daemon to stop everything and leave; its exit code."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGTERM)
        return self._daemon.wait(TIMEOUT)

    def ctl(self, *arguments: str | Path, fine: tuple[int, ...] = (0,)) -> str:
        """What rdagentctl prints. Raises BrokenError if it does not exit with one of the codes that are `fine`."""
        done = self._try(*arguments)
        if done.returncode not in fine:
            raise BrokenError(f"rdagentctl {arguments[0]} exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def status(self, name: str) -> dict[str, Any]:
        """The worker's row."""
        rows = json.loads(self.ctl("status", "--json", name, fine=(0, 3)))  # 3: it does not run
        if [row["name"] for row in rows] != [name]:
            raise BrokenError(f"status of {name} answers with {rows}")
        row: dict[str, Any] = rows[0]
        return row

    def explain(self, name: str) -> str:
        """What is known of a worker, for a person who wonders what went wrong."""
        asked = (["why", name], ["events", name], ["logs", "--tail=20", name])
        return "".join(done.stdout + done.stderr for done in (self._try(*arguments) for arguments in asked))

    def follow(self, name: str) -> Iterator[str]:
        """Lines of the worker's log as they come, from its first one; ends with the worker or the daemon."""
        command = [*self._ctl, "logs", "--follow", name]
        with self.output.open("ab") as errors:
            client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert client.stdout is not None
            yield from _lines(client.stdout.fileno())
        finally:
            client.kill()
            client.wait()

    def wait_for(self, what: str, there: Callable[[], bool]) -> None:
        """Waits until `there` says so. Raises BrokenError after TIMEOUT, or if the daemon has ended meanwhile."""
        deadline = time.monotonic() + TIMEOUT
        while not there():
            if time.monotonic() > deadline:
                raise BrokenError(f"waited {TIMEOUT:.0f} s in vain for {what}")
            time.sleep(0.05)

    def leftovers(self) -> list[int]:
        """Processes that have this demo's directory, whose name is unique, in their command line or environment."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._mine(pid)]  # noqa: PTH208

    def clean(self) -> None:
        """Ends whatever is still there."""
        for _ in range(50):
            left = self.leftovers()
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        if self._daemon is not None:
            self._daemon.wait(TIMEOUT)

    @property
    def _ctl(self) -> list[str | Path]:
        return [self._programs / "rdagentctl", "--socket", self.socket]

    def _try(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._ctl, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)

    def _mine(self, pid: int) -> bool:
        if pid == os.getpid():
            return False
        try:
            what = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            return False
        return os.fsencode(self.root) in what


def _lines(descriptor: int) -> Iterator[str]:
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(TIMEOUT):
            data = os.read(descriptor, 65536)
            *lines, pending = (pending + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            if not data:
                return
    raise BrokenError(f"nothing was logged for {TIMEOUT:.0f} s")
