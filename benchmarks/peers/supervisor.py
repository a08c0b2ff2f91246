"""supervisor, over XML-RPC on its Unix socket."""

from __future__ import annotations

import http.client
import importlib.metadata
import socket
import xmlrpc.client

from benchmarks.bench import Program
from benchmarks.peers.base import BIN, Peer

_GENERAL = """\
[supervisord]
nodaemon=true
silent=true
user=root
minfds={minfds}
directory={root}
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={root}
[unix_http_server]
file={root}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{root}/supervisor.sock
"""
_PROGRAM = """\
[program:{name}]
command={command}
autostart={start}
autorestart={always}
startsecs=0
redirect_stderr=true
stdout_logfile={root}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=4
"""


class Supervisor(Peer):
    """supervisord in the foreground."""

    name = "supervisor"
    tick = 1.0

    def begin(self) -> None:
        root = self.home
        live = sum(program.start for program in self.programs)
        # It closes every number up to minfds at each start: as few as are needed.
        config = _GENERAL.format(root=root, minfds=max(1024, live * 4 + 100))
        config += "".join(self._section(program) for program in (*self.programs, *self.jobs))
        (root / "supervisord.conf").write_text(config)
        self._process = self.launch(BIN / "supervisord", "-c", root / "supervisord.conf")
        self.retry()

    def connect(self) -> None:
        self._proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", _UnixTransport(f"{self.home}/supervisor.sock"))

    def pids(self) -> list[int]:
        return [self._process.pid]

    def status_command(self) -> list[str]:
        return [str(BIN / "supervisorctl"), "-c", str(self.home / "supervisord.conf"), "status"]

    def ping(self) -> None:
        self._proxy.supervisor.getState()

    def running(self) -> set[str]:
        rows = self._proxy.supervisor.getAllProcessInfo()
        assert isinstance(rows, list)
        return {row["name"] for row in rows if row["statename"] in ("STARTING", "RUNNING")}

    def start(self, name: str) -> None:
        self._proxy.supervisor.startProcess(name, False)

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("supervisor")

    def _section(self, program: Program) -> str:
        words = {"start": str(program.start).lower(), "always": str(program.always).lower()}
        return _PROGRAM.format(root=self.home, name=program.name, command=" ".join(program.argv), **words)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket that is kept open."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        if self._connection[1] is None:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._path)
            self._connection = "localhost", connection
        kept: http.client.HTTPConnection = self._connection[1]
        return kept
