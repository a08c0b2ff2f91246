"""An engine that records what it gets and knows two containers: one of the run's own, one of somebody else."""

from __future__ import annotations

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rdagentd.dockerproxy.rules import Rules
from rdagentd.protocol import labels

RUN = "run-1"
PARENT = "/rdagentd/run-1"
OWN, OTHER, IMPOSTOR = "a" * 64, "b" * 64, "c" * 64
EXEC, OTHER_EXEC = "d" * 64, "e" * 64
LABELS = {labels.WORKER: "w", labels.RUN: RUN, labels.ORIGIN: labels.AGENT}

MIB = 1 << 20


def rules(**changed: Any) -> Rules:
    """Rules with every bound set."""
    given: dict[str, Any] = {
        "worker": "w", "uid": 0, "gid": 0, "cgroup_parent": PARENT, "memory": 512 * MIB, "swap": 0, "cpus": 2 * 10**9,
        "pids": 100, "shm": 64 * MIB, "ports": (19900,), "gpus": ("0", "1"),
    }  # fmt: skip
    return Rules(**{**given, **changed})


@dataclass
class Got:
    """A request as the engine read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


def _container(number: str, marks: dict[str, str], parent: str) -> dict[str, Any]:
    return {"Id": number, "Config": {"Labels": marks}, "HostConfig": {"CgroupParent": parent}, "Mounts": []}


KNOWN: dict[str, Any] = {
    "/info": {"CgroupDriver": "cgroupfs"},
    f"/containers/{OWN}/json": _container(OWN, LABELS, PARENT),
    "/containers/mine/json": _container(OWN, LABELS, PARENT),
    f"/containers/{OTHER}/json": _container(OTHER, {}, ""),
    "/containers/theirs/json": _container(OTHER, {labels.RUN: "run-2"}, "/rdagentd/run-2"),
    "/containers/impostor/json": _container(IMPOSTOR, LABELS, "/elsewhere"),
    f"/exec/{EXEC}/json": {"ContainerID": OWN},
    f"/exec/{OTHER_EXEC}/json": {"ContainerID": OTHER},
    "/volumes/data": {"Name": "data", "Labels": LABELS},
    "/volumes/foreign": {"Name": "foreign", "Labels": {}},
    "/images/built:latest/json": {"Config": {"Labels": LABELS}},
    "/images/built/json": {"Config": {"Labels": LABELS}},
    "/images/host/json": {"Config": {"Labels": None}},
    "/images/host:latest/json": {"Config": {"Labels": {}}},
}


@dataclass
class FakeEngine:
    """Listens at `path`; `got` has all requests but the proxy's own look-ups, which have no version."""

    path: Path
    got: list[Got] = field(default_factory=list)
    asked: list[Got] = field(default_factory=list)
    volumes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = _Server(str(self.path), _Handler)
        self._server.engine = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, got: Got) -> tuple[int, Any]:
        """Status and JSON."""
        path = unquote(urlsplit(got.target).path)
        if path == "/volumes/create" and got.method == "POST":
            asked = got.document
            made = {"Name": asked["Name"], "Labels": asked["Labels"], "Options": asked.get("DriverOpts")}
            return 201, KNOWN.get(f"/volumes/{asked['Name']}") or self.volumes.setdefault(asked["Name"], made)
        if got.method == "GET" and path in KNOWN:
            return 200, KNOWN[path]
        if path.startswith("/v1."):
            return 200, {"Id": OWN}
        return 404, {"message": "no such thing"}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    engine: FakeEngine


class _Handler(BaseHTTPRequestHandler):
    """Keeps a connection open as long as the client does: what is smuggled in would be answered too."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        got = Got(self.command, self.path, headers, self._body(headers))
        engine = self.server.engine
        (engine.got if self.path.startswith("/v1.") else engine.asked).append(got)
        if headers.get("upgrade") == "tcp":
            self._echo()
            return
        status, answer = engine.answer(got)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"
        return body

    def _echo(self) -> None:
        """As the engine does: raw from here on."""
        self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n")
        self.wfile.write(b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        while data := self.connection.recv(65536):
            self.wfile.write(data)
        self.wfile.write(b"that was all")
        self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        """Every method is taken."""
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""
