"""Whether programs that crash leave a core dump, with what it holds of their memory. See core(5)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

UNLIMITED = ["sh", "-c", 'ulimit -c unlimited && cd "$0" && exec "$@"']
"""Followed by a directory and a program, which may leave a core dump there."""


def dumped(pid: int) -> bool:
    """Waits for a child to end, and leaves it to whoever waits next: whether the kernel has dumped its memory."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None and ended.si_status == signal.SIGABRT, ended
    return ended.si_code == os.CLD_DUMPED


def possible(directory: Path) -> bool:
    """Whether this host dumps at all."""
    with subprocess.Popen([*UNLIMITED, str(directory), "sleep", "1000"]) as process:
        while b"sleep" not in Path(f"/proc/{process.pid}/comm").read_bytes():
            os.sched_yield()
        process.send_signal(signal.SIGABRT)
        return dumped(process.pid)
