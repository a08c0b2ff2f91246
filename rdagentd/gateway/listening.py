"""Where the gateway listens: the first port of ten that is free on all its addresses, and the file that tells which."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

PORTS = 10
"""How many are tried, one after the other."""

FILE = "gateway.json"
"""In the runtime directory: {"urls": [text…], "pid": number}, for clients on this host."""

_BACKLOG = 1024
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class ListenError(Exception):
    """There is no listening as it was asked for: a sentence."""


def listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of this list which the host has, on one and the same port. Raises ListenError.

    A host may be without IPv6: an address that it does not have is passed over as long as one is left.
    """
    ports = [0] * PORTS if port == 0 else range(port, port + PORTS)
    for candidate in ports:
        with contextlib.suppress(_TakenError):
            return _bound(addresses, candidate)
    raise ListenError(
        f"cannot listen on {', '.join(addresses)}: ports {port} to {port + PORTS - 1} are taken; set gateway.port"
    )


class _TakenError(Exception):
    """Somebody else has the port on one of the addresses."""


def _bound(addresses: Sequence[str], port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for address in addresses:
            try:
                listener = _socket(address, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _TakenError from None
                if error.errno in _NO_SUCH_ADDRESS:
                    continue
                raise ListenError(f"cannot listen on {address} port {port}: {(error.strerror or '').lower()}") from None
            undo.callback(listener.close)
            made.append(listener)
            port = listener.getsockname()[1]
        undo.pop_all() if made else None
    if not made:
        raise ListenError(f"cannot listen: this host has none of the addresses {', '.join(addresses)}")
    return made


def _socket(address: str, port: int) -> socket.socket:
    six = ipaddress.ip_address(address).version == 6
    listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A port in TIME_WAIT is free: a gateway that is restarted gets its own again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def urls(listeners: Sequence[socket.socket], *, tls: bool) -> list[str]:
    """How a client on this host reaches them."""
    told = []
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        told.append(f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/")
    return told


def tell(runtime: Path, urls: Sequence[str]) -> None:
    """Writes the file, whole or not at all."""
    runtime.mkdir(parents=True, exist_ok=True)
    new = runtime / f".{FILE}.{os.getpid()}"
    new.write_text(json.dumps({"urls": list(urls), "pid": os.getpid()}) + "\n")
    new.chmod(0o644)
    new.replace(runtime / FILE)


def told(runtime: Path) -> list[str]:
    """The URLs in the file, if whoever wrote them lives."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads((runtime / FILE).read_text())
        if Path(f"/proc/{found['pid']:d}").exists():
            return [str(url) for url in found["urls"]]
    return []


def untell(runtime: Path) -> None:
    """Takes the file away, unless it is another gateway's by now."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads((runtime / FILE).read_text())["pid"] == os.getpid():
            (runtime / FILE).unlink()
