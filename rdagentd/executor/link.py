"""The connection to the daemon: one at a time, never waited for."""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections import deque
from typing import Any

from rdagentd.protocol.frames import MAX_FRAME, Decoder, FrameError, pack

MAX_UNREAD = 16 << 20
"""Bytes kept for a daemon that does not read; beyond, it is dropped, and learns all from `hello` when it connects again."""

MAX_PATH = 107
"""Longest path of a Unix socket, in bytes; unix(7)."""


class Link:
    """The listening socket and the daemon that came last. messages: requests not handled yet."""

    def __init__(self, listener: socket.socket, daemon_uid: int | None, epoll: select.epoll) -> None:
        self.listener = listener
        self.messages: deque[dict[str, Any]] = deque()
        self._uids = {os.geteuid(), daemon_uid}
        self._epoll = epoll
        self._peer: socket.socket | None = None
        self._decoder = Decoder(MAX_FRAME)
        self._out = bytearray()
        self._spare = os.dup(listener.fileno())
        listener.setblocking(False)
        epoll.register(listener.fileno(), select.EPOLLIN)

    @property
    def peer(self) -> int:
        """Descriptor of the connection; -1 without one."""
        return -1 if self._peer is None else self._peer.fileno()

    def accept(self) -> bool:
        """Takes a new daemon in place of the old one; False if it is gone again. Raises OSError if it may not be one."""
        os.close(self._spare)  # so that there is a descriptor for the daemon when all others are taken
        try:
            peer, _ = self.listener.accept()
        except BlockingIOError:
            return False
        finally:
            self._spare = os.dup(self.listener.fileno())
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in self._uids:
            peer.close()
            raise PermissionError(f"cannot accept connection: uid {uid} is not the daemon's")
        self.close()
        self.messages.clear()
        peer.setblocking(False)
        self._peer = peer
        self._epoll.register(peer.fileno(), select.EPOLLIN)
        return True

    def ready(self, events: int) -> None:
        """Reads or writes what is possible. Raises FrameError for bytes that are no request; the connection is closed."""
        if events & select.EPOLLOUT:
            self._flush()
        if events & ~select.EPOLLOUT and self._peer is not None and not self.messages:  # else first those
            self._receive(self._peer)

    def send(self, notice: dict[str, Any]) -> None:
        """Sends a notice, now or when the daemon reads; nothing happens without a daemon."""
        if self._peer is None:
            return
        waiting = bool(self._out)
        self._out += pack(notice)
        if not waiting:
            self._flush()
            if self._out and self._peer is not None:
                self._epoll.modify(self._peer.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif len(self._out) > MAX_UNREAD:
            self.close()

    def close(self) -> None:
        """Drops the daemon."""
        if self._peer is not None:
            self._epoll.unregister(self._peer.fileno())
            self._peer.close()
            self._peer = None
        self._decoder = Decoder(MAX_FRAME)
        self._out = bytearray()

    def _receive(self, peer: socket.socket) -> None:
        try:
            data = peer.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            self.messages.extend(self._decoder.feed(data))
        except FrameError:
            self.close()
            raise

    def _flush(self) -> None:
        assert self._peer is not None
        try:
            del self._out[: self._peer.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._out:
            self._epoll.modify(self._peer.fileno(), select.EPOLLIN)


def listen(path: str, owner: int | None) -> socket.socket:
    """A listening socket at `path`, mode 0600, in place of a dead one. owner: uid that may connect. Raises OSError."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise OSError(f"cannot listen on {path}: the path is longer than {MAX_PATH} bytes; choose a shorter one")
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(f"cannot listen on {path}: it exists and is not a socket; remove it or choose another path")
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    if owner is not None:
        os.chown(path, owner, -1)
    listener.listen(128)
    return listener
