"""A program in a pseudo-terminal, and a terminal emulator (pyte) that draws what it says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import pyte

DEADLINE = 60.0
"""Seconds after which waiting for a picture is a failure."""

ALTERNATE, CURSOR, WRAP = 1049, 25, 7
"""Private modes of xterm: the other screen, the cursor seen, wrapping at the right edge."""


class Terminal:
    """`command` with a terminal of its own as its controlling one. screen: what is to be seen. written: bytes that came."""

    def __init__(
        self, command: Sequence[str], columns: int = 100, rows: int = 30, *, encoding: str = "utf-8", **environment: str
    ) -> None:
        self._master, self._slave = os.openpty()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        if encoding != "utf-8":
            self._stream.select_other_charset("@")
        self._set_size(columns, rows)
        self.modes_before = self.modes()
        self.written = 0
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "env", "--default-signal=INT,QUIT", *command],  # which a job in the background has ignored
            stdin=self._slave, stdout=self._slave, stderr=self._slave,
            env={"TERM": "xterm-256color", **environment},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        for end in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(end)

    def modes(self) -> tuple[list[Any], frozenset[int]]:
        """Of the line (termios) and of the emulator."""
        return termios.tcgetattr(self._slave), frozenset(self.screen.mode)

    def shows(self, mode: int) -> bool:
        """Whether a private mode is set."""
        return mode << 5 in self.screen.mode

    @property
    def lines(self) -> list[str]:
        """What is to be seen, without the blanks at the right."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        """As if typed."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As if the window were pulled: the kernel sends SIGWINCH."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def hang_up(self) -> None:
        """As if the window were closed."""
        os.close(self._master)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, timeout: float) -> bool:
        """Draws what comes within so many seconds; False if nothing did."""
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        data = os.read(self._master, 65536)
        self.written += len(data)
        self._stream.feed(data)
        return True

    def until(self, there: Callable[[], Any], what: str) -> Any:
        """Draws until the condition holds, and returns what it gave."""
        deadline = time.monotonic() + DEADLINE
        while not (found := there()):
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {what}; the screen:\n{self.text}"
            self.pump(min(left, 0.2))
        return found

    def run_for(self, seconds: float) -> None:
        """Draws what comes for so long: to measure, not to wait."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(left)

    def see(self, *texts: str) -> None:
        """Waits until all of these are to be seen at once."""
        self.until(lambda: all(text in self.text for text in texts), f"{texts}")

    def line(self, begin: str) -> str:
        """The first line that begins so, as soon as there is one."""
        found: str = self.until(lambda: next((line for line in self.lines if line.startswith(begin)), ""), begin)
        return found

    def end(self) -> int:
        """The exit code, once the program has ended and all that it wrote is drawn."""
        self.until(lambda: self.process.poll() is not None, "the end of the program")
        os.write(self._slave, b"\x1b]2;over\x07")  # a title, which comes after all else
        self.until(lambda: self.screen.title == "over", "all that it wrote")
        return self.process.returncode
