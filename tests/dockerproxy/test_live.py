"""The proxy before a real engine, with the clients that agents use: the docker command, and docker-py."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest

from rdagentd.dockerproxy.proxy import Proxy
from rdagentd.dockerproxy.rules import to_wire
from rdagentd.protocol import labels
from tests.dockerproxy.fake import MIB, rules
from tests.engine import IMAGE, Engine
from tests.harness import eventually

COMMANDS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(path).exists()]
"""The engine's own client, and a newer one where there is one."""


PARENT = f"rdagentd-test-{os.getpid()}"


class Run:
    """A run that may use the engine."""

    def __init__(self, proxy: Proxy, name: str, work: Path, **changed: Any) -> None:
        self.proxy = proxy
        self.name = name
        self.work = work
        given = rules(**{"cgroup_parent": f"/{PARENT}/{name}", "binds": (str(work),), **changed})
        self.socket = proxy.do({"op": "open", "run": name, "rules": to_wire(given)})["socket"]
        self.host = f"unix://{self.socket}"

    def docker(
        self,
        *words: str,
        command: str = COMMANDS[0] if COMMANDS else "docker",
        data: str | None = None,
        ok: bool = True,
    ) -> str:
        """The docker command: what it said on stdout, or on stderr if it is to fail."""
        environment = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"}
        ended = subprocess.run(
            [command, *words], input=data, capture_output=True, text=True, timeout=90, env=environment, check=False
        )
        assert (ended.returncode == 0) is ok, ended.stderr
        return (ended.stdout if ok else ended.stderr).strip()

    def do(self, operation: str, **more: Any) -> Any:
        """A word of the daemon's."""
        return self.proxy.do({"op": operation, "run": self.name, **more})


