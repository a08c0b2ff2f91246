"""Runs that start containers of their own, through the whole: daemon, executor, proxy, and a real engine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import IMAGE, Engine
from tests.harness import CallError, Client, LiveDaemon, eventually
from tests.proxy import Bench, LiveProxy

MIB = 1 << 20
FOREVER = f"docker run -d {IMAGE} sleep 1000 >/dev/null && echo there && "
STUBBORN = (
    f"docker run -d {IMAGE} sh -c 'trap : TERM; touch /ready; while :; do sleep 0.1; done' >/dev/null && echo there && "
)
"""A container that does not end when it is asked to."""


@pytest.fixture
def bench(daemon: LiveDaemon, engine: Engine) -> Iterator[Bench]:
    proxy = LiveProxy(engine.socket)
    proxy.start()
    yield Bench(daemon, proxy, engine)
    daemon.close()
    engine.remove_containers()
    proxy.close()


def submit(client: Client, script: str, name: str = "w", **spec: Any) -> None:
    client.submit(name, "sh", "-c", script, docker_socket=True, **{"stop": {"grace": 2}, **spec})


def ran(bench: Bench, client: Client, script: str, count: int = 1, **spec: Any) -> None:
    """A worker that is running, with so many containers."""
    submit(client, script, **spec)
    client.wait("w", until="running")
    eventually(lambda: client.log("w").count(b"there") == count, f"{count} containers", 60 * count)
    assert len(bench.containers("running")) == count


# --- the ordinary way -------------------------------------------------------------------------------------------------


def test_stop_takes_five_containers_and_their_volumes_along(bench: Bench) -> None:
    client = bench.start()
    five = (
        f"for i in 1 2 3 4 5; do docker run -d -v data$i:/data {IMAGE} sleep 1000 && echo there; done; exec sleep 1000"
    )
    ran(bench, client, five, 5, stop={"grace": 1})
    run = client.worker("w")["run"]["id"]
    assert bench.cgroups(run)
    begin = time.monotonic()
    client.verb("stop", "w")
    (row,) = client.wait("w")
    print(f"a run with 5 containers stopped in {time.monotonic() - begin:.1f} s")
    assert bench.left() == [], "the run was told to be over before"
    assert bench.cgroups(run) == []
    assert (row["state"], row["exit"]["signal"]) == ("stopped", "SIGTERM")


def test_a_container_that_outlives_its_run_is_gone_before_the_end_is_told(bench: Bench) -> None:
    client = bench.start()
    submit(client, FOREVER + "exit 3")
    (row,) = client.wait("w")
    assert bench.left() == []
    assert (row["state"], row["exit"]["code"]) == ("failed", 3)


def test_what_is_killed_goes_at_once(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, STUBBORN + "exec sleep 1000", stop={"grace": 1000})
    client.verb("kill", "w")
    (row,) = client.wait("w")
    assert bench.left() == []
    assert row["exit"]["signal"] == "SIGKILL"


def test_containers_pause_and_go_on_with_their_run_and_a_paused_run_can_be_stopped(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER * 2 + "exec sleep 1000", 2, stop={"grace": 1})
    client.verb("pause", "w")
    eventually(lambda: len(bench.containers("paused")) == 2, "both to be paused")
    client.verb("resume", "w")
    eventually(lambda: len(bench.containers("running")) == 2, "both to go on")
    client.verb("pause", "w")
    eventually(lambda: len(bench.containers("paused")) == 2, "both to be paused again")
    client.verb("stop", "w")
    client.wait("w")
    assert bench.left() == []


def test_the_end_of_the_daemon_is_the_end_of_the_containers(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", restart="always", stop={"grace": 1})
    assert bench.daemon.terminate() == 0
    assert bench.left() == []


AGENT = """
import docker, os, pathlib, sys
client = docker.from_env()
workspace = pathlib.Path(sys.argv[1]) / "workspace"
workspace.mkdir()
container = client.containers.run(
    image=sys.argv[2], command="/bin/sh -c 'echo made > made; chmod -R 777 .; id -u; exit 5'",
    volumes={str(workspace): {"bind": "/workspace/qlib_workspace/", "mode": "rw"}}, environment={"PYTHONUNBUFFERED": "1"},
    detach=True, working_dir="/workspace/qlib_workspace/", network="bridge", shm_size="16g", mem_limit="48g", cpu_count=4,
)
print("".join(line.decode() for line in container.logs(stream=True)), end="")
print(container.wait()["StatusCode"], (workspace / "made").read_text(), end="")
host = client.api.inspect_container(container.id)["HostConfig"]
print(host["Memory"], host["NanoCpus"], host["PidsLimit"], host["ShmSize"], host["NetworkMode"])
container.stop()
container.remove()
try:
    client.containers.run(sys.argv[2], "true", volumes={"/etc": {"bind": "/x", "mode": "ro"}})
