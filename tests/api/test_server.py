"""The server by itself, in this process, so that its patience can be short."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from rdagentd.api import server as module
from rdagentd.api.args import BOOL, maybe
from rdagentd.api.context import Daemon
from rdagentd.api.peer import Access
from rdagentd.api.server import Server
from rdagentd.api.table import OPERATIONS, Operation
from rdagentd.model.container import DriverName
from rdagentd.protocol import frames
from rdagentd.protocol.errors import CONFLICT, ProtocolError
from rdagentd.store.errors import StoreError
from tests.supervisor.fakes import Shell


class Talk:
    """A connection to a server in this loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = frames.Decoder(frames.MAX_FRAME, None)
        self._messages: list[dict[str, Any]] = []

    def ask(self, number: int, op: str, **args: Any) -> None:
        self.writer.write(frames.pack({"v": 1, "id": number, "op": op, "args": args}))

    async def hear(self) -> dict[str, Any] | None:
        """The next message; None once the server has closed."""
        while not self._messages:
            data = await asyncio.wait_for(self.reader.read(1 << 16), 20)
            if not data:
                return None
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)


def serve(tmp_path: Path, test: Callable[[Server, Callable[[], Awaitable[Talk]]], Awaitable[None]]) -> None:
    """Runs a test with a server and a way to connect to it."""

    async def run() -> None:
        shell, path = Shell(), tmp_path / "s"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(str(path))
        server = Server(Daemon(shell.supervisor, shell.supervisor.rows, {DriverName.PROCESS: tmp_path}, None, None))  # type: ignore[arg-type]
        await server.listen(listener)
        talks: list[Talk] = []

        async def connect() -> Talk:
            talks.append(Talk(*await asyncio.open_unix_connection(path)))
            return talks[-1]

        try:
            await test(server, connect)
        finally:
            for talk in talks:
                talk.writer.close()
            server.close()

    asyncio.run(run())


def operation(monkeypatch: pytest.MonkeyPatch, handler: Callable[..., Any], **fields: Any) -> None:
    """Puts an operation `test` into the table."""
    monkeypatch.setitem(OPERATIONS, "test", Operation(Access.VIEW, handler, {"flag": maybe(BOOL)}, **fields))


def test_half_a_frame_for_too_long_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_FRAME", 0.05)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        idle, slow, drip = await connect(), await connect(), await connect()
        slow.writer.write(b"\0\0")
        message = await slow.hear()
        assert message is not None and "not complete within 0.05 s" in message["error"]["message"]
        assert await slow.hear() is None
        frame = frames.pack({"v": 1, "id": 1, "op": "x" * 1000})
        with contextlib.suppress(ConnectionError):  # it may be closed between two bytes
            hearing = asyncio.ensure_future(drip.hear())
            for byte in frame:  # each byte comes in time, the frame does not
                drip.writer.write(bytes([byte]))
                await asyncio.sleep(0.005)
                if hearing.done():
                    break
            told = await hearing
            assert told is None or "not complete" in told["error"]["message"]
        idle.ask(1, "ping")
        assert (await idle.hear() or {})["ok"]

    serve(tmp_path, test)


def test_a_frame_that_the_server_does_not_read_is_not_called_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_FRAME", 0.02)
    monkeypatch.setattr(module, "IN_FLIGHT", 1)
    gate = asyncio.Event()

    async def handler(context: Any, args: Any) -> str:
        await gate.wait()
        return "done"

    operation(monkeypatch, handler)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talk = await connect()
        talk.ask(1, "test")
        talk.ask(2, "test")
        half = frames.pack({"v": 1, "id": 3, "op": "ping"})
        talk.writer.write(half[:9])
        await asyncio.sleep(0.1)
        talk.writer.write(half[9:])
        gate.set()
        assert {(await talk.hear() or {})["id"] for _ in range(3)} == {1, 2, 3}

    serve(tmp_path, test)


