"""The workbench: a directory with the programs that are supervised, and the FIFO through which they tell the time."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0
"""Seconds that a worker may take to tell something."""


@dataclass(frozen=True)
class Program:
    """What a peer is to run: a name, an argument vector, whether it starts with the peer, whether it is kept up."""

    name: str
    argv: tuple[str, ...]
    start: bool = False
    always: bool = False


@dataclass
class Bench:
    """A directory of its own: `root`. Its name is in the command line of all that runs in it."""

    root: Path
    fifo: int
    _pending: bytes = field(default=b"", init=False)
    _homes: int = field(default=0, init=False)

    def home(self) -> Path:
        """A new directory for one supervisor's state."""
        self._homes += 1
        path = self.root / f"home-{self._homes}"
        path.mkdir()
        return path

    def idle(self, name: str) -> Program:
        """A worker that does nothing for ever."""
        return Program(name, (str(self.root / "sleep"), "1000000"), start=True)

    def crowd(self, count: int) -> list[Program]:
        """Many of them."""
        return [self.idle(f"idle-{number}") for number in range(count)]

    def nothing(self, name: str) -> Program:
        """A job that is over at once: /bin/true."""
        return Program(name, (str(self.root / "true"),))

    def stamp(self, name: str) -> Program:
        """A job that tells when it began."""
        return Program(name, (str(self.root / "worker"), "stamp", str(self.root / "fifo")))

    def hold(self, name: str) -> Program:
        """A worker that tells its pid and when it began, is there until it is killed, and is then replaced."""
        return Program(name, (str(self.root / "worker"), "hold", str(self.root / "fifo")), start=True, always=True)

    def write(self, name: str, size: int, total: int) -> Program:
        """A job that writes `total` bytes, `size` at a time, and tells when it began and ended."""
        return Program(name, (str(self.root / "worker"), "write", str(self.root / "fifo"), str(size), str(total)))

    def told(self) -> tuple[int, int]:
        """The next pair of numbers that a worker tells. Raises TimeoutError after PATIENCE."""
        while b"\n" not in self._pending:
            if not select.select([self.fifo], [], [], PATIENCE)[0]:
                raise TimeoutError(f"no worker told anything in {PATIENCE:.0f} s")
            self._pending += os.read(self.fifo, 4096)
        line, _, self._pending = self._pending.partition(b"\n")
        first, second = line.split()
        return int(first), int(second)


@contextmanager
def workbench() -> Iterator[Bench]:
    """A fresh workbench; at the end whatever still runs in it is killed and the directory is removed."""
    root = Path(tempfile.mkdtemp(prefix="rdagentd-measure-"))
    root.chmod(0o755)
    os.mkfifo(root / "fifo")
    for name in ("sleep", "true"):
        (root / name).symlink_to(f"/bin/{name}")
    _make_worker(root / "worker")
    fifo = os.open(root / "fifo", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield Bench(root, fifo)
    finally:
        processes.end(root)
        os.close(fifo)
        shutil.rmtree(root, ignore_errors=True)


def _make_worker(path: Path) -> None:
    if shutil.which("gcc"):
        subprocess.run(["gcc", "-O2", "-static", "-o", path, HERE / "worker.c"], check=True)
    else:
        path.write_text(f"#!/usr/bin/python3 -ISE\n{(HERE / 'worker.py').read_text()}")
        path.chmod(0o755)
