"""The real engine, asked by the proxy itself: a connection for each request."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

from rdagentd.dockerproxy.refusal import RefusedError

PATIENCE = 120.0
"""Seconds that the engine may take for a request of ours; a create of a large image takes some."""


class Engine:
    """The engine behind `path`, a Unix socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def connect(self) -> socket.socket:
        """A new connection. Raises RefusedError if nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from None
        return connection

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Status and body of the reply. Raises RefusedError (503) if there is none."""
        connection = _Connection(self.path, patience)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, target, body, {"Host": "docker", **kind, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def find(self, path: str) -> dict[str, Any] | None:
        """The JSON object at `path`; None if the engine knows no such thing. Raises RefusedError for any other answer."""
        status, body = self.request("GET", path)
        if status == 404:
            return None
        found = self.read("GET", path, status, body)
        assert isinstance(found, dict)
        return found

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The JSON of a reply that must be a success. Raises RefusedError with the engine's own words."""
        return self.read(method, path, *self.request(method, path, body))

    def read(self, method: str, path: str, status: int, body: bytes) -> Any:
        """What stands in a reply that must be a success."""
        try:
            value = json.loads(body) if body.strip() else None
        except ValueError:
            value = body.decode(errors="replace")
        if status >= 300 and status != 304:
            message = value.get("message", value) if isinstance(value, dict) else value
            raise RefusedError(status if status >= 400 else 502, f"cannot {method} {path}: {message}")
        return value

    def _unreachable(self, error: Exception) -> RefusedError:
        return RefusedError(503, f"cannot reach the Docker engine at {self.path}: {error}")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float) -> None:
        super().__init__("docker", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