def test_every_request_is_counted_once_by_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def later(context: Any, args: Any) -> str:
        begun.set()
        await gate.wait()
        return "done"

    async def items(context: Any, args: Any) -> Any:
        begun.set()
        yield 1
        await gate.wait()

    operation(monkeypatch, later)
    monkeypatch.setitem(OPERATIONS, "items", Operation(Access.VIEW, items, stream=True))

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        traffic, talk = server.daemon.traffic, await connect()
        counted = Counter({key: count for key, count in traffic.requests.items() if count})

        async def answered(op: str, outcome: str, *messages: dict[str, Any]) -> None:
            """Once all these were heard, there is one more of these and of nothing else."""
            for message in messages:
                assert await talk.hear() == message or message == ANY
            counted[op, outcome] += 1
            assert {key: count for key, count in traffic.requests.items() if count} == counted

        talk.ask(1, "ping")
        await answered("ping", "ok", ANY)
        talk.ask(2, "ping", flag=True)
        await answered("ping", "invalid", ANY)
        talk.ask(3, "such-there-is-not")
        await answered("unknown", "invalid", ANY)
        talk.ask(4, "show", select={"names": ["nobody"]})
        await answered("show", "not_found", ANY)
        gate.set()
        talk.ask(5, "items")
        await answered("items", "ok", {"id": 5, "item": 1}, {"id": 5, "end": True})
        gate.clear()
        for op in ("test", "items"):
            begun.clear()
            talk.ask(6, op)
            await begun.wait()
            talk.writer.write(frames.pack({"v": 1, "id": 7, "op": "cancel", "args": {"id": 6}}))
            heard = [await talk.hear() for _ in range(2 if op == "test" else 3)]
            assert {"id": 7, "ok": True, "result": {"cancelled": True}} in heard
            counted["cancel", "ok"] += 1
            await answered(op, "cancelled" if op == "test" else "ok")
        talk.writer.write(b"\0\0\0\1x")
        await answered("unknown", "invalid", ANY)
        assert set(traffic.durations) == {"ping", "show", "test", "cancel"}, "neither streams nor what is unknown"
        assert sum(traffic.durations["ping"].counts) == 2

    serve(tmp_path, test)


def test_connections_are_counted_as_they_come_and_go(tmp_path: Path) -> None:
    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talks = [await connect() for _ in range(3)]
        for talk in talks:
            talk.ask(1, "ping")
            await talk.hear()
        assert server.daemon.traffic.connections == 3 < server.daemon.traffic.most
        talks[0].writer.close()
        while server.daemon.traffic.connections != 2:
            await asyncio.sleep(0)

    serve(tmp_path, test)


def test_a_defect_is_told_by_a_mark_and_the_server_goes_on(tmp_path: Path, monkeypatch, caplog) -> None:
    async def later(context: Any, args: Any) -> None:
        raise RuntimeError("a secret of the inside")

    def at_once(context: Any, args: Any) -> Any:
        if args["flag"]:
            return later(context, args)
        raise RuntimeError("a secret of the inside")

    operation(monkeypatch, at_once)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talk = await connect()
        for flag in (True, False):
            talk.ask(1, "test", flag=flag)
            error = (await talk.hear() or {})["error"]
            assert error["code"] == "internal" and "secret" not in error["message"]
            assert error["details"]["id"] in error["message"] and error["details"]["id"] in caplog.text
        talk.ask(2, "ping")
        assert (await talk.hear() or {})["ok"]

    serve(tmp_path, test)


@pytest.mark.parametrize(
    ("error", "code"),
    [(StoreError("cannot read the state database"), "unavailable"), (ProtocolError(CONFLICT, "x"), CONFLICT)],
)
def test_an_error_in_the_middle_of_a_stream_is_its_last_message(tmp_path: Path, monkeypatch, error, code) -> None:
    async def items(context: Any, args: Any) -> Any:
        yield 1
        raise error

    operation(monkeypatch, items, stream=True)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talk = await connect()
        talk.ask(1, "test")
        assert await talk.hear() == {"id": 1, "item": 1}
        last = await talk.hear() or {}
        assert last["id"] == 1 and last["error"]["code"] == code

    serve(tmp_path, test)


