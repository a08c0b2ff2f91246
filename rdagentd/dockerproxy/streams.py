"""Bytes from one socket to another: heads read whole, bodies passed without a look or chunk by chunk, all by blocking calls."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time

from rdagentd.dockerproxy.chunks import Chunks
from rdagentd.dockerproxy.heads import MAX_HEAD
from rdagentd.dockerproxy.refusal import RefusedError, invalid

BLOCK = 256 << 10
"""Bytes moved at once: what a Unix socket holds. Pipes are counted against their user, 64 MiB in all."""


SMALL, RUSH, NAP = 64 << 10, 1e-3, 1e-4
"""Bytes and seconds: where pieces that are smaller than that come sooner than that, some are waited for and go with one
wake-up of three processes. Whoever types or reads a line now and then is not held up."""


class Incoming:
    """What comes in on a socket, with what was read beyond a head."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._ahead = bytearray()

    def head(self) -> bytes | None:
        """The bytes up to an empty line, without it; None if the peer leaves before. Raises RefusedError, OSError."""
        while True:
            end = self._ahead.find(b"\r\n\r\n")
            if 0 <= end <= MAX_HEAD:
                return self._take(end + 4)[:end]
            if len(self._ahead) > MAX_HEAD:
                raise RefusedError(431, f"cannot read message: its head is longer than {MAX_HEAD} bytes")
            data = self.connection.recv(MAX_HEAD)
            if not data:
                if self._ahead:
                    raise invalid("cannot read message: it ends in its head")
                return None
            self._ahead += data

    def whole(self, length: int | None, most: int) -> bytes:
        """A body as one piece. length: its bytes, None if it is chunked. Raises RefusedError if it is longer than most."""
        if (length or 0) > most:
            raise RefusedError(413, f"cannot read body: it is longer than {most} bytes")
        if length is not None:
            while len(self._ahead) < length:
                self._more()
            return self._take(length)
        body, chunks = bytearray(), Chunks()
        while True:
            for piece in chunks.feed(memoryview(self._take(len(self._ahead)))):
                body += piece
            if len(body) > most:
                raise RefusedError(413, f"cannot read body: it is longer than {most} bytes")
            if chunks.done:
                self._ahead += chunks.rest
                return bytes(body)
            self._more()

    def pass_body(self, length: int | None, to: socket.socket) -> None:
        """Passes a body on; a chunked one is chunked anew. Raises RefusedError, OSError."""
        if length is None:
            self._pass_chunks(to)
            return
        ahead = self._take(length)
        to.sendall(ahead)
        if splice(self.connection, to, length - len(ahead)) < length - len(ahead):
            raise invalid("cannot read body: it ends too early")

    def pass_rest(self, to: socket.socket) -> None:
        """Passes on all that there is and will be, until the peer says no more."""
        to.sendall(self._ahead)
        self._ahead.clear()
        splice(self.connection, to, None)

    def await_end(self) -> None:
        """Returns when the peer has left. What it still sends belongs to no request."""
        while self.connection.recv(1 << 16):
            pass

    def _pass_chunks(self, to: socket.socket) -> None:
        chunks, buffer = Chunks(), bytearray(BLOCK)
        view = memoryview(buffer)
        data = memoryview(self._take(len(self._ahead)))
        while True:
            pieces = chunks.feed(data)
            size = sum(map(len, pieces))
            if size:
                to.sendall(b"%x\r\n" % size)
                for piece in pieces:
                    to.sendall(piece)
                to.sendall(b"\r\n")
            if chunks.done:
                to.sendall(b"0\r\n\r\n")
                self._ahead += chunks.rest
                return
            got = self.connection.recv_into(buffer)
            if not got:
                raise invalid("cannot read body: it ends too early")
            data = view[:got]

    def _take(self, length: int) -> bytes:
        taken = bytes(self._ahead[:length])
        del self._ahead[:length]
        return taken

    def _more(self) -> None:
        data = self.connection.recv(1 << 16)
        if not data:
            raise invalid("cannot read body: it ends too early")
        self._ahead += data


def splice(source: socket.socket, target: socket.socket, length: int | None) -> int:
    """Moves bytes inside the kernel, until the source ends or length of them were moved; returns how many."""
    out, into = os.pipe()
    try:
        with contextlib.suppress(PermissionError):  # too many pipes already: a small one does
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, BLOCK)
        moved, last = 0, 0.0
        while length is None or moved < length:
            got = os.splice(source.fileno(), into, BLOCK if length is None else min(BLOCK, length - moved))
            if not got:
                break
            moved += got
            now = time.monotonic()
            rushes, last = got < SMALL and now - last < RUSH, now
            while got:
                got -= os.splice(out, target.fileno(), got)
            if rushes:
                time.sleep(NAP)
        return moved
    finally:
        os.close(out)
        os.close(into)


def set_patience(connection: socket.socket, seconds: float) -> None:
    """How long a read may take before it fails; 0 is for ever. Unlike settimeout() it leaves the descriptor blocking."""
    whole, part = divmod(seconds, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(whole), int(part * 1e6)))


def shut(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Wakes whoever reads from it; nothing happens if the peer has left before."""
    with contextlib.suppress(OSError):
        connection.shutdown(how)
