"""Workers in containers through the whole daemon: logs, ports, usage, crashes, and an engine that is not there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import IMAGE, Engine
from tests.harness import CallError, Client, LiveDaemon, eventually

BUSYBOX = {"image": IMAGE}


def configured(directory: Path, socket: Path) -> str:
    path = directory / "rdagentd.toml"
    path.write_text(f'[docker]\nsocket = "{socket}"\n')
    return str(path)


@pytest.fixture
def docked(daemon: LiveDaemon, tmp_path: Path, engine: Engine) -> Iterator[tuple[LiveDaemon, str]]:
    yield daemon, configured(tmp_path, engine.socket)
    engine.remove_containers()


def started(daemon: LiveDaemon, config: str) -> Client:
    client = daemon.start("--config", config)
    assert client is not None
    return client


WAIT = "while ! [ -e /go ]; do sleep 0.1; done"


def go_on(client: Client, config: str) -> None:
    """What waits in the container of w's newest run goes on."""
    container = client.call("show", select={"names": ["w"]})[0]["runs"][0]["container"]
    subprocess.run(["docker", "-H", f"unix://{_socket(config)}", "exec", container, "touch", "/go"], check=True)


def test_output_has_the_same_offsets_and_options_over_a_crash_of_the_daemon(docked: tuple[LiveDaemon, str]) -> None:
    daemon, config = docked
    client = started(daemon, config)
    client.submit("w", "sh", "-c", f"echo one; echo two; {WAIT}; echo three; exec sleep 60", container=BUSYBOX)
    client.wait("w", until="running")
    eventually(lambda: client.log("w") == b"one\ntwo\n", "the first words")
    daemon.kill()
    client = started(daemon, config)
    assert client.log("w", offset=4)[:4] == b"two\n"
    go_on(client, config)
    items = client.stream("logs", name="w", follow=True)
    said = b""
    while not said.endswith(b"three\n"):
        item = next(items)
        assert item["offset"] == len(said) and item["time"] is not None
        said += item["data"]
    other = daemon.client()
    other.verb("stop", "w")
    assert b"".join(item["data"] for item in items) == b"" and said == b"one\ntwo\nthree\n"
    assert other.log("w", tail=1) == b"three\n"
    (run,) = other.call("show", select={"names": ["w"]})[0]["runs"]
    assert (run["log_start"], run["log_end"], run["exit"]["signal"]) == ({"out": 0}, {"out": 14}, "SIGTERM")
    other.verb("start", "w")
    eventually(lambda: other.log("w", run=-1) == b"one\ntwo\n", "the second run's own words")
    other.call("remove", select={"names": ["w"]}, force=True)
    eventually(lambda: other.status() == [], "it to be gone")
    eventually(lambda: not (daemon.state / "docker" / "logs" / "w").exists(), "its log to be gone")


def test_secrets_are_not_in_its_output_even_over_a_crash_of_the_daemon(docked: tuple[LiveDaemon, str]) -> None:
    daemon, config = docked
    client = started(daemon, config)
    words = f"echo $API_KEY; echo last $PLAIN $API_KEY; {WAIT}; echo $API_KEY"
    environment = {"API_KEY": "hunter22-and-more", "PLAIN": "in-plain-words"}
    client.submit("w", "sh", "-c", words, container=BUSYBOX, environment=environment)
    client.wait("w", until="running")
    first = b"[redacted API_KEY]\nlast in-plain-words [redacted API_KEY]\n"
    eventually(lambda: client.log("w") == first, "the first words")
    daemon.kill()
    client = started(daemon, config)
    go_on(client, config)
    client.wait("w")
    assert client.log("w") == first + b"[redacted API_KEY]\n"
    kept = {"container": BUSYBOX, "environment": environment, "log": {"redact": False}}
    client.submit("plain", "sh", "-c", "echo $API_KEY", **kept)
    client.wait("plain")
    assert client.log("plain") == b"hunter22-and-more\n"


def test_a_container_gets_its_ports_on_lease_and_is_told_so(docked: tuple[LiveDaemon, str], engine: Engine) -> None:
    daemon, config = docked
    client = started(daemon, config)
    for name in ("a", "b"):
        client.submit(name, "sh", "-c", "echo $RDAGENTD_PORT_80; exec sleep 60", container={**BUSYBOX, "ports": [80]})
    client.wait("a", "b", until="running")
    eventually(lambda: client.log("a") and client.log("b"), "the words of both")
    assert {client.log("a"), client.log("b")} == {b"19899\n", b"19900\n"}
    published = {port["PublicPort"] for one in engine.call("GET", "/containers/json") for port in one["Ports"]}
    assert published == {19899, 19900}
    assert any("port 80/tcp is reached at 127.0.0.1:" in item["text"] for item in client.stream("events"))
    (used,) = eventually(lambda: client.call("usage", select={"names": ["a"]}), "the engine to tell it in time")
    assert used["usage"]["tasks"] == 2, "the init and the program"


def test_without_an_engine_containers_wait_and_say_so_and_processes_do_not(daemon: LiveDaemon, tmp_path: Path) -> None:
    client = started(daemon, configured(tmp_path, tmp_path / "no.sock"))
    client.submit("boxed", container=BUSYBOX)
    client.submit("free", "true")
    client.wait("free")

    def why() -> str:
        sentence: str = client.call("why", select={"names": ["boxed"]})[0]["sentences"][0]
        return sentence

    eventually(lambda: "waits for the Docker engine, which cannot be reached since " in why(), "the reason")
    assert "no.sock: No such file or directory" in why() and client.worker("boxed")["state"] == "queued"
    client.call("remove", select={"names": ["boxed"]})


def test_a_worker_keeps_its_driver(daemon: LiveDaemon, tmp_path: Path) -> None:
    client = started(daemon, configured(tmp_path, tmp_path / "no.sock"))
    client.call("submit", spec={"name": "w", "command": ["true"]}, start=False)
    document = {"where": "x", "base": None, "document": {"worker": {"w": {"container": BUSYBOX}}}}
    with pytest.raises(CallError, match="cannot change the driver of w from process to docker"):
        client.call("apply", documents=[document])


def test_what_a_container_tells_is_read_while_it_runs_and_to_its_end_over_a_crash(
    docked: tuple[LiveDaemon, str],
) -> None:
    daemon, config = docked
    client = started(daemon, config)
    rules = [{"source": "log", "measure": "cost_usd", "pattern": "cost {number}", "add": True}]
    script = f"echo cost 1; {WAIT}; echo cost 2; exec sleep 60"
    client.submit("w", "sh", "-c", script, container=BUSYBOX, reporters=rules)
    eventually(lambda: client.worker("w")["cost_usd"] == 1.0, "the first line to be understood")
    daemon.kill()
    client = started(daemon, config)
    go_on(client, config)
    eventually(
        lambda: client.worker("w")["cost_usd"] == 3.0, "the second line to be understood, and the first not again"
    )
    client.verb("kill", "w")
    assert client.wait("w")[0]["cost_usd"] == 3.0


def _socket(config: str) -> str:
    return Path(config).read_text().split('"')[1]
