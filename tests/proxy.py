"""`rdagentd docker-proxy` for tests: a real process, startable and killable as often as a test likes; and all round it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rdagentd.protocol import labels
from tests.engine import Engine
from tests.harness import DEADLINE, Client, LiveDaemon, eventually


class LiveProxy:
    """The proxy in a directory of its own that everybody may pass through, before the engine at `engine`."""

    def __init__(self, engine: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="proxy-"))
        self.directory.chmod(0o711)
        self.socket = self.directory / "docker-proxy.sock"
        self.runtime = self.directory / "run"
        self.engine = engine
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None, "the proxy is not started"
        return self.process.pid

    def start(self) -> None:
        """Starts it; returns once it listens."""
        self.socket.unlink(missing_ok=True)
        places = ["--engine", self.engine, "--socket", self.socket, "--runtime-dir", self.runtime]
        places += ["--state-dir", self.directory / "state", "--daemon-uid", os.geteuid()]
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, "-m", "rdagentd", "docker-proxy", *map(str, places)]
            umask = 0o027  # the unit's; it may not matter
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, umask=umask)
        eventually(self.socket.exists, "the proxy to listen")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it with a signal, and waits until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(DEADLINE)
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: it hangs; SIGCONT: it goes on."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """Ends it, and removes its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def kept(self) -> dict[str, Any]:
        """The runs that it knows, as it keeps them."""
        path = self.directory / "state/runs.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def said(self) -> str:
        """What it wrote."""
        return (self.directory / "log").read_text()


class Bench:
    """A daemon, a proxy and an engine, with what a test asks of them."""

    def __init__(self, daemon: LiveDaemon, proxy: LiveProxy, engine: Engine) -> None:
        self.daemon = daemon
        self.proxy = proxy
        self.engine = engine
        self.config = daemon.state.with_name("rdagentd.toml")
        self.configure()

    def configure(self, **more: Any) -> None:
        """Writes the configuration."""
        keys = {"socket": str(self.engine.socket), "proxy": str(self.proxy.socket), **more}
        lines = ["[docker]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> Client:
        """Starts the daemon."""
        client = self.daemon.start("--config", str(self.config))
        assert client is not None
        return client

    def containers(self, state: str | None = None) -> list[dict[str, Any]]:
        """What agents have started, in one state."""
        found: list[dict[str, Any]] = self._listed("containers/json")
        return [one for one in found if state in (None, one["State"])]

    def left(self) -> list[Any]:
        """All that there still is of agents: containers, volumes, what the proxy keeps, sockets."""
        volumes = self._listed("volumes")["Volumes"] or []
        sockets = list(self.proxy.runtime.glob("*")) if self.proxy.runtime.exists() else []
        return [*self._listed("containers/json"), *volumes, *self.proxy.kept, *sockets]

    def cgroups(self, run: str) -> list[Path]:
        """The cgroups that the containers of a run have shared: the one of version 2, those of version 1."""
        root = Path("/sys/fs/cgroup")
        return [path for path in (root / "rdagentd" / run, *root.glob(f"*/rdagentd/{run}")) if path.is_dir()]

    def _listed(self, what: str) -> Any:
        return self.engine.call("GET", f"/{what}?all=1&filters=" + quote(json.dumps({"label": [labels.ORIGIN]})))

    def why(self, client: Client, name: str = "w") -> str:
        """What `why` says."""
        return " ".join(client.call("why", select={"names": [name]})[0]["sentences"])
