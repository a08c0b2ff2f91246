"""A run's own socket: a listener, and a thread for each connection."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path

from rdagentd.dockerproxy.ask import Scope
from rdagentd.dockerproxy.belongings import Belongings
from rdagentd.dockerproxy.binds import Binds
from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.exchange import Exchange
from rdagentd.dockerproxy.refusal import RefusedError, error_reply
from rdagentd.dockerproxy.rules import Rules
from rdagentd.dockerproxy.streams import shut

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
"""Of one run at a time. `docker run` holds three."""


PASSABLE = 0o755
"""Mode of the directories above a socket, whatever our umask says: its user must come there."""


class Served:
    """One run's socket, `<directory>/<run>/docker.sock`. The directory is ours: no path leads through one of the agent's.

    closed: it was closed, and takes no connection any more.
    """

    def __init__(self, engine: Engine, run: str, rules: Rules, directory: Path) -> None:
        self.path = directory / run / "docker.sock"
        self.scope = Scope(run, rules, engine, Belongings(engine, run, rules), Binds(engine, run, rules))
        self._exchanges: dict[Exchange, threading.Thread] = {}
        self._lock = threading.Lock()
        self.closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name=f"listen {run}", daemon=True)

    def open(self) -> None:
        """Begins to listen. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.chmod(PASSABLE)
        self.path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(self.path))
        finally:
            os.umask(mask)
        os.chown(self.path, self.scope.rules.uid, self.scope.rules.gid)
        self._listener.listen(128)
        self._thread.start()

    def close(self) -> None:
        """Takes no more, cuts what is open, and waits until nothing of it is under way."""
        self.closed = True
        shut(self._listener)
        self._thread.join()
        with self._lock:
            left = dict(self._exchanges)
        for exchange in left:
            exchange.cut()
        for thread in left.values():
            thread.join()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else put a thing there: it stays
            self.path.parent.rmdir()

    def _accept(self) -> None:
        with self._listener:
            while not self.closed:
                try:
                    client, _ = self._listener.accept()
                except OSError as error:
                    if not self.closed:
                        log.error("run %s: cannot accept a connection: %s", self.scope.run, error)
                    return
                self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        exchange = Exchange(client, self.scope)
        thread = threading.Thread(target=self._run, args=(exchange,), daemon=True)
        with self._lock:
            full = len(self._exchanges) >= MAX_CONNECTIONS
            if not full:
                self._exchanges[exchange] = thread
        if full:
            with client, contextlib.suppress(OSError):
                refused = RefusedError(503, f"cannot take more than {MAX_CONNECTIONS} connections of a run; close some")
                client.sendall(error_reply(refused))
            return
        thread.start()

    def _run(self, exchange: Exchange) -> None:
        try:
            exchange.run()
        except Exception:
            log.exception("run %s: a connection ended by a fault of the proxy", self.scope.run)
        finally:
            with self._lock:
                del self._exchanges[exchange]
