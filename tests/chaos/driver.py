"""Sends random commands to a daemon that is killed again and again, and holds it to what it answered."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.account import PROGRAM
from tests.harness import CallError, Client, LiveDaemon

PAD = 400
"""Digits that make a line longer."""

WANTS = {"start": "up", "restart": "up", "stop": "down", "kill": "down"}
"""The wish that follows a command; the others leave it as it is."""

SENDS = {"stop": {"SIGTERM", "SIGKILL"}, "restart": {"SIGTERM", "SIGKILL"}, "kill": {"SIGKILL"}, "signal": {"SIGUSR1"}}
"""The signals that may end a run after a command; `remove` ends runs whose history goes with them."""

COMMANDS = (
    ("start",) * 20
    + ("restart",) * 6
    + ("stop",) * 5
    + ("kill", "signal", "pause", "resume", "resume") * 2
    + ("remove",)
)


@dataclass
class Expected:
    """A worker as the answers say it must be. present, wants: each possibility; several where an answer was lost."""

    name: str
    spec: dict[str, Any]
    generation: int = 0
    present: set[bool] = field(default_factory=lambda: {False})
    wants: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)
    last: str = "nothing"


class Driver:
    """Runs in a thread of its own until `leave`; failure holds what went wrong."""

    def __init__(self, daemon: LiveDaemon, directory: Path, workers: int, rng: random.Random, mark: str) -> None:
        self.daemon = daemon
        self.directory = directory
        self.rng = rng
        self.mark = mark
        self.workers = [Expected(name, self._spec(name)) for name in (f"w{number}" for number in range(workers))]
        self.answered = 0
        self.lost = 0
        self.connected = threading.Event()
        self.failure: BaseException | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver")

    def _spec(self, name: str) -> dict[str, Any]:
        rng = self.rng
        bursts, code = rng.choice((0, 1, 2, 4, 8, -1)), rng.choice((0, 0, 3, 7, 42))
        manner = rng.choice(("obey", "obey", "trap", "ignore"))
        missing = rng.random() < 0.05
        program = ["sh", PROGRAM, str(self.directory), "", str(bursts), str(code), manner]
        return {
            "name": name,
            "command": ["/nonexistent"] if missing else program,
            "environment": {"PAD": str(PAD), "PAUSE": "0.2", "CHAOS": self.mark},
            "restart": {
                "policy": rng.choice(("always", "always", "on-failure", "unless-stopped", "never")),
                "delay": rng.choice((0, 0.1, 0.5)),
                "retries": 1000,
                "breaker": {"failures": rng.choice((0, 0, 0, 20)), "window": 30, "cooldown": 1},
            },
            "stop": {"grace": rng.choice((0.2, 0.5))},
            "timeout": rng.choice((None, None, 1.0)),
            "kill_after": 0.2,
            "log": {"segment": "64K", "cap": "1G"},
        }  # fmt: skip

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def leave(self) -> None:
        """Ends after the batch under way. Raises what the driver found wrong."""
        self._leave.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._leave.is_set():
                try:
                    client = Client(self.daemon.socket)
                except OSError:
                    self._leave.wait(0.005)  # killed, or not there yet
                    continue
                try:
                    self._session(client)
                except OSError:
                    self.connected.clear()
                finally:
                    client.close()
        except BaseException as failure:
            self.failure = failure

    def _session(self, client: Client) -> None:
        self.check(client)
        self.connected.set()
        while not self._leave.is_set():
            self._batch(client)
            self._leave.wait(self.rng.choice((0, 0.01, 0.05)))

    # --- what was promised --------------------------------------------------------------------------------------------

    def check(self, client: Client) -> None:
        """Compares all workers with what was answered; where an answer was lost, what is there now is what counts."""
        rows = {row["name"]: row for row in client.status()}
        with contextlib.suppress(CallError):
            client.wait("nobody")  # which is answered when all that was decided before is kept
        for worker in self.workers:
            row = rows.pop(worker.name, None)
            about = f"{worker.name}: {row}, expected present {worker.present}, want {worker.wants}, last {worker.last}"
            assert (row is not None) in worker.present, about
            if row is None:
                worker.present = {False}
                continue
            assert worker.present != {True} or row["want"] in worker.wants, about
            if row["state"] != "stopping":  # else it may be on its way out
                worker.present, worker.wants = {True}, {row["want"]}
        assert not rows, f"workers that nobody submitted: {list(rows)}"

    # --- commands -----------------------------------------------------------------------------------------------------

    def _batch(self, client: Client) -> None:
        """Commands for different workers, sent at once; then their answers."""
        asked: list[tuple[Expected, str, int]] = []
        try:
            for worker in self.rng.sample(self.workers, self.rng.randint(1, 8)):
                op, args = self._choose(worker)
                asked.append((worker, op, 0))
                asked[-1] = (worker, op, client.send(op, **args))
            while asked:
                worker, op, request = asked[0]
                try:
                    self._settled(worker, op, client.answer(request))
                except CallError as error:
                    self._refused(worker, op, error)
                del asked[0]
                self.answered += 1
        except OSError:
            for worker, op, _ in asked:
                self._unknown(worker, op)
            raise

    def _choose(self, worker: Expected) -> tuple[str, dict[str, Any]]:
        if False in worker.present and self.rng.random() < 0.8:
            worker.generation += 1
            if len(worker.spec["command"]) > 1:
                worker.spec["command"][3] = str(worker.generation)
            return "submit", {"spec": worker.spec}
        op = self.rng.choice(COMMANDS)
        args: dict[str, Any] = {"select": {"names": [worker.name]}}
        if op == "signal":
            args |= {"signal": "SIGUSR1", "scope": self.rng.choice(("main", "group", "tree"))}
        if op == "remove":
            args |= {"force": self.rng.random() < 0.7}
        worker.signals |= SENDS.get(op, set())
        return op, args

    def _settled(self, worker: Expected, op: str, result: Any) -> None:
        worker.last = op
        if op == "submit":
            worker.present, worker.wants, worker.signals = {True}, {"up"}, set()
            return
        assert worker.present != {False}, f"{op} {worker.name} was answered, but it was removed"
        standing = result["workers"][0]
        if standing["error"] is not None:
            refusals = {"conflict", "not_found"} | ({"unavailable"} if op == "signal" else set())
            assert standing["error"]["code"] in refusals, f"{op} {worker.name}: {standing}"
            worker.last = f"{op} (refused)"
        elif op == "remove":
            worker.present = {False} if standing["state"] == "removed" else {True, False}
        elif op in WANTS and worker.present == {True}:
            worker.wants = {WANTS[op]}

    def _refused(self, worker: Expected, op: str, error: CallError) -> None:
        about = f"{op} {worker.name}: {error}; expected present {worker.present}"
        assert (error.code, op == "submit") in (("conflict", True), ("not_found", False)), about
        assert (op == "submit") in worker.present, about
        worker.last = f"{op} (refused)"

    def _unknown(self, worker: Expected, op: str) -> None:
        self.lost += 1
        worker.last = f"{op} (answer lost)"
        if op in ("submit", "remove"):
            worker.present |= {op == "submit"}
        if op in WANTS or op == "submit":
            worker.wants |= {WANTS.get(op, "up")}