except docker.errors.APIError as error:
    print(error.explanation)
client.containers.run(sys.argv[2], "sleep 1000", detach=True)
"""
"""What rdagent/utils/env.py does, and one container that it forgets."""


def test_an_agent_works_as_rd_agent_does_within_the_limits_of_its_spec(bench: Bench, tmp_path: Path) -> None:
    client = bench.start()
    limits = {"memory": "256M", "swap": 0, "cpu": 0.5, "tasks": 50, "require": False}
    command = [sys.executable, "-c", AGENT, str(tmp_path), IMAGE]
    client.submit("w", *command, docker_socket=True, limits=limits, directory=str(tmp_path), stop={"grace": 0})
    (row,) = client.wait("w")
    said = client.log("w").decode().splitlines()
    assert row["exit"]["code"] == 0, said
    assert said == [
        "0",
        "5 made",
        f"{256 * MIB} {500_000_000} 50 {256 * MIB} bridge",
        f"cannot bind /etc: allowed are {tmp_path} and what is below",
    ]
    assert bench.left() == []


def test_a_run_of_another_user_has_that_users_socket_and_what_is_granted(bench: Bench, tmp_path: Path) -> None:
    bench.configure(directories=["/usr/share"], networks=["none"])
    client = bench.start()
    script = (
        f"id -u; docker run --rm -v /usr/share:/x:ro {IMAGE} sh -c 'test -d /x/doc && echo seen'; "
        f"docker run --rm -v /usr/share:/x {IMAGE} true 2>&1 | grep -o 'cannot bind.*[a-z-]'; "
        f"docker run --rm {IMAGE} ip -o link | wc -l; "
        f"docker run --network bridge --rm {IMAGE} true 2>&1 | grep -o 'allowed is none'"
    )
    submit(client, script, user="nobody", environment={"HOME": "/nonexistent"})
    client.wait("w")
    assert client.log("w").decode().splitlines() == [
        "65534",
        "seen",
        "cannot bind /usr/share: it belongs to uid 0; bind it read-only",
        "1",
        "allowed is none",
    ]


@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_a_confined_run_reaches_its_socket_and_no_network_through_it(bench: Bench) -> None:
    client = bench.start()
    script = (
        f"docker run --rm {IMAGE} sh -c 'echo inside; ip -o link | wc -l'; "
        f"docker run --network bridge --rm {IMAGE} true 2>&1 | grep -o 'allowed is none'"
    )
    submit(client, script, user="nobody", isolation="strict", environment={"HOME": "/nonexistent"})
    client.wait("w")
    assert client.log("w").decode().splitlines() == ["inside", "1", "allowed is none"]
    assert bench.left() == []


def test_a_run_that_cannot_start_leaves_no_socket(bench: Bench) -> None:
    client = bench.start()
    client.submit("w", "/nonexistent/program", docker_socket=True)
    (row,) = client.wait("w")
    assert row["exit"]["kind"] == "could_not_start"
    assert bench.left() == []


def test_the_containers_of_a_worker_that_is_removed_go_too(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", stop={"grace": 0})
    client.verb("remove", "w", force=True)
    eventually(lambda: client.status() == [], "it to be gone")
    assert bench.left() == []


def test_a_spec_that_loses_its_socket_loses_its_containers(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", stop={"grace": 0})
    document = {"worker": {"w": {"command": ["sleep", "1000"]}}}
    client.call("apply", documents=[{"where": "x", "base": None, "document": document}])
    eventually(
        lambda: client.worker("w")["command"] == ["sleep", "1000"] and not bench.left(), "the first run to be gone"
    )
    assert client.wait("w", until="running")[0]["state"] == "running"


def test_another_daemon_at_the_same_proxy_leaves_them_alone(bench: Bench, tmp_path: Path) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", stop={"grace": 0})
    other = LiveDaemon(tmp_path / "other")
    other.state.parent.mkdir()
    try:
        second = other.start("--config", str(bench.config))
        assert second is not None
        submit(second, "exit 0")
        second.wait("w")
        assert len(bench.containers("running")) == 1
    finally:
        other.close()


def test_containers_get_the_gpus_that_their_run_has_on_lease_and_no_others(bench: Bench) -> None:
    with bench.config.open("a") as config:
        config.write('[host]\ngpus = ["0", "1"]\n')
    client = bench.start()
    client.submit("first", "sleep", "1000", requests={"gpus": 1})
    client.wait("first", until="running")
    script = (
        f"docker create --gpus all {IMAGE} true && echo there; docker create {IMAGE} true; docker run --gpus all {IMAGE} true;"
        f" docker create --gpus device=0 {IMAGE} true; docker create --gpus 2 {IMAGE} true; exec sleep 1000"
    )
    submit(client, script, requests={"gpus": 1})
    eventually(lambda: client.log("w").count(b"cannot use GPUs") == 2, "all answers")
    said = client.log("w").decode()
    assert "cannot use GPUs (0): leased to this run: 1" in said and "cannot use GPUs (2): leased to this run: 1" in said
    assert "could not select device driver" in said, "the engine itself, which has no GPU here"
    seen = [bench.engine.call("GET", f"/containers/{one['Id']}/json") for one in bench.containers()]
    given = [[asked["DeviceIDs"] for asked in one["HostConfig"]["DeviceRequests"] or []] for one in seen]
    assert sorted(given) == [[], [["1"]], [["1"]]]
    assert all("NVIDIA_VISIBLE_DEVICES=1" in one["Config"]["Env"] for one in seen)
    script = f"docker create --gpus all {IMAGE} true; docker create --name none {IMAGE} true && echo there >&2; exec sleep 1000"
    submit(client, script, name="none")
    # The engine lists a container some milliseconds before it can be asked for it: its answer is waited for.
    eventually(lambda: b"there" in client.log("none"), "a container without any")
    assert b"cannot use GPUs (all): none is leased to this run; the worker needs requests.gpus" in client.log("none")
    newest = bench.engine.call("GET", "/containers/none/json")
    assert "NVIDIA_VISIBLE_DEVICES=void" in newest["Config"]["Env"]


# --- nobody there -----------------------------------------------------------------------------------------------------


def test_without_a_proxy_runs_wait_and_say_so_and_others_take_their_slot(bench: Bench) -> None:
    bench.proxy.stop()
    bench.config.write_text(bench.config.read_text() + "[groups.default]\nslots = 1\n")
    client = bench.start()
    submit(client, FOREVER + "exit 0")
    client.submit("plain", "true")
    client.wait("plain")
    eventually(lambda: "is rdagentd-docker-proxy.service running?" in bench.why(client), "the reason")
    where = f"{bench.proxy.socket}: Connection refused; is rdagentd-docker-proxy.service running?"
    assert bench.why(client) == f"w is queued: it waits for the Docker proxy, which cannot be reached ({where})."
    bench.proxy.start()
    (row,) = client.wait("w")
    assert row["exit"]["code"] == 0
    assert bench.left() == []


def test_without_an_engine_behind_the_proxy_runs_wait_and_say_so(bench: Bench) -> None:
    bench.proxy.stop()
    bench.proxy.engine = bench.proxy.directory / "no.sock"
    bench.proxy.start()
    client = bench.start()
    submit(client, "true")
    eventually(lambda: "cannot reach the Docker engine at" in bench.why(client), "the reason")
    assert "waits for the Docker proxy, which cannot reach the Docker engine at" in bench.why(client)
    bench.proxy.engine.symlink_to(bench.engine.socket)
    client.wait("w")


def test_a_proxy_that_hangs_holds_up_nothing_and_a_run_that_waits_for_it_can_be_stopped(bench: Bench) -> None:
    client = bench.start()
    submit(client, "exit 0", "first")
    client.wait("first")
    bench.proxy.signal(signal.SIGSTOP)
    submit(client, FOREVER + "exec sleep 1000")
    client.submit("plain", "true")
    client.wait("plain")
    assert client.worker("w")["state"] == "starting"
    assert "It waits for the Docker proxy, which was asked for its socket." in bench.why(client)
    client.verb("stop", "w")
    (row,) = client.wait("w")
    assert row["exit"]["reason"] == "ended by SIGTERM before it began"
    bench.proxy.signal(signal.SIGCONT)
    eventually(lambda: bench.left() == [], "the socket to go")


def test_an_end_waits_for_a_proxy_that_is_away_and_says_so(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "read line < fifo; exit 4", directory=str(fifo(bench)))
    bench.proxy.stop(signal.SIGKILL)
    (fifo(bench) / "fifo").write_text("go\n")
    eventually(
        lambda: "is over (exited with code 4), and waits for the Docker proxy, which cannot" in bench.why(client), "it"
    )
    assert client.worker("w")["state"] == "running"
    bench.proxy.start()
    (row,) = client.wait("w")
    assert row["exit"]["code"] == 4
    assert bench.left() == []


def test_who_kills_a_run_does_not_wait_for_a_proxy_that_stays_away(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000")
    bench.proxy.stop(signal.SIGKILL)
    client.verb("kill", "w")
    (row,) = client.wait("w")
    assert row["exit"]["signal"] == "SIGKILL"
    assert len(bench.containers("running")) == 1
    assert any("its containers could not be ended" in item["text"] for item in client.stream("events"))
    bench.proxy.start()
    eventually(lambda: bench.left() == [], "what it left to be ended")


def fifo(bench: Bench) -> Path:
    """A directory with a named pipe, by which a program is told to go on."""
    directory = bench.daemon.state.with_name("own")
    if not directory.exists():
        directory.mkdir()
        os.mkfifo(directory / "fifo")
    return directory


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_run_and_its_containers_go_on_when_the_daemon_is_killed(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", stop={"grace": 0})
    (before,) = bench.containers()
    bench.daemon.kill()
    client = bench.start()
    assert client.worker("w")["state"] == "running"
    client.verb("pause", "w")
    eventually(lambda: bench.containers("paused"), "the container to be paused")
    assert [one["Id"] for one in bench.containers()] == [before["Id"]]
    client.verb("stop", "w")
    client.wait("w")
    assert bench.left() == []


def test_a_run_that_ends_while_the_daemon_is_away_is_ended_whole_by_the_next(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "read line < fifo; exit 4", directory=str(fifo(bench)))
    bench.daemon.kill()
    (fifo(bench) / "fifo").write_text("go\n")
    client = bench.start()
    (row,) = client.wait("w")
    assert (row["exit"]["code"], bench.left()) == (4, [])


def test_the_daemon_dies_while_the_containers_are_being_ended(bench: Bench) -> None:
    client = bench.start()
    submit(client, STUBBORN + "exit 4", stop={"grace": 1000})
    eventually(lambda: "is over (exited with code 4)" in bench.why(client), "the process to be over")
    bench.daemon.kill()
    client = bench.start()
    (one,) = bench.containers("running")
    bench.engine.call("POST", f"/containers/{one['Id']}/kill")
    (row,) = client.wait("w")
    assert (row["exit"]["code"], row["run"]["started_at"] is not None, bench.left()) == (4, True, [])


def test_the_daemon_dies_while_the_socket_is_asked_for(bench: Bench) -> None:
    client = bench.start()
    submit(client, "exit 0", "first")
    client.wait("first")
    bench.proxy.signal(signal.SIGSTOP)
    submit(client, FOREVER + "exit 4")
    eventually(lambda: client.worker("w")["state"] == "starting", "it to be starting")
    bench.daemon.kill()
    client = bench.start()
    bench.proxy.signal(signal.SIGCONT)
    (row,) = client.wait("w")
    assert (row["exit"]["code"], row["attempt"], bench.left()) == (4, 1, [])


def test_a_paused_run_is_paused_whole_although_the_proxy_was_away(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", stop={"grace": 0})
    bench.proxy.stop(signal.SIGKILL)
    client.verb("pause", "w")
    bench.daemon.kill()
    client = bench.start()
    bench.proxy.start()
    eventually(lambda: bench.containers("paused"), "the container to be paused")
    client.verb("resume", "w")
    eventually(lambda: bench.containers("running"), "the container to go on")


def test_a_proxy_that_was_killed_serves_the_same_runs_again(bench: Bench) -> None:
    client = bench.start()
    script = (
        FOREVER + f"read line < fifo; until docker run --rm {IMAGE} echo again; do sleep 0.1; done; exec sleep 1000"
    )
    ran(bench, client, script, directory=str(fifo(bench)), stop={"grace": 0})
    bench.proxy.stop(signal.SIGKILL)
    (fifo(bench) / "fifo").write_text("go\n")
    bench.proxy.start()
    eventually(lambda: client.log("w").endswith(b"again\n"), "another container")
    client.verb("stop", "w")
    client.wait("w")
    assert bench.left() == []


def test_a_proxy_that_has_forgotten_everything_is_told_again(bench: Bench) -> None:
    client = bench.start()
    script = (
        FOREVER + f"read line < fifo; until docker run --rm {IMAGE} echo again; do sleep 0.1; done; exec sleep 1000"
    )
    ran(bench, client, script, directory=str(fifo(bench)), stop={"grace": 0})
    bench.proxy.stop(signal.SIGKILL)
    (bench.proxy.directory / "state/runs.json").unlink()
    bench.proxy.start()
    (fifo(bench) / "fifo").write_text("go\n")
    eventually(lambda: client.log("w").endswith(b"again\n"), "another container")
    client.verb("stop", "w")
    client.wait("w")
    assert bench.left() == []


def test_what_a_dead_executor_left_in_docker_is_ended(bench: Bench) -> None:
    client = bench.start()
    ran(bench, client, FOREVER + "exec sleep 1000", restart="never", stop={"grace": 0})
    (pid,) = bench.daemon.executors
    os.kill(pid, signal.SIGKILL)
    (row,) = client.wait("w")
    assert row["exit"]["kind"] == "lost"
    eventually(lambda: bench.left() == [], "the container to be gone")
    bench.daemon.client()  # the next executor is known, and ended with the test


def test_only_those_whom_the_configuration_names_may(bench: Bench) -> None:
    """As a user, the client must be able to reach the socket: so the refusal itself is tested where it is made."""
    client = bench.start()
    with pytest.raises(CallError, match="docker_socket: stands in environment too"):
        submit(client, "true", environment={"DOCKER_HOST": "tcp://elsewhere"})
    with pytest.raises(CallError, match="docker_socket: is not for containers"):
        client.submit("w", docker_socket=True, container={"image": IMAGE})
