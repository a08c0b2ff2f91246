"""Where it listens: one port for all addresses, the next of ten, with and without IPv6."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from rdagentd.gateway import listening
from rdagentd.gateway.listening import ListenError, listen, tell, untell, urls
from tests.harness import free_port

FOUR, BOTH = ["127.0.0.1"], ["127.0.0.1", "::1"]


@pytest.fixture
def taken() -> Iterator[int]:
    """The first of ports that somebody has; of the one after it only on one address."""
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port: int = first.getsockname()[1]
        if port + 10 > 65535:
            pytest.skip("the kernel gave one of the last ports")
        yield port


@pytest.fixture
def ten() -> Iterator[int]:
    """The first of ten ports, all ours: one that is somebody else's would perhaps be free a moment later."""
    while True:
        port = free_port()
        with ExitStack() as stack, suppress(OSError):
            for number in range(port, port + 10):
                stack.enter_context(socket.create_server(("127.0.0.1", number)))
            yield port
            return


def ports(listeners: list[socket.socket]) -> set[int]:
    return {listener.getsockname()[1] for listener in listeners}


def closed(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def test_a_port_that_is_taken_on_one_address_is_passed_over_on_all(taken: int) -> None:
    listeners = listen(BOTH, taken)
    (port,) = ports(listeners)
    assert taken < port < taken + 10
    assert len(listeners) == (2 if has_ipv6() else 1)
    assert urls(listeners, tls=False)[0] == f"http://127.0.0.1:{port}/"
    assert urls(listeners, tls=True)[-1] == f"https://{'[::1]' if has_ipv6() else '127.0.0.1'}:{port}/"
    closed(listeners)


def test_where_all_ten_are_taken_it_says_so(ten: int) -> None:
    with pytest.raises(ListenError, match=f"ports {ten} to {ten + 9} are taken; set gateway.port"):
        listen(FOUR, ten)


def test_any_port_is_the_same_on_all_addresses() -> None:
    listeners = listen(BOTH, 0)
    assert len(ports(listeners)) == 1
    closed(listeners)


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_host_without_ipv6_is_listened_on_without_it(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    real = listening._socket

    def without(address: str, port: int) -> socket.socket:
        if ":" in address:
            raise OSError(code, os.strerror(code))
        return real(address, port)

    monkeypatch.setattr(listening, "_socket", without)
    listeners = listen(BOTH, 0)
    assert [listener.family for listener in listeners] == [socket.AF_INET]
    closed(listeners)
    with pytest.raises(ListenError, match="this host has none of the addresses ::1"):
        listen(["::1"], 0)


def test_an_address_of_another_host_is_none_of_this_one() -> None:
    with pytest.raises(ListenError, match=r"has none of the addresses 192\.0\.2\.1"):
        listen(["192.0.2.1"], 0)


def test_the_file_is_taken_away_by_who_wrote_it_alone(tmp_path: Path) -> None:
    tell(tmp_path / "run", ["http://127.0.0.1:1/"])
    path = tmp_path / "run/gateway.json"
    assert json.loads(path.read_text()) == {"urls": ["http://127.0.0.1:1/"], "pid": os.getpid()}
    assert path.stat().st_mode & 0o777 == 0o644
    path.write_text('{"urls": [], "pid": 1}')
    untell(tmp_path / "run")
    assert path.exists()
    tell(tmp_path / "run", [])
    untell(tmp_path / "run")
    assert not path.exists()
