"""The connection: what the daemon may say, and what anybody else may say in its place."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentctl import client as module
from rdagentctl.client import Client, ServerError, resume
from rdagentctl.failure import Failure, UnreachableError, UsageError
from rdagentd.protocol.errors import UNAVAILABLE, ProtocolError
from rdagentd.protocol.frames import MAX_REQUEST, pack
from tests.harness import DEADLINE
from tests.rdagentctl.conftest import CTL, ROOT, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, Raw, Stream, row

DEEP = b"\x81\xa6result" + b"\x91" * 100_000 + b"\x00"


def test_calls_share_a_connection(fake: FakeDaemon) -> None:
    fake.answers = {"ping": lambda args: {"pid": 1}, "status": lambda args: args}
    client = Client(fake.path)
    assert client.call("ping") == {"pid": 1}
    assert client.call("status", {"select": {}}) == {"select": {}}
    assert client.received == 2
    client.close()


def test_streams_are_read_together(fake: FakeDaemon) -> None:
    fake.answers = {"logs": lambda args: Stream([args["name"] + "1", args["name"] + "2"])}
    client = Client(fake.path)
    items = list(client.stream(("logs", {"name": "a"}), ("logs", {"name": "b"})))
    assert sorted(items) == [(0, "a1"), (0, "a2"), (1, "b1"), (1, "b2")]
    client.close()


def test_errors_become_exceptions(fake: FakeDaemon) -> None:
    def refuse(args: object) -> object:
        raise ProtocolError("forbidden", "cannot stop web: it belongs to uid 7")

    fake.answers = {"stop": refuse}
    with pytest.raises(ServerError, match="it belongs to uid 7") as caught:
        Client(fake.path).call("stop")
    assert (caught.value.code, caught.value.exit_code) == ("forbidden", 5)


def test_values_that_cannot_be_sent(fake: FakeDaemon) -> None:
    client = Client(fake.path)
    with pytest.raises(UsageError, match="cannot apply: a value cannot be sent"):
        client.call("apply", {"documents": [object()]})
    with pytest.raises(UsageError, match="cannot apply: a value cannot be sent"):
        client.call("apply", {"documents": [1 << 70]})
    with pytest.raises(UsageError, match=f"at most {MAX_REQUEST} are accepted"):
        client.call("apply", {"documents": ["x" * MAX_REQUEST]})
    assert fake.requests == []


@pytest.mark.parametrize(
    ("data", "says", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot understand what answers", 1),
        (b"\xff\xff\xff\xff", "cannot understand what answers", 1),
        (b"\x00\x00\x00\x01\xc1", "cannot understand what answers", 1),
        (len(DEEP).to_bytes(4, "big") + DEEP, "not msgpack", 1),
        (pack({"id": 1, "ok": True, "result": 5}), "cannot understand the answer", 1),
        (pack({"id": 1, "ok": True, "result": [{"name": "a"}]}), "cannot understand the answer", 1),
        (pack({"id": 1, "ok": True}), "cannot understand the answer", 1),
        (pack({"id": 1, "error": "no"}), "error is str", 1),
        (pack({"id": None, "ok": False, "error": {"code": "invalid", "message": "cannot read frame"}}), "cannot read frame", 2),
        (pack({"id": 7, "ok": True, "result": []}), "it closed the connection", 69),
        (b"\x00\x00\x01\x00abc", "it closed the connection", 69),
        (b"", "it closed the connection", 69),
        (pack({"id": 1, "ok": False, "error": {"code": "invalid", "message": "m", "details": {"protocol": 2}}}),
         "it speaks protocol 2, this rdagentctl speaks 1", 1),
        (pack({"id": 1, "ok": False, "error": {"code": "x\x1b[2J", "message": "red\x1b[31m\nnext"}}), "red\\x1b[31m\nnext", 1),
    ],
)  # fmt: skip
def test_hostile_answers_end_in_one_sentence(fake: FakeDaemon, ctl: Ctl, data: bytes, says: str, code: int) -> None:
    fake.answers = {"status": lambda args: Raw(data)}
    done = ctl("status")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (code, "")


def test_a_huge_answer_is_read(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: [row(f"w{n}", command=["x" * 500]) for n in range(20_000)]}
    done = ctl("status", "-q")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 20_000


def test_nobody_there(ctl: Ctl, tmp_path: Path) -> None:
    done = ctl("status")
    assert done.returncode == 69
    assert done.stderr == (
        f"cannot reach rdagentd at {tmp_path}/sock: no such file or directory. "
        "Start it with: systemctl start rdagentd, or: rdagentd up --state-dir DIR\n"
    )
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "sock"))
    dead.close()
    done = ctl("ping", "--socket", str(tmp_path / "sock"))
    assert (done.returncode, "connection refused" in done.stderr) == (69, True)
    done = ctl("ping", "--socket", "/" + "x" * 200)
    assert (done.returncode, "path too long" in done.stderr) == (69, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_denied_names_the_group(fake: FakeDaemon, tmp_path: Path) -> None:
    os.chmod(fake.path, 0o660)
    os.chown(fake.path, 0, 4)
    for parent in list(tmp_path.parents)[:-2]:
        os.chmod(parent, 0o755)
    os.chmod(tmp_path, 0o755)
    # started as root, so that the interpreter may lie where nobody may look
    code = (
        f"import os, sys; sys.path.insert(0, {ROOT!r}); import rdagentctl.cli, grp; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); rdagentctl.cli.main()"
    )
    done = subprocess.run(
        [CTL[0], "-c", code, "ping", "--socket", fake.path],
        capture_output=True, text=True, timeout=50, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "permission denied. Group 'adm' may: join it (usermod -aG adm YOU" in done.stderr


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket whose queue is full, and the one that listens there."""
    path = str(tmp_path / "crowded")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        yield path, listener


