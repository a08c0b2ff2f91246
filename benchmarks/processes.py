"""Processes, as proc(5) shows them: what they cost, and how those of one directory are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds that these processes have used so far, all threads; from schedstat, in nanoseconds."""
    return sum(int(path.read_text().split()[0]) for pid in pids for path in _tasks(pid, "schedstat")) / 1e9


def children_cpu(pids: Iterable[int]) -> float:
    """CPU seconds of those children of these processes that were reaped; in hundredths."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[13]) + int(one[14]) for one in fields) / os.sysconf("SC_CLK_TCK")


def switches(pids: Iterable[int]) -> int:
    """How often the threads of these processes were put on or off a CPU so far: wake-ups, and preemptions."""
    return sum(
        int(line.split()[1])
        for pid in pids
        for path in _tasks(pid, "status")
        for line in path.read_text().splitlines()
        if "ctxt_switches" in line
    )


def pss(pids: Iterable[int]) -> int:
    """Proportional set size of these processes in bytes: shared pages count in parts."""
    return sum(
        int(line.split()[1]) << 10
        for pid in pids
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


def within(root: Path) -> list[int]:
    """Processes with this directory, whose name is unique, in their command line or environment; not the caller."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            what = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
            if os.fsencode(root) in what and int(name) != os.getpid():
                found.append(int(name))
    return found


def end(root: Path, first: Iterable[int] = ()) -> None:
    """Kills the processes of this directory by their ids, `first` before the others, until none is left.

    Raises TimeoutError if some do not end in a minute.
    """
    deadline = time.monotonic() + 60
    victims = [*first, *within(root)]
    while victims:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        if time.monotonic() > deadline:
            raise TimeoutError(f"cannot end {victims}")
        time.sleep(0.02)
        victims = within(root)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tasks(pid: int, name: str) -> list[Path]:
    return [task / name for task in Path(f"/proc/{pid}/task").iterdir()]