@pytest.fixture
def open_run(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Opens runs; all are ended afterwards."""
    proxy = Proxy(str(engine.socket), tmp_path / "run", tmp_path / "runs.json")
    opened: list[Run] = []

    def start(name: str = "run-1", **changed: Any) -> Run:
        work = tmp_path / name
        work.mkdir(exist_ok=True)
        opened.append(Run(proxy, name, work, **changed))
        return opened[-1]

    yield start
    for one in opened:
        one.do("end", grace=0)
    for place, _, _ in os.walk("/sys/fs/cgroup", topdown=False):  # runc leaves the parents
        if f"/{PARENT}" in place:
            with contextlib.suppress(OSError):
                os.rmdir(place)


def left(engine: Engine, what: str) -> Any:
    """What the engine has of the runs of this test; other tests may have left things of theirs."""
    return engine.call("GET", f"/{what}?all=1&filters=" + quote(json.dumps({"label": [labels.ORIGIN]})))


@pytest.fixture
def run(open_run: Callable[..., Run]) -> Run:
    """A run."""
    return open_run()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_docker_command_works(run: Run, command: str) -> None:
    def it(*words: str, **more: Any) -> str:
        return run.docker(*words, command=command, **more)

    assert "Server" in it("version")
    assert it("run", "--rm", IMAGE, "echo", "hello") == "hello"
    assert it("run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo end", data="in\n") == "in\nend"
    (run.work / "sub").mkdir(exist_ok=True)
    script = "echo out; echo err >&2; id -u > /x/made; exec sleep 1000"
    number = it("run", "-d", "--name", "one", "--init", "-v", f"{run.work}/sub:/x", IMAGE, "sh", "-c", script)
    assert number in it("ps", "--no-trunc")
    assert it("exec", "one", "sh", "-c", "until test -s /x/made; do :; done; cat /x/made") == "0"
    assert (run.work / "sub/made").read_text() == "0\n"
    assert it("exec", "-i", "one", "cat", data="through") == "through"
    assert it("logs", "one") == "out"
    (run.work / "file").write_text("copied")
    it("cp", f"{run.work}/file", "one:/tmp/file")
    assert it("exec", "one", "cat", "/tmp/file") == "copied"
    it("cp", "one:/tmp/file", f"{run.work}/back")
    assert (run.work / "back").read_text() == "copied"
    assert "one" in it("stats", "--no-stream", "one")
    assert "sleep 1000" in it("top", "one")
    it("update", "--memory", "1g", "--memory-swap", "-1", "one")
    assert (
        it("inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", "one")
        == f"{512 * MIB} {512 * MIB}"
    )
    it("pause", "one")
    it("unpause", "one")
    it("rename", "one", "two")
    it("stop", "-t", "0", "two")
    it("start", "two")
    it("kill", "two")
    assert it("wait", "two") == "137"
    assert f"container die {number}" in it("events", "--since", "1h", "--until", f"{time.time():.9f}")
    it("rm", "two")
    assert number not in it("ps", "-a", "--no-trunc")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_is_built_used_and_removed(run: Run, engine: Engine, command: str) -> None:
    (run.work / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN cat /proc/self/cgroup > /cgroup\nRUN echo built > /made\n")
    run.docker("build", "-t", "made-here", str(run.work), command=command)
    assert run.docker("run", "--rm", "made-here", "cat", "/made", command=command) == "built"
    assert run.name in run.docker("run", "--rm", "made-here", "cat", "/cgroup", command=command)
    said = run.docker("build", "--network", "host", str(run.work), command=command, ok=False)
    assert "cannot set networkmode to 'host'" in said
    said = run.docker("build", "-t", IMAGE, str(run.work), command=command, ok=False)
    assert f"cannot change image {IMAGE}: it was not made by an agent" in said
    run.docker("rmi", "made-here", command=command)
    assert "made-here:latest" not in str(engine.call("GET", "/images/json"))


def test_docker_py_works(run: Run) -> None:
    client = docker.DockerClient(base_url=run.host, timeout=60)
    assert client.ping()
    (run.work / "sub").mkdir()
    volumes = {str(run.work / "sub"): {"bind": "/x", "mode": "rw"}}
    assert client.containers.run(IMAGE, "cat /proc/self/comm", remove=True) == b"cat\n"
    one = client.containers.run(  # as RD-Agent does
        image=IMAGE, command=["sh", "-c", "echo hello; touch /x/made; exec sleep 1000"], volumes=volumes,
        environment={"A": "b"},
        detach=True, working_dir="/work", network="bridge", shm_size="16g", mem_limit="48g", log_config=None,
    )  # fmt: skip
    assert next(iter(one.logs(stream=True, follow=True))) == b"hello\n"
    code, output = one.exec_run(["sh", "-c", "until test -e /x/made; do :; done; echo $A; pwd"])
    assert (code, output) == (0, b"b\n/work\n")
    code, output = one.exec_run("cat", stdin=True, socket=True)
    assert code is None
    raw = output._sock
    raw.sendall(b"typed\n")
    assert raw.recv(100).endswith(b"typed\n")
    output.close()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("copied")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    assert one.put_archive("/tmp", file.getvalue())
    data, facts = one.get_archive("/tmp/copied")
    assert facts["size"] == 5
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
        assert tar.extractfile("copied").read() == b"hello"  # type: ignore[union-attr]
    assert one.stats(stream=False)["memory_stats"]["limit"] == 512 * MIB
    assert [found.id for found in client.containers.list()] == [one.id]
    one.reload()
    assert one.attrs["HostConfig"]["ShmSize"] == 64 * MIB
    assert one.top()["Processes"]
    one.stop(timeout=0)
    assert one.wait()["StatusCode"] == 137
    one.remove(v=True)
    image, _ = client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN true\n".encode()), tag="made-by-py", rm=True)
    assert "made-by-py:latest" in image.tags
    client.images.remove("made-by-py")
    with pytest.raises(docker.errors.APIError, match=r"cannot set HostConfig\.Privileged"):
        client.containers.run(IMAGE, "true", privileged=True)
    with pytest.raises(docker.errors.NotFound, match="No such container"):
        client.containers.get("nobody")
    client.close()


def test_a_terminal_is_attached_and_told_its_size(run: Run) -> None:
    client = docker.APIClient(base_url=run.host, timeout=60)
    number = client.create_container(IMAGE, ["sh", "-c", "read a; stty size; echo got $a"], stdin_open=True, tty=True)[
        "Id"
    ]
    stream = client.attach_socket(number, {"stdin": 1, "stdout": 1, "stream": 1})._sock
    client.start(number)
    client.resize(number, 41, 132)
    stream.sendall(b"word\n")
    said = b""
    while data := stream.recv(4096):
        said += data
    stream.close()
    assert b"41 132" in said
    assert b"got word" in said
    assert client.wait(number)["StatusCode"] == 0
    client.close()


def test_logs_end_when_the_reader_leaves_and_when_the_container_does(run: Run) -> None:
    number = run.docker("run", "-d", IMAGE, "sh", "-c", "echo on; exec sleep 1000")
    with subprocess.Popen([COMMANDS[0], "-H", run.host, "logs", "-f", number], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"on\n"
        reader.terminate()
    with subprocess.Popen([COMMANDS[0], "-H", run.host, "logs", "-f", number], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"on\n"
        run.docker("kill", number)
        assert reader.wait(30) == 0


def test_a_run_sees_and_touches_nothing_of_another(open_run: Callable[..., Run], engine: Engine) -> None:
    one, other = open_run("run-1"), open_run("run-2")
    number = one.docker("run", "-d", "--name", "private", IMAGE, "sleep", "1000")
    assert other.docker("ps", "-aq") == ""
    assert other.docker("events", "--since", "1h", "--until", f"{time.time():.9f}") == ""
    assert other.docker("container", "prune", "-f") == "Total reclaimed space: 0B"
    words = [
        ("inspect",),
        ("logs",),
        ("exec",),
        ("stop",),
        ("rm", "-f"),
        ("start",),
        ("top",),
        ("kill",),
        ("wait",),
        ("stats", "--no-stream"),
    ]
    for verb in words:
        for name in ("private", number, number[:12]):
            more = ("true",) if verb == ("exec",) else ()
            assert "does not belong to this run" in other.docker(*verb, name, *more, ok=False)
    assert "does not belong" in other.docker("cp", "private:/etc/passwd", "-", ok=False)
    assert "does not belong" in other.docker("run", "--rm", "--volumes-from", "private", IMAGE, "true", ok=False)
    assert "does not belong" in other.docker("run", "--rm", "--pid", "container:private", IMAGE, "true", ok=False)
    assert engine.call("GET", f"/containers/{number}/json")["State"]["Running"]


def test_an_image_that_claims_to_be_of_a_run_does_not_open_its_containers(run: Run, engine: Engine) -> None:
    (run.work / "Dockerfile").write_text(f"FROM {IMAGE}\n")
    run.docker("build", "-t", "claims", str(run.work))
    number = engine.call("POST", "/containers/create", {"Image": "claims", "Cmd": ["sleep", "1000"]})["Id"]
    assert engine.call("GET", f"/containers/{number}/json")["Config"]["Labels"]["rdagentd.run"] == run.name
    assert "does not belong to this run" in run.docker("start", number, ok=False)
    run.do("end", grace=0)
    assert engine.call("GET", f"/containers/{number}/json")["Id"] == number
    engine.call("DELETE", f"/containers/{number}")


def test_a_directory_that_is_exchanged_for_a_link_after_create_is_still_itself(run: Run) -> None:
    work = run.work / "work"
    work.mkdir()
    (work / "mine").touch()
    number = run.docker("create", "-v", f"{work}:/x", IMAGE, "ls", "/x")
    work.rename(run.work / "aside")
    work.symlink_to("/etc")
    assert run.docker("start", "-a", number) == "mine"


def test_no_device_node_is_made_in_a_bound_directory(run: Run) -> None:
    said = run.docker("run", "--rm", "-v", f"{run.work}:/x", IMAGE, "mknod", "/x/disk", "b", "8", "0", ok=False)
    assert "Operation not permitted" in said
    assert not (run.work / "disk").exists()


def test_memory_and_tasks_are_held_by_the_kernel(open_run: Callable[..., Run]) -> None:
    run = open_run(memory=32 * MIB, pids=8)
    eater = "head -c 200m /dev/zero | tail"
    number = run.docker("run", "-d", "-m", "10g", IMAGE, "sh", "-c", eater)
    run.docker("wait", number)
    eventually(lambda: run.docker("inspect", "-f", "{{.State.OOMKilled}}", number) == "true", "the engine to tell why")
    many = run.docker(
        "run",
        "--rm",
        "--pids-limit",
        "-1",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done",
        ok=False,
    )
    assert "can't fork" in many


@pytest.mark.timeout(600)
def test_fifty_containers_at_once_and_all_end_with_the_run(run: Run, engine: Engine) -> None:
    def start(number: int) -> str:
        client = docker.DockerClient(base_url=run.host, timeout=300)
        with contextlib.closing(client):
            one = client.containers.run(
                IMAGE, ["sh", "-c", f"echo {number}; exec sleep 1000"], network_mode="none", detach=True
            )
            return str(next(iter(one.logs(stream=True, follow=True))).decode().strip())

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(start, range(50))) == [str(number) for number in range(50)]
    assert len(run.docker("ps", "-q").splitlines()) == 50
    begin = time.monotonic()
    assert run.do("end", grace=0) == {"containers": 50}
    print(f"50 containers ended in {time.monotonic() - begin:.1f} s")
    assert left(engine, "containers/json") == []
    assert not Path(run.socket).exists()
    assert run.do("end", grace=0) == {"containers": 0}


def test_a_run_that_ends_takes_builds_streams_and_volumes_along(run: Run, engine: Engine) -> None:
    (run.work / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; sleep 1000\n")
    command = [COMMANDS[0], "-H", run.host, "build", str(run.work)]
    run.docker("run", "-d", "-v", "data:/y", "-v", f"{run.work}:/x", IMAGE, "sleep", "1000")
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as build:
        assert build.stdout is not None
        while build.stdout.readline() != b"begun\n":
            pass
        assert len(left(engine, "volumes")["Volumes"]) == 2
        assert run.do("end", grace=0)["containers"] >= 1
        assert build.wait(30) != 0
    assert left(engine, "containers/json") == []
    assert not left(engine, "volumes")["Volumes"]


def test_a_container_that_ends_itself_is_given_its_time(run: Run) -> None:
    script = "trap 'echo bye > /x/said; exit 3' TERM; touch /x/ready; while :; do sleep 0.1; done"
    number = run.docker("run", "-d", "-v", f"{run.work}:/x", IMAGE, "sh", "-c", script)
    run.docker("exec", number, "sh", "-c", "until test -e /x/ready; do :; done")
    assert run.do("end", grace=30) == {"containers": 1}
    assert (run.work / "said").read_text() == "bye\n"


def test_what_a_build_runs_pauses_too(run: Run, engine: Engine) -> None:
    (run.work / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; sleep 1000\n")
    command = [COMMANDS[0], "-H", run.host, "build", str(run.work)]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as build:
        assert build.stdout is not None
        while build.stdout.readline() != b"begun\n":
            pass
        eventually(lambda: [one["State"] for one in engine.call("GET", "/containers/json")] == ["running"], "it to run")
        assert run.do("pause") == {"containers": 1}
        (built,) = engine.call("GET", "/containers/json")
        assert built["State"] == "paused"
        assert run.do("resume") == {"containers": 1}
        assert run.do("end", grace=0)["containers"] <= 1, "the engine may be quicker: who builds has hung up"
        assert engine.call("GET", "/containers/json") == []
        build.wait(30)


def test_containers_pause_and_go_on_with_their_run_even_over_a_restart_of_the_proxy(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    one, two, three = (run.docker("run", "-d", IMAGE, "sleep", "1000") for _ in range(3))
    run.docker("pause", three)  # the agent's own wish
    assert run.do("pause") == {"containers": 2}
    states = {found["Id"]: found["State"] for found in left(engine, "containers/json")}
    assert states == dict.fromkeys((one, two, three), "paused")
    run.proxy = Proxy(str(engine.socket), tmp_path / "run", tmp_path / "runs.json")
    run.proxy.start()
    assert run.do("resume") == {"containers": 2}
    states = {found["Id"]: found["State"] for found in left(engine, "containers/json")}
    assert states == {one: "running", two: "running", three: "paused"}