def test_a_place_in_a_full_queue_is_waited_for(crowded: tuple[str, socket.socket]) -> None:
    path, listener = crowded
    begun, answers = threading.Event(), []

    def ask() -> None:
        begun.set()
        answers.append(Client(path).call("ping"))

    asking = threading.Thread(target=ask)
    asking.start()
    begun.wait()
    listener.accept()[0].close()
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(pack({"id": 1, "ok": True, "result": {"pid": 7}}))
        asking.join()
    assert answers == [{"pid": 7}]


def test_a_place_in_a_full_queue_is_not_waited_for_forever(crowded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_WITHIN", 1)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="too many wait for it; none was taken up in 1 s"):
        Client(crowded[0]).call("ping")
    assert time.monotonic() - began > 0.9


def test_a_call_without_an_answer_times_out(fake: FakeDaemon) -> None:
    fake.answers = {"wait": lambda args: Raw(b"", stay=True)}
    with pytest.raises(TimeoutError):
        Client(fake.path).call("wait", within=0.05)


@pytest.mark.parametrize("when", ["before it was asked", "before it has read the request"])
def test_what_a_leaving_daemon_has_not_read_is_asked_of_the_next(tmp_path: Path, monkeypatch, when: str) -> None:
    path = str(tmp_path / "sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    connect = module.connect

    def connected(where: str) -> object:
        monkeypatch.setattr(module, "connect", again)
        connection = connect(where)
        accepted, _ = listener.accept()
        listener.close()
        os.unlink(path)
        if when == "before it was asked":
            accepted.close()
        else:
            threading.Timer(0.1, accepted.close).start()
        threading.Timer(0.3, begin).start()
        return connection

    def again(where: str) -> object:
        assert up.wait(DEADLINE)
        return connect(where)

    def begin() -> None:
        daemons.append(FakeDaemon(path, {"submit": lambda args: "done"}))
        up.set()

    monkeypatch.setattr(module, "connect", connected)
    daemons: list[FakeDaemon] = []
    up = threading.Event()
    monkeypatch.setattr(module, "PAUSE", 0.5)
    assert Client(path).call("submit", {"spec": {}}) == "done"
    assert daemons[0].args("submit") == [{"spec": {}}]
    daemons[0].close()


def test_a_daemon_that_cannot_start_is_not_waited_for(fake: FakeDaemon) -> None:
    error = ProtocolError(UNAVAILABLE, "cannot read the configuration: line 3", {"down": True})
    fake.answers = {"wait": lambda args: Raw(pack({"id": None, "ok": False, "error": error.to_wire()}))}
    client = Client(fake.path)
    with pytest.raises(Failure, match="line 3") as caught:
        resume(client, lambda: client.call("wait"))
    assert caught.value.exit_code == 69
    assert len(fake.args("wait")) == 1


def test_what_a_daemon_has_read_is_not_asked_twice(fake: FakeDaemon) -> None:
    fake.answers = {"submit": lambda args: Raw(b"")}
    with pytest.raises(UnreachableError, match="closed the connection"):
        Client(fake.path).call("submit")
    assert len(fake.args("submit")) == 1


def test_resume_goes_on_with_the_next_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    path = str(tmp_path / "sock")
    client = Client(path)
    first = FakeDaemon(path, {"ping": lambda args: 1, "wait": lambda args: Raw(b"")})
    client.call("ping")
    second: list[FakeDaemon] = []

    def replace() -> None:
        first.wait_for("wait")
        first.close()
        os.unlink(path)
        second.append(FakeDaemon(path, {"wait": _unavailable_once()}))

    thread = threading.Thread(target=replace)
    thread.start()
    assert resume(client, lambda: client.call("wait", {"until": "rest"})) == "there"
    thread.join()
    assert second[0].args("wait") == [{"until": "rest"}] * 2
    second[0].close()
    client.close()


def _unavailable_once() -> object:
    answers = iter([ProtocolError(UNAVAILABLE, "cannot wait: starting"), "there"])

    def answer(args: object) -> object:
        said = next(answers)
        if isinstance(said, ProtocolError):
            raise said
        return said

    return answer


def test_resume_gives_up(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    fake.answers = {"ping": lambda args: 1, "wait": lambda args: Raw(b"")}
    client = Client(fake.path)
    client.call("ping")
    with pytest.raises(UnreachableError, match="waited 0 s for it to come back") as caught:
        resume(client, lambda: client.call("wait"))
    assert caught.value.exit_code == 69


def test_resume_does_not_wait_for_a_daemon_that_never_was(tmp_path: Path) -> None:
    client = Client(str(tmp_path / "sock"))
    with pytest.raises(UnreachableError, match="Start it with"):
        resume(client, lambda: client.call("wait"))


def test_an_interrupt_is_raised_only_where_it_waits(fake: FakeDaemon) -> None:
    fake.answers = {"ping": lambda args: 1}
    client = Client(fake.path)
    client.interrupt()
    assert client.interrupted
    with pytest.raises(KeyboardInterrupt):
        client.call("ping")
    assert isinstance(client, Client)
    assert not isinstance(KeyboardInterrupt(), Failure)
