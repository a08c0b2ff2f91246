"""Server-sent events of the real program before a real daemon, over restarts of either."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rdagentd.api.table import describe
from rdagentd.gateway import sse
from rdagentd.gateway.connections import UNREAD
from rdagentd.gateway.shapes import RESULTS, SHAPES, ref
from tests.gateway.client import FakeLink, LiveGateway, Serve
from tests.gateway.listener import Listener
from tests.gateway.test_api import alone, connections
from tests.harness import DEADLINE, Client, LiveDaemon, eventually

COUNTS = ["/bin/sh", "-c", 'i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo "línea $i"; done; exec sleep 1000']
SLEEP = ["/bin/sleep", "1000"]

Listen = Callable[..., Listener]


@pytest.fixture
def client(host: LiveDaemon) -> Iterator[Client]:
    with contextlib.closing(host.connect()) as made:
        yield made


@pytest.fixture
def listen() -> Iterator[Listen]:
    """`listen(gateway, path, last)`; closed afterwards."""
    with contextlib.ExitStack() as stack:

        def start(gateway: LiveGateway, path: str, last: str | None = None) -> Listener:
            return stack.enter_context(contextlib.closing(Listener(gateway.url, f"/api/v1/{path}", last)))

        yield start


@pytest.fixture
def own(daemon: LiveDaemon, tmp_path: Path) -> Iterator[LiveGateway]:
    """A gateway before a daemon of this test's own, started both."""
    daemon.start()
    directory = tmp_path / "gateway"
    directory.mkdir()
    gateway = LiveGateway(directory, daemon.socket)
    gateway.start()
    yield gateway
    gateway.close()


def fits(shape: object, value: object) -> None:
    Draft202012Validator({"components": {"schemas": SHAPES}, **shape}).validate(value)  # type: ignore[dict-item]


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_are_those_of_the_control_socket(gateway: LiveGateway, client: Client, listen: Listen) -> None:
    client.submit("story", "/bin/true")
    client.wait("story")
    listener = listen(gateway, "events?name=story")
    assert listener.response.headers["Content-Type"] == "text/event-stream"
    assert listener.response.headers["Cache-Control"] == "no-store"
    *told, end = listener
    assert [event.data for event in told] == list(client.stream("events", select={"names": ["story"]}))
    assert [event.mark for event in told] == [str(event.data["seq"]) for event in told]
    assert end.kind == "end" and told
    for event in told:
        fits(RESULTS["events"], event.data)


def test_who_follows_events_hears_what_comes(gateway: LiveGateway, client: Client, listen: Listen) -> None:
    listener = listen(gateway, "events?follow=true&tail=1")
    client.submit("heard", *SLEEP)
    assert [event.data["kind"] for event in listener.until(worker="heard", kind="started") if event.data["worker"]]


def test_events_go_on_after_the_last_one_that_a_client_has(
    gateway: LiveGateway, client: Client, listen: Listen
) -> None:
    client.submit("again", *SLEEP)
    client.wait("again", until="running")
    *before, _ = listen(gateway, "events?name=again")
    *rest, _ = listen(gateway, "events?name=again&tail=1", last=before[0].mark)
    assert rest == before[1:] and rest


def test_what_is_wrong_is_told_before_the_first_event(gateway: LiveGateway, listen: Listen) -> None:
    for path, status in (
        ("events?follow=true&name=nobody", 404),
        ("events?follow=maybe", 400),
        ("events?tail=-1&follow=true", 400),
        ("logs", 400),
        ("logs?name=nobody&follow=true", 404),
    ):
        assert listen(gateway, path).response.status == status
    assert listen(gateway, "events", last="x").response.status == 400


def test_nothing_is_missed_and_nothing_told_twice_over_restarts_of_the_daemon(
    own: LiveGateway, daemon: LiveDaemon, listen: Listen
) -> None:
    client = daemon.client()
    following = listen(own, "events?follow=true")
    told = []
    for number in range(3):
        client.submit(f"w{number}", *SLEEP)
        told += following.until(worker=f"w{number}", kind="started")
        daemon.kill()
        daemon.start()
        client = daemon.client()
    client.submit("last", "/bin/true")
    told += following.until(worker="last", kind="started")
    heard = [event.data for event in told if event.kind == "message"]
    assert heard == [item for item in client.stream("events") if item["seq"] <= heard[-1]["seq"]]
    assert [event.kind for event in told].count("away") >= 3


