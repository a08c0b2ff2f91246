"""The link to the daemon: a real one, one that goes and comes back, and one that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rdagentd.gateway import link as module
from rdagentd.gateway.link import SocketLink
from rdagentd.protocol import frames
from rdagentd.protocol.errors import UNAVAILABLE, ProtocolError
from tests.harness import DEADLINE, LiveDaemon


def with_link(path: Path, work: Callable[[SocketLink], Awaitable[Any]]) -> Any:
    """What `work` gives with a link of its own."""

    async def run() -> Any:
        link = SocketLink(path)
        try:
            return await work(link)
        finally:
            await link.close()

    return asyncio.run(run())


def test_many_requests_at_once_get_their_own_answers(host: LiveDaemon) -> None:
    async def work(link: SocketLink) -> list[Any]:
        return await asyncio.gather(
            *(
                link.call("events" if n % 50 == 49 else "version" if n % 2 else "ping", within=DEADLINE)
                for n in range(49)
            )
        )

    answers = with_link(host.socket, work)
    assert ["executor" in answer for answer in answers] == [n % 2 == 1 for n in range(49)]


def test_an_error_of_the_daemon_is_raised_with_its_code(host: LiveDaemon) -> None:
    with pytest.raises(ProtocolError, match="none is called nobody") as refused:
        with_link(host.socket, lambda link: link.call("status", {"select": {"names": ["nobody"]}}, DEADLINE))
    assert refused.value.code == "not_found"


def test_a_stream_ends_with_the_daemons_end_and_can_be_left_early(host: LiveDaemon) -> None:
    host.connect().submit("talks", "echo", "hello")
    host.connect().wait("talks")

    async def work(link: SocketLink) -> tuple[list[Any], Any]:
        whole = [item async for item in link.stream("logs", {"name": "talks"})]
        async with contextlib.aclosing(link.stream("events", {"follow": True})) as events:
            first = await anext(events)
        return whole, first

    whole, first = with_link(host.socket, work)
    assert b"".join(item["data"] for item in whole) == b"hello\n" and first["seq"] == 1


def test_an_error_of_a_stream_is_raised(host: LiveDaemon) -> None:
    async def work(link: SocketLink) -> list[Any]:
        return [item async for item in link.stream("logs", {"name": "nobody"})]

    with pytest.raises(ProtocolError, match="none is called nobody"):
        with_link(host.socket, work)


def test_a_daemon_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for within in (5.0, None):
        with pytest.raises(ProtocolError, match=r"cannot reach rdagentd at .*: no such file") as missing:
            with_link(tmp_path / "no.sock", lambda link: link.call("ping", within=within))  # noqa: B023
        assert missing.value.code == "unavailable"


async def _answering(path: Path, answer: Callable[[dict[str, Any]], bytes | None]) -> asyncio.Server:
    """A daemon that answers each request with `answer(request)`, and hangs up at None."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = frames.Decoder()
        while data := await reader.read(1 << 16):
            for request in decoder.feed(data):
                reply = answer(request)
                if reply is None:
                    writer.close()
                    return
                writer.write(reply)
        writer.close()

    return await asyncio.start_unix_server(serve, path)


def test_who_waits_when_the_connection_is_lost_is_told_and_the_next_one_gets_a_new_one(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> bytes | None:
        asked.append(request["op"])
        return frames.pack({"id": request["id"], "ok": True, "result": 7}) if len(asked) > 1 else None

    async def run() -> Any:
        async with await _answering(tmp_path / "s", answer):
            link = SocketLink(tmp_path / "s")
            with pytest.raises(ProtocolError, match="it closed the connection"):
                await link.call("ping", within=DEADLINE)
            result = await link.call("version", within=DEADLINE)
            await link.close()
            return result

    assert asyncio.run(run()) == 7 and asked == ["ping", "version"]


def test_a_daemon_that_does_not_answer_is_unavailable_after_a_bounded_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        with pytest.raises(ProtocolError, match=r"has not answered for 0\.05 s") as late:
            with_link(tmp_path / "s", lambda link: link.call("ping", within=0.05))
    assert late.value.code == "unavailable"


@pytest.mark.parametrize(
    "junk", [b"\xff\xff\xff\xffHTTP", frames.pack({"id": None, "ok": False, "error": {}})[:-1] + b"\xc1"]
)
def test_what_is_no_daemon_is_told_apart(tmp_path: Path, junk: bytes) -> None:
    async def run() -> None:
        async with await _answering(tmp_path / "s", lambda request: junk):
            link = SocketLink(tmp_path / "s")
            try:
                await link.call("ping", within=DEADLINE)
            finally:
                await link.close()

    with pytest.raises(ProtocolError, match="Is it rdagentd"):
        asyncio.run(run())


@pytest.mark.parametrize("args", [{"x": object()}, {"x": "y" * (1 << 20)}])
def test_what_cannot_be_sent_is_invalid_and_harms_nobody_else(host: LiveDaemon, args: dict[str, Any]) -> None:
    async def work(link: SocketLink) -> Any:
        with pytest.raises(ProtocolError, match="cannot status: ") as refused:
            await link.call("status", args)
        return refused.value.code, (await link.call("ping", within=DEADLINE))["pid"]

    code, pid = with_link(host.socket, work)
    assert code == "invalid" and host.process is not None and pid == host.process.pid


@pytest.mark.parametrize("turns", range(4))
def test_who_is_cancelled_while_the_daemon_goes_is_cancelled(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """In whichever turn of the loop it is: asyncio.wait_for() of Python 3.11 forgets it in one of them."""

    async def both() -> None:
        gone = asyncio.get_running_loop().create_future()

        async def connect(path: Path) -> Any:
            await gone
            raise ProtocolError(UNAVAILABLE, "gone")

        monkeypatch.setattr(module, "_connect", connect)
        asked = asyncio.ensure_future(module._soon(Path("/none")))
        await asyncio.sleep(0.01)
        gone.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        heeded = asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled() is heeded

    asyncio.run(both())
