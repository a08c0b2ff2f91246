"""rdagentd, as `make` installs it."""

from __future__ import annotations

import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Program
from benchmarks.peers.base import PATIENCE, ROOT, Peer
from rdagentd.protocol.frames import MAX_FRAME, Decoder, pack

ALL = {"select": {"names": ["*"], "labels": {}}}
"""Every worker, as an argument."""

IN_FLIGHT = 32
"""Requests sent before the first answer is waited for, where there are many."""


class Rdagentd(Peer):
    """`rdagentd up`, and a plain blocking client for its socket.

    before: a command that ends by executing its arguments; options: further ones of `up`; more: fields of every spec.
    """

    name = "rdagentd"

    def __init__(
        self,
        bench: Bench,
        programs: Sequence[Program],
        jobs: Sequence[Program] = (),
        *,
        before: Sequence[str] = (),
        options: Sequence[str | Path] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(bench, programs, jobs)
        self._before = before
        self._options = options
        self._more = more or {}

    def begin(self) -> None:
        self.launch_daemon()
        self.many(
            ("submit", {"spec": _spec(program) | self._more, "start": program.start}) for program in self.programs
        )

    def launch_daemon(self) -> subprocess.Popen[bytes]:
        """Starts the daemon, or starts it again, and waits until it answers and has its executor."""
        places = ("--state-dir", self.home / "state", "--socket", self._path)
        process = self.launch(*self._before, ROOT / ".venv/bin/rdagentd", "up", "--no-gateway", *places, *self._options)
        self.retry(0.002)
        while self.ask("version", {})["executor"] is None:
            time.sleep(0.002)
        return process

    def connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._decoder = Decoder(MAX_FRAME, None)
        self._socket.connect(str(self._path))

    def pids(self) -> list[int]:
        version = self.ask("version", {})
        return [int(self.ask("ping", {})["pid"]), int(version["executor"]["pid"])]

    def status_command(self, *options: str) -> list[str]:
        paths = [str(ROOT), sysconfig.get_path("platlib")]
        start = f"import sys; sys.path += {paths!r}; from rdagentctl.cli import main; sys.exit(main())"
        return ["/usr/bin/python3", "-I", "-S", "-c", start, "--socket", str(self._path), "status", *options]

    def ping(self) -> None:
        self.ask("ping", {})

    def rows(self) -> list[dict[str, Any]]:
        """The state of all."""
        rows: list[dict[str, Any]] = self.ask("status", ALL)
        return rows

    def running(self) -> set[str]:
        return {row["name"] for row in self.rows() if row["state"] == "running"}

    def start(self, name: str) -> None:
        self.ask("start", {"select": {"names": [name], "labels": {}}})

    def run(self) -> None:
        """As one does who has much to do: many at once; each one is durable before it is answered."""
        self.many(("submit", {"spec": _spec(job), "start": True}) for job in self.jobs)
        self.await_rest([job.name for job in self.jobs])

    def await_rest(self, names: Sequence[str]) -> None:
        select = {"names": list(names) if len(names) <= IN_FLIGHT else ["*"], "labels": {}}
        self.ask("wait", {"select": select, "until": "rest"})

    def many(self, requests: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Requests with IN_FLIGHT of them under way at a time."""
        waiting = 0
        for number, (op, args) in enumerate(requests):
            self._socket.sendall(pack({"v": 1, "id": number, "op": op, "args": args}))
            waiting += 1
            if waiting >= IN_FLIGHT:
                waiting -= len(self._answers())
        while waiting:
            waiting -= len(self._answers())

    @classmethod
    def version(cls) -> str:
        return subprocess.check_output([ROOT / ".venv/bin/python", "-c", _VERSION], text=True).strip()

    @property
    def _path(self) -> Any:
        return self.home / "rdagentd.sock"

    def ask(self, op: str, args: dict[str, Any]) -> Any:
        """One request, over the kept connection: its result."""
        self._socket.sendall(pack({"v": 1, "id": 0, "op": op, "args": args}))
        (answer,) = self._answers()
        return answer["result"]

    def _answers(self) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        while not answers:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("rdagentd closed the connection")
            answers = self._decoder.feed(data)
        for answer in answers:
            if not answer.get("ok"):
                raise RuntimeError(f"rdagentd answered {answer}")
        return answers


_VERSION = "import importlib.metadata as m; print(m.version('rdagentd'))"


def _spec(program: Program) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": program.name, "command": list(program.argv)}
    if program.always:
        spec["restart"] = {"policy": "always", "delay": 0.0, "breaker": {"failures": 0}}
    return spec
