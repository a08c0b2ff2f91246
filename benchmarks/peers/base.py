"""A peer: one supervisor, started for one measure in the directory of a workbench, with the programs it is to run."""

from __future__ import annotations

import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from benchmarks import processes
from benchmarks.bench import Bench, Program

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.prefix) / "bin"
"""Where the peers' own commands are: the venv that this runs in."""

PATIENCE = 180.0
"""Seconds that a peer may take to start or to run everything."""


class Peer(ABC):
    """A running supervisor with these programs, as a context: entered, it answers and has started what is to start.

    `jobs` are handed over only when they are run, where the supervisor can be handed something while it runs.
    """

    name: ClassVar[str]
    tick: ClassVar[float] = 0.0
    """Seconds between two looks, for those that look from time to time."""

    def __init__(self, bench: Bench, programs: Sequence[Program], jobs: Sequence[Program] = ()) -> None:
        self.bench = bench
        self.home = bench.home()
        self.programs = programs
        self.jobs = jobs
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.begin()
            self._await_crowd()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kills the supervisor first, so that it starts nothing again, and then what it ran."""
        processes.end(self.bench.root, first=[process.pid for process in self._processes if process.poll() is None])
        for process in self._processes:
            process.wait()

    def launch(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Starts the supervisor's own program; its output goes to a file."""
        with (self.home / "out").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._processes.append(process)
        return process

    def retry(self, attempt: float = 0.01) -> None:
        """Waits until the supervisor answers, asking every `attempt` seconds. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect()
                self.ping()
            except Exception as error:
                if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                    raise TimeoutError(f"{self.name} does not answer: {error}; it said: {self.said()}") from error
                time.sleep(attempt)
            else:
                return

    def said(self) -> str:
        """The end of what the supervisor printed."""
        return (self.home / "out").read_text(errors="replace")[-500:].strip()

    def run(self) -> None:
        """Has the jobs run; returns when the exit of every one is known to the supervisor."""
        for job in self.jobs:
            self.start(job.name)
        self.await_rest([job.name for job in self.jobs])

    def await_rest(self, names: Sequence[str]) -> None:
        """Waits until none of these runs any more, by asking. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while self.running().intersection(names):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} has not run all in {PATIENCE:.0f} s")
            time.sleep(0.05)

    def _await_crowd(self) -> None:
        expected = {program.name for program in self.programs if program.start}
        deadline = time.monotonic() + PATIENCE
        while expected and not expected <= self.running():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(expected)} workers do not run under {self.name} in {PATIENCE:.0f} s")
            time.sleep(0.1)

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Its version."""

    @abstractmethod
    def begin(self) -> None:
        """Starts the supervisor and makes the programs known to it."""

    @abstractmethod
    def connect(self) -> None:
        """Opens the connection that is kept for all requests."""

    @abstractmethod
    def pids(self) -> list[int]:
        """The supervisor's own processes."""

    @abstractmethod
    def status_command(self) -> list[str]:
        """What a person types to see the state of all, as an argument vector that costs as little as is possible."""

    @abstractmethod
    def ping(self) -> None:
        """The least request that it answers, over the kept connection."""

    @abstractmethod
    def running(self) -> set[str]:
        """One request for the state of all, over the kept connection; the names of those that run or are about to."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Asks for a start, over the kept connection; returns with the answer, which may come before the start."""
