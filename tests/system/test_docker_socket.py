"""Debian's engine, cgroup v2, the packaged units: limits of containers (the rows of docs/limits.md), and workers that start
containers of their own. One machine's life, in this order."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from tests.limits import containers, page
from tests.limits.place import Place
from tests.limits.row import Row, Story

from .machine import Machine
from .rows import between, prepare, tried

KIND = "docker"
INSTALLED = True

AGENT = """
import docker, sys, time
client = docker.from_env(timeout=600)
for number in range(int(sys.argv[2])):
    client.containers.run("box", ["sleep", "1000"], detach=True, network_mode="none", mem_limit="48g", shm_size="16g")
print("grown", flush=True)
if sys.argv[1] == "stay":
    time.sleep(1000)
if sys.argv[1] == "eat":
    eater = client.containers.run("box", ["sh", "-c", "head -c 200m /dev/zero | tail"], detach=True, network_mode="none")
    # The code of `tail`. That memory was the reason the engine may never tell, where it ends so soon: see docs/limits.md.
    print(eater.wait()["StatusCode"], flush=True)
"""
IMPORT = """
import docker, io, subprocess, tarfile
file = io.BytesIO()
with tarfile.open(fileobj=file, mode="w") as tar:
    tar.add("/bin/busybox", "bin/busybox")
    for name, mode in (("etc", 0o755), ("tmp", 0o1777)):
        directory = tarfile.TarInfo(name)
        directory.type, directory.mode = tarfile.DIRTYPE, mode
        tar.addfile(directory)
    tar.add("/etc/passwd", "etc/passwd")
    for name in set(subprocess.check_output(["busybox", "--list"], text=True).split()) - {"busybox"}:
        link = tarfile.TarInfo("bin/" + name)
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
docker.APIClient(timeout=600).import_image_from_data(file.getvalue(), repository="box", tag="latest")
"""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """An engine with one image, the proxy switched on, and a person who may use it."""
    prepare(machine)
    machine.put("/root/import.py", IMPORT.encode())
    machine.check("systemctl start docker && python3 /root/import.py", timeout=300)
    machine.put("/usr/local/bin/agent.py", AGENT.encode())
    machine.put("/etc/rdagentd/conf.d/docker.toml", b'[docker]\nusers = ["member"]\n[groups.default]\nslots = 4\n')
    machine.check("usermod --append --groups docker rdagentd && systemctl enable --now rdagentd-docker-proxy")
    machine.check("systemctl restart rdagentd", timeout=120)


def submit(machine: Machine, name: str, *words: str, **spec: Any) -> None:
    """A worker of the member's, once it has started its containers."""
    fields = {"command": ["/usr/bin/python3", "/usr/local/bin/agent.py", *words], "docker_socket": True, **spec}
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in fields.items())
    machine.put(f"/tmp/{name}.toml", lines.encode())
    machine.check(f"chmod a+r /tmp/{name}.toml && runuser -u member -- rdagentctl apply /tmp/{name}.toml")
    machine.run(f"rdagentctl wait {name} --for running --timeout 6m", timeout=150)
    told = machine.run(f"timeout 600 rdagentctl logs {name} --follow | grep --quiet --max-count=1 grown", timeout=630)
    assert told.code == 0, (told, machine.run(f"rdagentctl why {name}; rdagentctl logs {name}"))


def toml(value: Any) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def left(machine: Machine) -> list[str]:
    """What there is of agents: containers, and their slices."""
    script = "import docker\nfor one in docker.APIClient().containers(all=True): print(one['Id'][:12], one['State'])"
    containers = machine.check(f"python3 -c {shlex.quote(script)}", timeout=120)
    slices = machine.check("systemctl list-units --all --plain --no-legend 'rdagentd-*.slice'")
    return [*containers.splitlines(), *slices.splitlines()]


