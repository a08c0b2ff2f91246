"""A Docker engine of the tests' own: private directories, socket and network namespace, one image made from busybox."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.harness import eventually

IMAGE = "busybox:test"
NEEDED = ("dockerd", "containerd", "runc", "iptables", "unshare", "busybox")


def unavailable() -> str | None:
    """Why no engine can be started here, in one line; None if one can."""
    if os.geteuid() != 0:
        return "a Docker engine is started by root alone"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)} (make tools)" if missing else None


class Engine:
    """dockerd in a temporary directory; `with Engine() as engine:` starts it and ends it by pid.

    It has a network namespace of its own, so that engines do not share bridges and firewall rules: a published port is reached
    from there (`nsenter --net=/proc/<pid>/ns/net`). With `network=False` it shares the host's and has no bridge at all.
    """

    def __init__(self, *arguments: str, network: bool = True) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="engine-"))
        self.socket = self.directory / "docker.sock"
        self._arguments = arguments
        self._settings = self.directory / "daemon.json"
        self._settings.write_text("{}")
        self._network = network
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process id of dockerd."""
        assert self._process is not None, "the engine is not started"
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._process is not None

    def start(self) -> None:
        """Starts dockerd; returns once it says that it is ready."""
        command = [
            *("dockerd", "--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "exec")),
            *("--pidfile", str(self.directory / "pid"), "-H", self.host, "--log-level", "warn"),
            *("--config-file", str(self._settings), *self._arguments),
        ]
        if self._network:
            script = 'busybox ip link set lo up && exec "$@"'
            command = ["unshare", "--net", "sh", "-c", script, "sh", *command]
        else:
            command += ["--bridge=none", "--iptables=false"]
        (self.directory / "pid").unlink(missing_ok=True)
        self._forget_containerd()
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (self.directory / "log").open("ab") as log:
            ready.bind(str(notify))
            ready.settimeout(60)
            environment = {**os.environ, "NOTIFY_SOCKET": str(notify)}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except TimeoutError:
                raise AssertionError(f"dockerd did not become ready: {self.log()[-2000:]}") from None

    def _forget_containerd(self) -> None:
        """SIGKILL takes containerd along, perhaps late; dockerd takes its zombie for a live one, and waits in vain."""
        pidfile = self.directory / "exec/containerd/containerd.pid"
        with contextlib.suppress(FileNotFoundError, AssertionError):  # one that lives on is taken over
            pid = int(pidfile.read_text())
            eventually(lambda: not self._is_ours(pid), "containerd to end", 10)
            pidfile.unlink()

    def _is_ours(self, pid: int) -> bool:
        """Whether this is a process of this engine, and no zombie."""
        try:
            return str(self.directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def keep_containers(self, keeps: bool) -> None:
        """Whether containers live on when dockerd ends, now and after later starts."""
        self._settings.write_text(json.dumps({"live-restore": keeps}))
        os.kill(self.pid, signal.SIGHUP)
        eventually(lambda: self.call("GET", "/info")["LiveRestoreEnabled"] is keeps, "the engine to read its settings")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends dockerd with a signal (SIGTERM takes the containers along) and waits until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def log(self) -> str:
        """What dockerd wrote so far."""
        return (self.directory / "log").read_text(errors="replace")

    def call(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        """One request past all clients: its JSON or bytes. AssertionError unless 2xx or 304."""
        connection = _UnixConnection(str(self.socket))
        try:
            content = data if body is None else json.dumps(body).encode()
            kind = "application/x-tar" if body is None else "application/json"
            connection.request(method, path, content, {"Content-Type": kind})
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status < 300 or reply.status == 304, f"{method} {path}: {reply.status} {text!r}"
            return json.loads(text) if reply.headers.get_content_type() == "application/json" and text else text
        finally:
            connection.close()

    def import_image(self, name: str = IMAGE) -> None:
        """An image with a static busybox and links to all of its applets."""
        repository, _, tag = name.partition(":")
        self.call("POST", f"/images/create?fromSrc=-&repo={quote(repository)}&tag={quote(tag)}", data=busybox_root())

    def remove_containers(self) -> None:
        """Ends and removes whatever containers there are."""
        for container in self.call("GET", "/containers/json?all=1"):
            with contextlib.suppress(AssertionError):  # one that is on its way out by itself
                self.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def close(self) -> None:
        """Ends it, its containers and its containerd, and removes the directory."""
        if self._process is None:
            self.start()  # only an engine can end the containers that another one left
        self.remove_containers()
        self.stop()
        self._end_containerd()
        self._end_shims()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted(mounts, reverse=True):  # what a killed engine left
            if Path(mount).is_relative_to(self.directory):
                subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.directory)

    def _end_containerd(self) -> None:
        pidfile = self.directory / "exec/containerd/containerd.pid"
        if not pidfile.exists():
            return
        pid = int(pidfile.read_text())
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # gone before
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(self.directory).encode() in command:  # not another process that has its number by now
                gone = os.pidfd_open(pid)
                os.kill(pid, signal.SIGTERM)
                select.select([gone], [], [], 30)
                os.close(gone)

    def _end_shims(self) -> None:
        """An engine that was killed while it started a container forgets that one's shim."""
        address = str(self.directory / "exec/containerd/containerd.sock").encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile
                if entry.name.isdigit() and address in (entry / "cmdline").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.import_image()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def busybox_root() -> bytes:
    """The tar of a root directory: busybox, its links, /etc/passwd, /tmp."""
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("work", 0o777)):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        tar.add(str(shutil.which("busybox")), "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
        passwd = tarfile.TarInfo("etc/passwd")
        passwd.size = len(users)
        tar.addfile(passwd, io.BytesIO(users))
    return file.getvalue()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