def test_a_stream_waits_for_its_reader_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, closed = 0, asyncio.Event()

    async def items(context: Any, args: Any) -> Any:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 65536
        finally:
            closed.set()

    operation(monkeypatch, items, stream=True)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talk, other = await connect(), await connect()
        talk.ask(1, "test")
        for number in range(20):
            other.ask(number, "ping")
            await other.hear()
        assert 0 < made < 40
        talk.writer.transport.abort()
        await asyncio.wait_for(closed.wait(), 20)
        while len(server.connections) > 1:
            await asyncio.sleep(0)

    serve(tmp_path, test)


def test_too_many_connections_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        first, _ = await connect(), await connect()
        first.ask(1, "ping")
        await first.hear()
        third = await connect()
        message = await third.hear()
        assert message is not None and message["error"]["code"] == "over_capacity"
        assert await third.hear() is None
        first.writer.close()
        while len(server.connections) > 1:
            await asyncio.sleep(0.001)
        fourth = await connect()
        fourth.ask(1, "ping")
        assert (await fourth.hear() or {})["ok"]

    serve(tmp_path, test)


def test_one_client_s_many_requests_come_between_few_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []
    operation(monkeypatch, lambda context, args: order.append(context.request))

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        many, few = await connect(), await connect()
        for number in range(1000):
            many.ask(number, "test")
        few.ask(-1, "test")
        for _ in range(1000):
            await many.hear()
        await few.hear()
        assert order.index(-1) < 500

    serve(tmp_path, test)


def test_who_leaves_answers_what_it_has_read_and_waits_for_nothing_else(tmp_path: Path, monkeypatch) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(module, "LEAVE", 60.0)

    async def handler(context: object, args: object) -> str:
        asked.set()
        await answer.wait()
        return "done"

    async def lasting(context: object, args: object) -> None:
        await asyncio.Event().wait()

    operation(monkeypatch, handler)
    monkeypatch.setitem(OPERATIONS, "wait", Operation(Access.VIEW, lasting, lasts=True))

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        asks, waits, idle = await connect(), await connect(), await connect()
        waits.ask(1, "wait")
        idle.ask(1, "ping")
        assert await idle.hear()
        asks.ask(1, "test")
        asks.ask(2, "test")
        await asyncio.wait_for(asked.wait(), 20)
        leaving = asyncio.create_task(server.leave())
        assert await waits.hear() is await idle.hear() is None
        assert not leaving.done()
        asks.ask(3, "test")
        answer.set()
        assert [(await asks.hear())["id"] for _ in range(2)] == [1, 2]  # type: ignore[index]
        with pytest.raises(ConnectionResetError):  # how a client knows that the third was not read
            await asks.hear()
        await leaving
        with pytest.raises(ConnectionRefusedError):
            await connect()

    serve(tmp_path, test)


def test_who_leaves_answers_who_was_accepted_that_very_moment(tmp_path: Path) -> None:
    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        loop, made = asyncio.get_running_loop(), len(server.connections)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(tmp_path / "s"))
        while len(server.connections) == made and not any(
            "_accept_connection2" in repr(task) for task in asyncio.all_tasks()
        ):
            await asyncio.sleep(0)
        await server.leave()
        assert server.connections == set()
        connection.settimeout(20)
        assert await loop.run_in_executor(None, connection.recv, 1) == b""
        connection.close()

    serve(tmp_path, test)


def test_a_viewer_may_only_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdagentd.api.peer.Roles.of", lambda roles, uid, gids: Access.VIEW)

    async def test(server: Server, connect: Callable[[], Awaitable[Talk]]) -> None:
        talk = await connect()
        talk.ask(1, "stop")
        error = (await talk.hear() or {})["error"]
        assert error["code"] == "forbidden" and "lacks the role operate" in error["message"]
        talk.ask(2, "status")
        assert await talk.hear() == {"id": 2, "ok": True, "result": []}

    serve(tmp_path, test)