def become(machine: Machine, state: str, number: int) -> None:
    """Returns once so many containers are in a state."""
    count = f"len([one for one in docker.APIClient().containers() if one['State'] == '{state}'])"
    script = f"import docker, time\nwhile {count} < {number}: time.sleep(0.3)"
    machine.check(f"timeout 600 python3 -c {shlex.quote(script)}", timeout=200)


def run_of(machine: Machine, name: str) -> str:
    """The id of the worker's run."""
    return str(machine.rows(name)[0]["run"]["id"])


@pytest.fixture(scope="module")
def stories(machine: Machine, furnished: None) -> dict[str, Story]:
    """What became of all containers that try; few at a time, because starting one takes seconds here."""
    return tried(machine, "root", Place(added=('user = "member"', 'container.image = "box"')), containers.ROWS)


@pytest.mark.parametrize("row", containers.ROWS, ids=lambda row: row.worker)
def test_a_limit_holds_and_why_says_so(stories: dict[str, Story], row: Row) -> None:
    page.told(containers.TITLE, containers.ROWS, row, stories[row.worker])


def test_five_containers_are_in_a_slice_of_the_run_pause_with_it_and_are_killed_with_it(
    machine: Machine, say: Callable[[str], None], release: str
) -> None:
    submit(machine, "stays", "stay", "5", limits={"memory": "1G", "tasks": 100, "cpu": 1})
    slice_ = f"rdagentd-{run_of(machine, 'stays')}.slice"
    together = machine.check(f"cd /sys/fs/cgroup/rdagentd.slice/{slice_} && cat memory.max pids.max cpu.max")
    assert together.split() == [str(1 << 30), "100", "100000", "100000"]
    tasks = machine.check(f"find /sys/fs/cgroup/rdagentd.slice/{slice_} -name cgroup.procs -exec cat {{}} +").split()
    assert len(tasks) == 5
    machine.check("rdagentctl pause stays")
    become(machine, "paused", 5)
    machine.check("rdagentctl resume stays")
    become(machine, "running", 5)
    machine.check("rdagentctl kill stays --wait --timeout 20m", timeout=330)
    assert left(machine) == []
    machine.check("! find /run/systemd/system.control -name 'rdagentd-*' 2>/dev/null | grep .")
    say(f"{release}: a run and its 5 containers ended in {between(machine, 'stays', 'killing', 'exited'):.1f} s")


def test_a_container_has_no_more_memory_than_its_worker(machine: Machine) -> None:
    before = machine.check("grep oom_kill /proc/vmstat")
    submit(machine, "eats", "eat", "2", limits={"memory": "96M", "swap": 0}, stop={"grace": 1})
    machine.run("rdagentctl wait eats --timeout 20m", timeout=330)
    assert machine.check("rdagentctl logs eats").split() == ["grown", "137"]  # by SIGKILL …
    assert machine.check("grep oom_kill /proc/vmstat") != before  # … of the kernel
    assert left(machine) == []


def test_a_restart_of_the_daemon_leaves_them_alone_and_a_stop_takes_them_along(machine: Machine) -> None:
    submit(machine, "lasts", "stay", "2", stop={"grace": 5})
    before = left(machine)
    assert len(before) == 3
    machine.check("systemctl restart rdagentd", timeout=120)
    assert left(machine) == before
    machine.check("systemctl stop rdagentd", timeout=600)
    assert left(machine) == []
    machine.check("systemctl start rdagentd", timeout=120)


def test_without_the_proxy_a_worker_waits_and_says_so(machine: Machine) -> None:
    machine.check("systemctl stop rdagentd-docker-proxy")
    machine.check("runuser -u member -- rdagentctl submit --name waits --set docker_socket=true --directory / -- true")
    why = machine.check("rdagentctl why waits")
    assert "waits for the Docker proxy, which cannot be reached" in why
    machine.check("systemctl start rdagentd-docker-proxy && rdagentctl wait waits --timeout 6m", timeout=150)