def test_a_client_goes_on_over_a_restart_of_the_gateway(own: LiveGateway, daemon: LiveDaemon, listen: Listen) -> None:
    client = daemon.client()
    following = listen(own, "events?follow=true")
    client.submit("one", *SLEEP)
    told = following.until(worker="one", kind="started")
    own.close()
    assert list(following) == []
    client.submit("two", *SLEEP)
    client.wait("two", until="running")
    own.start()
    following = listen(own, "events?follow=true", last=told[-1].mark)
    told += following.until(worker="two", kind="started")
    heard = [event.data for event in told]
    assert heard == [item for item in client.stream("events") if item["seq"] <= heard[-1]["seq"]]


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_is_what_was_written(gateway: LiveGateway, client: Client, listen: Listen) -> None:
    client.submit("log", "/bin/sh", "-c", "printf 'h\\303'; sleep 0.2; printf '\\251llo\\n\\377'; exit 3")
    client.wait("log")
    *told, end = listen(gateway, "logs?name=log&follow=true")
    assert "".join(event.data["data"] for event in told) == "héllo\n\ufffd" and end.kind == "end"
    for event in told:
        fits(RESULTS["logs"], event.data)


def test_a_log_goes_on_over_restarts_of_daemon_and_gateway(
    own: LiveGateway, daemon: LiveDaemon, listen: Listen
) -> None:
    client = daemon.client()
    written = "".join(f"línea {number}\n" for number in range(1, 51))
    client.submit("counts", *COUNTS)
    client.wait("counts", until="running")
    eventually(lambda: client.log("counts").decode() == written, "all lines to be written")
    following = listen(own, "logs?name=counts&follow=true")
    told = next(iter(following)).data["data"]
    daemon.kill()
    daemon.start()
    client = daemon.client()
    own.close()
    own.start()
    following = listen(own, "logs?name=counts&follow=true&tail=3", last=following.last)
    client.verb("kill", "counts")
    told += "".join(event.data["data"] for event in following if event.kind == "message")
    assert told == written


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_told_as_they_change(gateway: LiveGateway, client: Client, listen: Listen) -> None:
    client.submit("row", *SLEEP)
    client.wait("row", until="running")
    listener = listen(gateway, "live")
    first = next(iter(listener))
    assert first.kind == "workers" and first.data == client.status()
    client.verb("stop", "row")
    told = [event for event in listener.until(name="row", state="stopped") if event.kind == "worker"]
    assert told[-1].data == client.worker("row")
    fits(ref("Worker"), told[-1].data)
    client.verb("remove", "row")
    assert listener.until(name="row")[-1].kind == "gone"


def test_rows_come_again_after_a_restart_of_the_daemon(own: LiveGateway, daemon: LiveDaemon, listen: Listen) -> None:
    client = daemon.client()
    client.submit("w", *SLEEP)
    client.wait("w", until="running")
    listener = listen(own, "live")
    assert next(iter(listener)).data == client.status()
    daemon.kill()
    daemon.start()
    client = daemon.client()
    kinds = []
    for event in listener:
        kinds.append(event.kind)
        if event.kind == "workers":
            break
    assert "away" in kinds
    client.verb("stop", "w")
    listener.until(name="w", state="stopped")


# --- silence ----------------------------------------------------------------------------------------------------------


class Silent(FakeLink):
    """A daemon to which nothing happens."""

    async def stream(self, op: str, args: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        if (args or {}).get("follow"):
            await asyncio.Event().wait()
        for item in ():
            yield item


def test_silence_is_filled_with_comments(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
    nobody: Any = None  # the table is the same whoever asks
    link = Silent(describe=describe(nobody, {}))
    with contextlib.closing(Listener(serve(link), "/api/v1/events?follow=true")) as listener:
        lines = [listener.response.readline() for _ in range(6)]
    assert lines == [b"retry: 1000\n", b"\n", b":\n", b"\n", b":\n", b"\n"]


# --- who does not read ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_does_not_read_is_cut_off_and_nobody_else_notices(
    gateway: LiveGateway, client: Client, listen: Listen
) -> None:
    client.submit("floods", "/bin/sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x; exec sleep 1000")
    client.wait("floods", until="running")
    before = alone(gateway, client) + 1
    listen(gateway, "live")
    eventually(lambda: connections(client) == before, "the feed to be asked for")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1].strip("/"))))
        deaf.sendall(b"GET /api/v1/logs?name=floods&follow=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        eventually(lambda: connections(client) == before + 1, "the log to be asked for")
        other = listen(gateway, "events?follow=true&tail=1")
        client.submit("meanwhile", "/bin/true")
        other.until(worker="meanwhile", kind="started")
        other.close()
        eventually(lambda: connections(client) == before, "the deaf client to be given up", UNREAD + DEADLINE)
    assert resident(gateway) < 150 << 20


def resident(gateway: LiveGateway) -> int:
    """Bytes."""
    assert gateway.process is not None
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * 4096
