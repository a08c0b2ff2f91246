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


def test_workers_of_several_files_depend_on_each_other_in_any_order(places) -> None:
    client, _, directory = places
    pids(client)
    (directory / "a-web.toml").write_text("command = ['/bin/sleep', '1000']\ndepends = { z-db = 'started' }\n")
    (directory / "z-db.toml").write_text("command = ['/bin/sleep', '1000']\ndepends = { one = 'started' }\n")
    assert {change["action"] for change in client.call("reload")["changes"]} == {"create", "none"}
    client.wait("a-web", "z-db", until="running")


def test_a_circle_among_files_is_refused_and_named(daemon: LiveDaemon, places) -> None:
    client, _, directory = places
    before = pids(client)
    (directory / "one.toml").write_text("command = ['/bin/sleep', '2000']\ndepends = { two = 'started' }\n")
    (directory / "two.toml").write_text("command = ['/bin/sleep', '2000']\ndepends = { one = 'started' }\n")
    with pytest.raises(CallError, match=r"would wait for itself: (one → two → one|two → one → two)"):
        client.call("reload")
    eventually(lambda: "would wait for itself" in daemon.said(), "its log")
    assert pids(client) == before


def test_a_daemon_that_starts_again_does_not_touch_what_runs(daemon: LiveDaemon, places) -> None:
    client, config, _ = places
    before = pids(client)
    daemon.kill()
    again = daemon.start("--config", str(config))
    assert again is not None
    assert pids(again) == before
    assert [row["restarts"] for row in again.status()] == [0, 0]


def actions(client: Client) -> dict[str, str]:
    return {change["name"]: change["action"] for change in client.call("reload")["changes"]}


def test_a_worker_whose_file_is_gone_is_stopped_and_kept_and_those_of_people_are_not_touched(
    daemon: LiveDaemon, places
) -> None:
    client, _, directory = places
    client.submit("mine", "sleep", "1000")
    before = pids(client) | {row["name"]: row["run"]["pid"] for row in client.wait("mine", until="running")}
    (directory / "one.toml").rename(directory / "one.toml.disabled")
    assert actions(client) == {"one": "stop", "two": "none"}
    client.wait("one", until="rest")
    assert "workers.d/one.toml is gone: put it back and reload, or forget the worker: rdagentctl remove one" in (
        " ".join(client.call("why", select={"names": ["one"]})[0]["sentences"])
    )
    assert actions(client) == {"two": "none"}
    assert {name: client.worker(name)["run"]["pid"] for name in ("mine", "two")} == {
        name: before[name] for name in ("mine", "two")
    }
    (directory / "one.toml.disabled").rename(directory / "one.toml")
    assert actions(client) == {"one": "start", "two": "none"}
    client.wait("one", until="running")
    assert client.worker("one")["revision"] == 1


def test_a_file_that_went_while_the_daemon_was_down_is_noticed_at_its_start(daemon: LiveDaemon, places) -> None:
    client, config, directory = places
    pids(client)
    daemon.kill()
    (directory / "one.toml").unlink()
    again = daemon.start("--config", str(config))
    assert again is not None
    again.wait("one", until="rest")
    assert again.worker("two")["state"] == "running"


def test_a_worker_that_somebody_submitted_stays_theirs_though_a_file_has_its_name(daemon: LiveDaemon, places) -> None:
    client, _, directory = places
    client.submit("mine", "sleep", "1000")
    (directory / "mine.toml").write_text("command = ['sleep', '1000']\n")
    client.call("reload")
    (directory / "mine.toml").unlink()
    assert "mine" not in actions(client)
    assert client.wait("mine", until="running")[0]["want"] == "up"
