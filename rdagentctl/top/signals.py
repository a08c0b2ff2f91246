"""Signals as something to wait for: they are noted, and dealt with between two pictures."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""They end the program. A second one does so at once: the first may wait for a terminal that takes nothing."""

_NOTED = (*LEAVE, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Signals:
    """`fileno` becomes readable when one came."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._came: list[int] = []

    def fileno(self) -> int:
        """To wait on."""
        return self._read

    def __enter__(self) -> Self:
        self._before = {one: signal.signal(one, self._note) for one in _NOTED}
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for one, handler in self._before.items():
            signal.signal(one, handler)
        os.close(self._read)
        os.close(self._write)

    def take(self) -> list[int]:
        """Those that came since, in order."""
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
        came, self._came = self._came, []
        return came

    def stop(self) -> None:
        """Stops this process as ctrl-Z would have done, and returns when it goes on."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if number in LEAVE and any(one in LEAVE for one in self._came):
            end_by(number)
        self._came.append(number)


def end_by(number: int) -> None:
    """Ends this process by the signal, so that whoever waits for it knows."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
