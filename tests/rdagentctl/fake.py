"""A daemon that says what a test wants: a real Unix socket, served by threads, with a scripted answer for each operation."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from rdagentd.protocol.errors import NOT_FOUND, ProtocolError
from rdagentd.protocol.frames import Decoder, pack
from tests.harness import DEADLINE

Answer = Callable[[dict[str, Any]], Any]
Send = Callable[[bytes], None]


class Raw:
    """Bytes sent as they are; then the connection is closed, unless `stay`."""

    def __init__(self, data: bytes, *, stay: bool = False) -> None:
        self.data = data
        self.stay = stay


class Stream:
    """Items of a stream. then: "end", "close" (the connection) or "stay" (no more, but no end either)."""

    def __init__(self, items: Iterable[Any], then: str = "end") -> None:
        self.items = items
        self.then = then


class FakeDaemon:
    """Listens at `path`. `answers` maps an operation to a function of its args, which returns a result, a Stream or Raw,
    or raises ProtocolError. `requests` are all (op, args) that came, `came` is notified with each. pipelined: requests of a
    connection do not wait for each other. at_close: called when it closes, so that no answer waits any longer."""

    def __init__(self, path: str, answers: dict[str, Answer] | None = None, *, pipelined: bool = False) -> None:
        self.path = path
        self._pipelined = pipelined
        self.answers = answers or {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.came = threading.Condition()
        self.at_close: list[Callable[[], object]] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up on everybody and stops listening; the socket file stays, as after a crash."""
        for end in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for tell in self.at_close:
            tell()
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._connections):
            end.close()

    def args(self, op: str) -> list[dict[str, Any]]:
        """What was asked of this operation, in order."""
        return [args for asked, args in self.requests if asked == op]

    def wait_for(self, op: str, times: int = 1) -> None:
        """Returns when the operation has been asked for so many times."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.args(op)) >= times, DEADLINE), f"no {op}: {self.requests}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        decoder, sending = Decoder(), threading.Lock()

        def send(data: bytes) -> None:
            with sending:  # what is long goes in pieces, between which no other answer may come
                connection.sendall(data)

        try:
            while data := connection.recv(65536):
                for message in decoder.feed(data):
                    with self.came:  # here, where they are still in order
                        self.requests.append((message["op"], message["args"]))
                        self.came.notify_all()
                    if self._pipelined:
                        threading.Thread(target=self._answer_beside, args=(send, message), daemon=True).start()
                    elif not self._answer(send, message):
                        connection.shutdown(socket.SHUT_RDWR)
                        return
        except OSError:
            return

    def _answer_beside(self, send: Send, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # who asked has gone
            self._answer(send, message)

    def _answer(self, send: Send, message: dict[str, Any]) -> bool:
        op, number, args = message["op"], message["id"], message["args"]
        assert message["v"] == 1
        try:
            if op not in self.answers:
                raise ProtocolError(NOT_FOUND, f"the fake daemon has no answer for {op}")
            answer = self.answers[op](args)
        except ProtocolError as error:
            send(pack({"id": number, "ok": False, "error": error.to_wire()}))
            return True
        if isinstance(answer, Raw):
            send(answer.data)
            return answer.stay
        if isinstance(answer, Stream):
            for item in answer.items:
                send(pack({"id": number, "item": item}))
            if answer.then == "end":
                send(pack({"id": number, "end": True}))
            return answer.then != "close"
        send(pack({"id": number, "ok": True, "result": answer}))
        return True


def row(name: str = "web", state: str = "running", **more: Any) -> dict[str, Any]:
    """A row as `status` gives it."""
    return {
        "name": name,
        "state": state,
        "want": "up",
        "health": None,
        "reason": None,
        "attempt": 1,
        "restarts": 0,
        "owner": 0,
        "revision": 1,
        "group": "default",
        "priority": 0,
        "labels": {},
        "command": ["sleep", "1000"],
        "run": {"id": "01abc", "pid": 4242, "started_at": 1_700_000_000.0, "ended_at": None},
        "exit": None,
        "due_in": None,
        "budgets": [],
        **more,
    }


def ended(code: int | None = 0, signal: str | None = None, kind: str = "", reason: str = "") -> dict[str, Any]:
    """The `exit` of a row."""
    told = reason or (f"ended by {signal}" if signal else f"exit code {code}")
    return {"kind": kind or ("signal" if signal else "code"), "code": code, "signal": signal, "reason": told}
