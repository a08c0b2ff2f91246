"""The daemon's socket: frames in, frames out; each request in a thread of its own, because ending a run takes its time."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

from rdagentd.dockerproxy.proxy import Proxy
from rdagentd.dockerproxy.refusal import RefusedError
from rdagentd.protocol import errors
from rdagentd.protocol.frames import Decoder, FrameError, pack

log = logging.getLogger(__name__)


def listen(path: Path, uid: int) -> socket.socket:
    """The daemon's socket, mode 0600, owner uid, in place of an old one. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)  # before the listen, nobody can connect
    os.chown(path, uid, -1)
    listener.listen(16)
    return listener


def serve(listener: socket.socket, proxy: Proxy, uid: int) -> None:
    """Answers whoever connects, as long as the listener is open. uid: who may, beside our own."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        _, who, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if who in (uid, os.geteuid()):
            threading.Thread(target=_talk, args=(peer, proxy), daemon=True).start()
        else:
            log.warning("cannot accept a connection: uid %d is not the daemon's", who)
            peer.close()


def _talk(peer: socket.socket, proxy: Proxy) -> None:
    decoder, lock = Decoder(), threading.Lock()
    with peer, contextlib.suppress(OSError):
        while data := peer.recv(1 << 16):
            try:
                requests = decoder.feed(data)
            except FrameError as error:
                log.warning("%s", error)
                return
            workers = [threading.Thread(target=_answer, args=(peer, lock, proxy, one), daemon=True) for one in requests]
            for worker in workers:
                worker.start()


def _answer(peer: socket.socket, lock: threading.Lock, proxy: Proxy, request: dict[str, Any]) -> None:
    reply: dict[str, Any] = {"id": request.get("id"), "ok": False}
    try:
        reply = {"id": request.get("id"), "ok": True, "result": proxy.do(request)}
    except ValueError as error:
        reply["error"] = {"code": errors.INVALID, "message": str(error)}
    except (RefusedError, OSError) as error:
        reply["error"] = {"code": errors.UNAVAILABLE, "message": str(error)}
    except Exception as error:
        log.exception("cannot do %r", request.get("op"))
        reply["error"] = {"code": errors.INTERNAL, "message": f"cannot do {request.get('op')!r}: {error}"}
    with lock, contextlib.suppress(OSError):  # who asked is gone; what was done is done
        peer.sendall(pack(reply))
