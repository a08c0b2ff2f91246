"""RD-Agent's own API: a page asks for a trace, a program tells a message; beside the server of RD-Agent 1.0.0 (Flask)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.bench import Bench
from benchmarks.measure_http import wrk
from benchmarks.measure_metrics import PATIENCE, gateway
from benchmarks.peers.base import ROOT, Peer
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.row import Row, Values
from benchmarks.sample import Sample
from benchmarks.scale import Scale

MESSAGES = 100
AGENT = ROOT / ".cache/agents/rdagent-1.0.0"
"""Where `make agents` installs it."""

_TOKEN = "of-the-benchmark"
_THEIRS = "RD-Agent's own server"
_MESSAGE = {
    "tag": "evolving.feedbacks",
    "timestamp": "2026-01-01T00:00:00+00:00",
    "loop_id": "0",
    "content": [
        {"evo_id": "0", "final_decision": True, "execution": "x" * 600, "code": "y" * 300, "return_checking": None}
    ],
}

ROWS = (
    Row(
        "trace",
        f"/trace, all {MESSAGES} messages of one, requests",
        "/s",
        more_is_better=True,
        target=1,
        over_bare=True,
        bare=_THEIRS,
    ),
    Row("trace_p99", "/trace, the slowest of 100", "ms", 1e3, target=1, over_bare=True, bare=_THEIRS),
    Row(
        "poll",
        "/trace, what is new of it (nothing), requests",
        "/s",
        more_is_better=True,
        target=1,
        over_bare=True,
        bare=_THEIRS,
    ),
    Row(
        "receive",
        "/receive of one message, over a connection of its own, as RD-Agent's sender has it",
        "ms",
        1e3,
        bare=_THEIRS,
    ),
    Row("receive_p99", "the slowest of 100 of them", "ms", 1e3, quantile=0.99, bare=_THEIRS),
)


@dataclass(frozen=True)
class Server:
    """One that answers, with a trace. public: its id; private: what its sender calls it."""

    url: str
    headers: dict[str, str]
    public: str
    private: str

    def receive(self) -> None:
        """Tells it one message."""
        _ask(self.url, "receive", {"id": self.private, "msg": _MESSAGE}, self.headers)


def bare(bench: Bench, scale: Scale) -> Values:
    """RD-Agent's own server."""
    python = AGENT / "bin/python"
    if not python.exists():
        raise RuntimeError("RD-Agent is not installed: make agents")
    with _theirs(bench, python) as server:
        return _measured(server, scale)


def measure(peer: type[Peer], bench: Bench, scale: Scale) -> Values:
    """The other supervisors have none."""
    if peer is not Rdagentd:
        return {}
    config = bench.root / "rdagentd.toml"
    config.write_text(
        f'[rd_agent]\nprogram = "{bench.root}/sleep"\nuser = "{os.getuid()}"\n'
        '[rd_agent.scenarios]\n"Data Science" = ["1000000"]\n'
    )
    with Rdagentd(bench, (), options=("--config", config)) as running:
        url = gateway(running, 'anonymous = "operate"\n')
        public = _upload(url, {})
        (row,) = running.rows()
        return _measured(Server(url, {}, public, row["labels"]["trace"]), scale)


def _measured(server: Server, scale: Scale) -> Values:
    for _ in range(MESSAGES):
        server.receive()
    whole, news = ({"id": server.public, "all": True, "reset": reset} for reset in (True, False))
    told = _ask(server.url, "trace", whole, server.headers)
    if len(told) < MESSAGES:
        raise RuntimeError(f"/trace tells {len(told)} messages of {MESSAGES}")
    rates = {
        key: [wrk(server.url + "trace", scale.settle, body, server.headers) for _ in range(scale.rounds)]
        for key, body in (("trace", whole), ("poll", news))
    }
    took = []
    for _ in range(scale.requests):
        begin = time.perf_counter()
        server.receive()
        took.append(time.perf_counter() - begin)
    return {
        "trace": Sample(one["rate"] for one in rates["trace"]),
        "trace_p99": Sample(one["p99"] for one in rates["trace"]),
        "poll": Sample(one["rate"] for one in rates["poll"]),
        "receive": Sample(took),
        "receive_p99": Sample(took),
    }


@contextlib.contextmanager
def _theirs(bench: Bench, python: Path) -> Iterator[Server]:
    home = bench.home()
    variables = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "UI_SERVER_AUTH_TOKEN": _TOKEN,
        "UI_TRACE_FOLDER": "traces",
        "UI_UPLOAD_FOLDER": "uploads",
    }
    command = [python, ROOT / "tests/agents/reference.py"]
    with (home / "errors").open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=variables, cwd=home, text=True)
    try:
        assert process.stdout is not None
        port = next((line for line in process.stdout if line.strip().isdigit()), None)
        if port is None:
            raise RuntimeError(f"RD-Agent's server ended: {(home / 'errors').read_text()[-500:]}")
        url, headers = f"http://127.0.0.1:{int(port)}/", {"Authorization": f"Bearer {_TOKEN}"}
        _await(url, headers)
        public = _upload(url, headers)
        yield Server(url, headers, public, str(home.resolve() / "traces" / public))
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(home, ignore_errors=True)


def _await(url: str, headers: dict[str, str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            _ask(url, "traces", None, headers)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("RD-Agent's server does not answer")
        time.sleep(0.1)


def _upload(url: str, headers: dict[str, str]) -> str:
    """Has a task of Data Science begun; its id."""
    mark = uuid4().hex
    fields = {"scenario": "Data Science", "competition": "MLE-Bench:waits"}
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    body = "".join(parts) + f"--{mark}--\r\n"
    told = _ask(url, "upload", body, {**headers, "Content-Type": f"multipart/form-data; boundary={mark}"})
    return str(told["id"])


def _ask(url: str, path: str, body: object, headers: dict[str, str]) -> object:
    """What a server answers, over a connection of its own; body: a dict goes as JSON, None asks by GET."""
    connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=PATIENCE)
    try:
        if isinstance(body, dict):
            body, headers = json.dumps(body), {**headers, "Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", f"/{path}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"/{path} answered {answer.status}: {text[:200]!r}")
        return json.loads(text)
    finally:
        connection.close()
