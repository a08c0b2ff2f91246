"""circus, over ZeroMQ on Unix sockets."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from benchmarks.bench import Program
from benchmarks.peers.base import BIN, PATIENCE, Peer

_GENERAL = """\
[circus]
endpoint = ipc://{root}/circus
pubsub_endpoint = ipc://{root}/circus-pubsub
statsd = false
"""
_WATCHER = """\
[watcher:{name}]
cmd = {command}
numprocesses = 1
autostart = {start}
respawn = {always}
stdout_stream.class = FileStream
stdout_stream.filename = {root}/{name}.log
stdout_stream.max_bytes = 10485760
stdout_stream.backup_count = 4
"""


class Circus(Peer):
    """circusd in the foreground."""

    name = "circus"
    tick = 5.0

    def begin(self) -> None:
        root = self.home
        config = _GENERAL.format(root=root) + "".join(
            self._section(program) for program in (*self.programs, *self.jobs)
        )
        (root / "circus.ini").write_text(config)
        self._process = self.launch(BIN / "circusd", root / "circus.ini")
        self.retry()

    def connect(self) -> None:
        from circus.client import CircusClient  # in the venv of the peers only

        self._client = CircusClient(endpoint=f"ipc://{self.home}/circus", timeout=PATIENCE)

    def pids(self) -> list[int]:
        return [self._process.pid]

    def status_command(self) -> list[str]:
        return [str(BIN / "circusctl"), "--endpoint", f"ipc://{self.home}/circus", "status"]

    def ping(self) -> None:
        self._ask("numwatchers")

    def running(self) -> set[str]:
        statuses = self._ask("status")["statuses"]
        return {name for name, status in statuses.items() if status in ("starting", "active")}

    def start(self, name: str) -> None:
        # Waited for: a second one under way would be refused, as a conflict.
        self._ask("start", name=name, waiting=True)

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("circus")

    def _ask(self, command: str, **properties: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.send_message(command, **properties)
        if answer.get("status") == "error":
            raise RuntimeError(f"circus answered {answer}")
        return answer

    def _section(self, program: Program) -> str:
        words = {"start": program.start, "always": program.always or program.start}
        return _WATCHER.format(root=self.home, name=program.name, command=" ".join(program.argv), **words)
