"""Where a secret is after its runs: in the file that it came from, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.protocol import frames
from rdagentd.protocol.keys import forms
from tests import cores
from tests.harness import CallError, Client, LiveDaemon, alive, eventually

EVERY_WAY = """
import base64, os, subprocess, sys, time, urllib.parse
secret = os.environb[b"OPENAI_API_KEY"]
assert open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "key"), "rb").read().strip() == secret
os.write(1, secret + b"\\n" + b"x" * 100_000 + secret + b"." + secret)
os.write(2, base64.b64encode(b"user:" + secret) + urllib.parse.quote(secret, safe="").encode() + b"\\n")
for byte in secret: os.write(1, bytes([byte]))
subprocess.run(["ls", b"/" + secret])
raise ValueError(secret)
"""

HALF_EACH = """
import os, sys, time
secret = os.environb[b"OPENAI_API_KEY"]
os.write(1, b"begun\\n" + secret[:20])
open(sys.argv[1]).read()
os.write(1, secret[20:] + b"\\n")
time.sleep(1000)
"""


@pytest.fixture
def secret() -> bytes:
    """One that no URL takes as it is."""
    return secrets.token_urlsafe(24).encode() + b"+/ &"


@pytest.fixture
def given(daemon: LiveDaemon, tmp_path: Path, secret: bytes) -> Iterator[dict[str, str]]:
    """A host whose executor was given the secret as a credential. Whatever crashes may leave a core dump."""
    for name in ("given", "runtime", "cores"):
        (tmp_path / name).mkdir(mode=0o711)
    (tmp_path / "given" / "openai").write_bytes(secret + b"\n")
    daemon.prefix = [*cores.UNLIMITED, str(tmp_path / "cores")]
    yield {"CREDENTIALS_DIRECTORY": str(tmp_path / "given"), "RUNTIME_DIRECTORY": str(tmp_path / "runtime")}


def processes(*pids: int) -> bytes:
    """What others may see of them."""
    files = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ", "comm")]
    return b"\n".join(file.read_bytes() for file in files if file.exists())


def tables(path: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {"workers", "runs", "events"} <= set(names)
        return repr([database.execute(f"SELECT * FROM {name}").fetchall() for name in names]).encode()


def replies(client: Client) -> bytes:
    """Everything that the daemon tells about its workers."""
    everything = {"names": []}
    told = [client.call(op, select=everything) for op in ("status", "show", "why", "usage")]
    told += [list(client.stream("events")), *(list(client.stream("logs", name=row["name"])) for row in client.status())]
    return frames.pack({"told": told}) if len(frames.pack({"told": told})) < frames.MAX_FRAME else repr(told).encode()


def test_a_secret_is_in_its_file_alone_after_all_that_can_happen_to_a_run(
    daemon: LiveDaemon, given: dict[str, str], tmp_path: Path, secret: bytes
) -> None:
    looked_for = forms([("K", secret)])
    client = daemon.start(env=given)
    assert client is not None
    asked = {"credentials": {"key": "openai"}, "secret_environment": {"OPENAI_API_KEY": "openai"}}
    client.submit("prints", "python3", "-c", EVERY_WAY, **asked)
    client.submit("dumps", "sh", "-c", "echo $OPENAI_API_KEY; kill -ABRT $$", **asked)
    client.submit("missing", "/no/such/program", **asked)
    client.submit("nothing", "true", secret_environment={"KEY": "no-such-credential"})
    with pytest.raises(CallError):
        client.submit("wrong", "true", **asked, environment={"OPENAI_API_KEY": "x"})
    rows = {row["name"]: row for row in client.wait("prints", "dumps", "missing", "nothing")}
    assert rows["prints"]["exit"]["code"] == 1 and rows["dumps"]["exit"]["signal"] == "SIGABRT"
    assert (rows["missing"]["exit"]["kind"], rows["nothing"]["exit"]["kind"]) == ("could_not_start",) * 2
    said = client.log("prints")
    assert said.count(b"[redacted OPENAI_API_KEY]") == 8 and b"ValueError" in said and b"No such file" in said

    os.mkfifo(tmp_path / "go")
    client.submit("lasts", "python3", "-c", HALF_EACH, str(tmp_path / "go"), **asked)
    eventually(lambda: client.log("lasts") == b"begun\n", "the run to begin")
    assert daemon.process is not None
    (executor,) = daemon.executors
    seen = processes(daemon.process.pid, executor) + replies(client)
    daemon.process.send_signal(signal.SIGABRT)
    daemon.wait()
    again = daemon.start(env=given)
    assert again is not None
    (tmp_path / "go").write_text("\n")
    eventually(lambda: b"redacted" in again.log("lasts"), "the rest of the secret")
    os.kill(executor, signal.SIGABRT)
    eventually(lambda: not alive(executor), "the executor to end")
    again.wait("lasts")
    daemon.client()  # with a new executor
    assert daemon.process is not None
    seen += (
        processes(daemon.process.pid, *filter(alive, daemon.executors))
        + replies(again)
        + tables(daemon.state / "state.db")
    )

    for form in looked_for:
        assert form not in seen
    found = set()
    for path in tmp_path.rglob("*"):
        if path.is_file() and any(form in path.read_bytes() for form in looked_for):
            found.add(path.relative_to(tmp_path))
    assert found == {Path("given/openai")}


@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_a_confined_run_has_its_secrets_and_its_log_has_not(
    daemon: LiveDaemon, given: dict[str, str], tmp_path: Path, secret: bytes
) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o111)
    client = daemon.start(env=given)
    assert client is not None
    asked = {"credentials": {"key": "openai"}, "secret_environment": {"OPENAI_API_KEY": "openai"}}
    person = {"user": "nobody"} if os.geteuid() == 0 else {}
    client.submit("w", "/usr/bin/python3", "-c", EVERY_WAY, isolation="strict", **asked, **person)
    (row,) = client.wait("w")
    said = client.log("w")
    assert row["exit"]["code"] == 1, (row["exit"], said)
    assert said.count(b"[redacted OPENAI_API_KEY]") == 8 and b"ValueError" in said and b"No such file" in said
    assert not any(form in said for form in forms([("K", secret)]))


def test_a_daemon_that_crashes_leaves_no_core_dump(daemon: LiveDaemon, given: dict[str, str], tmp_path: Path) -> None:
    if not cores.possible(tmp_path / "cores"):
        pytest.skip("this host writes no core dumps (core_pattern, or the hard limit)")
    client = daemon.start(env=given)
    assert client is not None and daemon.process is not None
    daemon.process.send_signal(signal.SIGABRT)
    assert not cores.dumped(daemon.process.pid)
    (executor,) = daemon.executors
    limits = Path(f"/proc/{executor}/limits").read_text()
    hard = next(line.split()[5] for line in limits.splitlines() if line.startswith("Max core file size"))
    assert hard == "unlimited", "a worker may still ask for one of its own"


def test_a_worker_that_asks_for_core_dumps_gets_them(daemon: LiveDaemon, given: dict[str, str], tmp_path: Path) -> None:
    if not cores.possible(tmp_path / "cores"):
        pytest.skip("this host writes no core dumps (core_pattern, or the hard limit)")
    client = daemon.start(env=given)
    assert client is not None
    client.submit("w", "sh", "-c", "kill -ABRT $$", directory=str(tmp_path / "cores"), limits={"core": "unlimited"})
    (row,) = client.wait("w")
    assert row["exit"]["reason"] == "killed by SIGABRT (core dumped)"
