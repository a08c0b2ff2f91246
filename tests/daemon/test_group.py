"""Five services that need each other, Redis and PostgreSQL among them: started in order by health, stopped in reverse."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, LiveDaemon, eventually, free_port, marked

pytestmark = pytest.mark.slow

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/none"))
"""Where Debian has the server's programs."""

OFTEN = {"interval": 0.5, "timeout": 20, "retries": 100}

BACKEND = """
import http.server, socket, subprocess, sys
redis, database, port = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(redis))) as link:  # it does not wait for its databases: they must be there
    link.sendall(b"INCR starts\\r\\n")
    starts = link.recv(100).strip().lstrip(b":")
rows = subprocess.run(["psql", "-h", database, "-U", "agent", "-d", "postgres", "-tAc", "select count(*) from jobs"],
                      check=True, capture_output=True).stdout.strip()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%s starts, %s jobs" % (starts, rows))
http.server.HTTPServer(("127.0.0.1", int(port)), Answer).serve_forever()
"""
CONSOLE = """
import sys, time, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode(), flush=True)
time.sleep(100000)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that databases can work in, as another user than root: PostgreSQL refuses to be root."""
    if not (POSTGRES / "postgres").exists() or shutil.which("redis-server") is None:
        reason = "needs postgresql and redis-server: make tools"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as name:
        place = Path(name)
        place.chmod(0o755)
        who = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
        for part in ("database", "redis"):
            (place / part).mkdir()
            os.chown(place / part, who.pw_uid, who.pw_gid)
        command = [POSTGRES / "initdb", "-D", place / "database" / "data", "-U", "agent", "--auth=trust", "--no-sync"]
        as_other = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **as_other)  # type: ignore[call-overload]
        yield place


def stack(place: Path) -> list[dict[str, Any]]:
    """The specs, so that no name stands behind what it depends on."""
    redis, port, database = free_port(), free_port(), place / "database"
    other = {"user": "postgres"} if os.getuid() == 0 else {}
    sql = [
        "psql",
        "-h",
        str(database),
        "-U",
        "agent",
        "-d",
        "postgres",
        "-c",
        "create table jobs (id int); insert into jobs values (1)",
    ]
    workers: dict[str, dict[str, Any]] = {
        "console": {
            "command": [sys.executable, "-c", CONSOLE, f"http://127.0.0.1:{port}/"],
            "depends": {"backend": "healthy"},
        },
        "backend": {
            "command": [sys.executable, "-c", BACKEND, str(redis), str(database), str(port)],
            "depends": {"cache": "healthy", "database": "healthy", "schema": "completed_successfully"},
            "health": {"http": f"http://127.0.0.1:{port}/", **OFTEN},
        },
        "schema": {"command": sql, "depends": {"database": "healthy"}, "restart": "never"},
        "database": {
            "command": [str(POSTGRES / "postgres"), "-D", str(database / "data"), "-k", str(database), "-h", ""],
            "stop": {"signals": ["SIGINT"], "grace": 30},
            "health": {"exec": [str(POSTGRES / "pg_isready"), "-h", str(database), "-U", "agent"], **OFTEN},
            **other,
        },
        "cache": {
            "command": ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--dir", str(place / "redis")],
            "health": {"tcp": f"127.0.0.1:{redis}", **OFTEN},
            **other,
        },
    }  # fmt: skip
    shared = {"queue": {"group": "stack"}, "environment": {"PATH": "/usr/bin:/bin"}}
    return [{"name": name, **shared, **spec} for name, spec in workers.items()]


@pytest.fixture
def client(place: Path, daemon: LiveDaemon) -> Client:
    """Of a daemon that ends, and its databases with it, before their directory is removed."""
    made = daemon.start()
    assert made is not None
    return made


def apply(client: Client, specs: list[dict[str, Any]]) -> None:
    document = {"worker": {spec.pop("name"): spec for spec in specs}}
    client.call("apply", documents=[{"where": "stack.toml", "base": "/", "document": document}])


def story(client: Client) -> list[tuple[str, str]]:
    """Who, and what happened to it: from the oldest to the newest."""
    return [(event["worker"], event["kind"]) for event in client.stream("events", select={"names": ["@stack"]})]


def in_order(told: list[tuple[str, str]], *steps: tuple[str, str]) -> bool:
    """Whether each of these happened once, one after the other."""
    return [told.count(step) for step in steps] == [1] * len(steps) and sorted(steps, key=told.index) == list(steps)


def test_it_starts_in_order_by_health_and_stops_in_reverse(client: Client, place: Path) -> None:
    apply(client, stack(place))
    client.wait("console", until="running")
    eventually(lambda: client.log("console") == b"1 starts, 1 jobs\n", "the console to be answered")
    told = story(client)
    begun = (("backend", "started"), ("backend", "healthy"), ("console", "started"))
    schema = (("database", "started"), ("database", "healthy"), ("schema", "started"), ("schema", "completed"))
    assert in_order(told, *schema, *begun)
    assert in_order(told, ("cache", "started"), ("cache", "healthy"), *begun)

    client.verb("stop", "@stack")
    client.wait("cache", "database", "backend", "console")
    told = story(client)
    for name in ("cache", "database"):
        assert in_order(told, ("console", "exited"), ("backend", "exited"), (name, "exited"))
        assert (name, "held_back") in told
    states = {row["name"]: row["state"] for row in client.status("@stack")}
    assert states == {**dict.fromkeys(("console", "backend", "database", "cache"), "stopped"), "schema": "completed"}
    assert not [pid for row in client.status("@stack") for pid in marked(f"RDAGENTD_RUN={row['run']['id']}")]


def test_a_schema_that_fails_is_told_to_who_waits_and_repaired_it_goes_on(client: Client, place: Path) -> None:
    specs = stack(place)
    sound = next(spec for spec in specs if spec["name"] == "schema")
    apply(client, [{**spec, "command": ["false"]} if spec is sound else dict(spec) for spec in specs])
    client.wait("schema")
    row = client.worker("backend")
    assert (row["state"], client.worker("console")["state"]) == ("queued", "queued")
    client.wait("cache", "database", until="healthy")
    (sentence,) = client.call("why", select={"names": ["backend"]})[0]["sentences"]
    said = "waits for schema, which failed: exited with code 1; its policy is never to restart"
    assert sentence == f"backend is queued: it {said}."
    apply(client, [dict(sound)])
    client.verb("start", "schema")
    client.wait("console", until="running")
