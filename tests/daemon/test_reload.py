"""Reading the configuration and workers.d again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually


@pytest.fixture
def places(daemon: LiveDaemon, tmp_path: Path) -> tuple[Client, Path, Path]:
    """A daemon with two workers of workers.d; its configuration and that directory."""
    config, directory = tmp_path / "rdagentd.toml", tmp_path / "workers.d"
    config.write_text("[groups.gpu]\nslots = 0\n")
    directory.mkdir()
    (directory / "one.toml").write_text("command = ['/bin/sleep', '1000']\n")
    (directory / "two.toml").write_text("command = ['/bin/sleep', '1000']\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    return client, config, directory


def pids(client: Client) -> dict[str, int]:
    return {row["name"]: row["run"]["pid"] for row in client.wait("one", "two", until="running")}


def test_what_changed_is_restarted_and_what_did_not_is_left_alone(daemon: LiveDaemon, places) -> None:
    client, config, directory = places
    before = pids(client)
    (directory / "one.toml").write_text("command = ['/bin/sleep', '2000']\n")
    (directory / "three.toml").write_text("command = ['/bin/sleep', '1000']\n[queue]\ngroup = 'gpu'\n")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "configuration reloaded" in daemon.said(), "the reload")
    eventually(
        lambda: client.worker("one")["command"][1] == "2000" and pids(client)["one"] != before["one"], "a restart"
    )
    assert pids(client)["two"] == before["two"]
    assert client.worker("three")["state"] == "queued"
    assert "slot" in client.worker("three")["reason"]["text"]
    config.write_text("[groups.gpu]\nslots = 1\n")
    changes = client.call("reload")["changes"]
    assert {change["action"] for change in changes} == {"none"}
    client.wait("three", until="running")
    assert client.worker("one")["owner"] == 0 or client.worker("one")["owner"] == client.worker("two")["owner"]


@pytest.mark.parametrize("mistake", ["config", "worker"])
def test_a_mistake_keeps_all_as_it_was_and_is_named(daemon: LiveDaemon, places, mistake: str) -> None:
    client, config, directory = places
    before = pids(client)
    client.submit("queued", "/bin/true", queue={"group": "gpu"})
    (directory / "one.toml").write_text("command = ['/bin/sleep', '2000']\n")
    config.write_text("[groups.gpu]\nslots = 1\n" + ("nonsense = 1\n" if mistake == "config" else ""))
    if mistake == "worker":
        (directory / "two.toml").write_text("command = 5\n")
    place = "rdagentd.toml" if mistake == "config" else "two.toml"
    with pytest.raises(CallError) as refused:
        client.call("reload")
    assert refused.value.code == "invalid" and place in refused.value.message
    assert refused.value.message.startswith("cannot reload: ")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.said().count("the configuration stays as it was") == 2, "the signal to be answered")
    assert pids(client) == before
    assert client.worker("queued")["state"] == "queued"
    assert client.worker("one")["revision"] == 1


def test_a_daemon_that_starts_again_does_not_touch_what_runs(daemon: LiveDaemon, places) -> None:
    client, config, _ = places
    before = pids(client)
    daemon.kill()
    again = daemon.start("--config", str(config))
    assert again is not None
    assert pids(again) == before
    assert [row["restarts"] for row in again.status()] == [0, 0]
