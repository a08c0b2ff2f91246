"""Limits that hold: programs that try to exceed each, what became of them, and what `why` said. In the order of this file."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .machine import Machine

EATER = (
    "import mmap, sys\nm = mmap.mmap(-1, int(sys.argv[1]) << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\nprint(1)"
)
FORKER = """
import os
children = []
try:
    while len(children) < 50:
        pid = os.fork()
        if not pid: os.read(os.pipe()[0], 1)
        children.append(pid)
except BlockingIOError as error:
    print(1 + len(children), error.strerror)
for pid in children: os.kill(pid, 9)
"""
BURNER = """
import os, time
end = time.monotonic() + 5
for _ in range(3):
    if not os.fork():
        while time.monotonic() < end: pass
        os._exit(0)
for _ in range(3): os.wait()
own = open("/proc/self/cgroup").read().strip().partition("0::")[2]
print(*[line for line in open(f"/sys/fs/cgroup{own}/cpu.stat") if line.startswith("nr_throttled")])
"""
FOREST = """
import gc, os, sys
gc.freeze()
sessions, each = map(int, sys.argv[1:])
for _ in range(sessions):
    if not os.fork():
        os.setsid()
        for _ in range(each - 1):
            if not os.fork(): break
        break
else:
    print("grown", flush=True)
os.read(os.pipe()[0], 1)
"""
OWN = "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup) && head -n 9 "
PYTHON = "/usr/bin/python3"


def python(text: str, *words: str) -> list[str]:
    return [PYTHON, "-I", "-S", "-c", text, *words]


WORKERS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "memory": (python(EATER, "256"), {"memory": "64M", "swap": 0}),
    "memory-of-a-child": (["sh", "-c", f"{shlex.join(python(EATER, '256'))}; echo went on"], {"memory": "64M", "swap": 0}),
    "no-swap": (python(EATER, "96"), {"memory": "64M", "swap": 0}),
    "swap": (python(EATER, "96"), {"memory": "64M", "swap": "128M"}),
    "cpu": (python(BURNER), {"cpu": 0.5}),
    "cpuset": (python("import os; print(*os.sched_getaffinity(0))"), {"cpuset": "1"}),
    "tasks": (python(FORKER), {"tasks": 16}),
    "io": (["dd", "if=/dev/zero", "of=/var/tmp/io", "bs=1M", "count=12", "oflag=direct", "status=none"],
           {"io_max": [{"path": "/var/tmp", "write": "4M"}]}),
    "weights": (["sh", "-c", f"{OWN} cpu.weight memory.high memory.max"],
                {"cpu_weight": 50, "memory_high": "32M", "memory": "64M"}),
    "io-weight": (["sh", "-c", f"{OWN} io.weight"], {"io_weight": 50}),
    "no-disk": (["true"], {"io_max": [{"path": "/proc", "write": "4M"}]}),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def installed(machine: Machine, package: Path) -> None:
    """The package, a person who may use it, and some swap."""
    machine.put(f"/root/{package.name}", package.read_bytes())
    machine.check("apt-get -q=2 update")
    machine.check(f"apt-get -q=2 --yes install /root/{package.name}", timeout=600)
    machine.check("useradd --create-home --groups rdagentd member; chmod 1777 /var/tmp")
    machine.check("fallocate -l 256M /swap && chmod 600 /swap && mkswap /swap && swapon /swap", timeout=120)


@pytest.fixture(scope="module")
def shown(machine: Machine, installed: None) -> dict[str, dict[str, Any]]:
    """All workers, run to their ends side by side: what `show` and `why` say of each, and its output."""
    text = ""
    for name, (command, limits) in WORKERS.items():
        values = ", ".join(f"{key} = {toml(value)}" for key, value in limits.items())
        text += f"[worker.{name}]\ncommand = {json.dumps(command)}\nlimits = {{ {values} }}\n"
    machine.put("/tmp/limits.toml", text.encode())
    told = machine.check("runuser -u member -- rdagentctl apply /tmp/limits.toml", timeout=120)
    machine.run("rdagentctl wait '*' --timeout 5m", timeout=330)
    found = {
        worker["row"]["name"]: worker for worker in json.loads(machine.check("rdagentctl show --json '*'", timeout=120))
    }
    for answer in json.loads(machine.check("rdagentctl why --json '*'", timeout=120)):
        found[answer["name"]]["why"] = " ".join(answer["sentences"])
    logs = machine.check("for name in /var/log/rdagentd/*; do echo == $(basename $name); cat $name/out/*.log; done")
    for part in logs.split("== ")[1:]:
        name, _, output = part.partition("\n")
        found[name]["output"] = output
    for worker in found.values():
        worker["warnings"] = told
        worker["run"] = worker["runs"][0]
    return found


def toml(value: Any) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("name", ["memory", "memory-of-a-child", "no-swap"])
def test_who_exceeds_the_memory_is_ended_as_a_whole_and_the_reason_is_told(shown: dict[str, Any], name: str) -> None:
    worker = shown[name]
    assert (worker["run"]["exit"]["kind"], worker["run"]["exit"]["signal"]) == ("out_of_memory", "SIGKILL")
    assert "out of memory: its limit is 64 MiB, its peak was 64 MiB; killed by SIGKILL" in worker["why"]
    assert "raise `limits.memory`" in worker["why"]
    assert "output" not in worker, "neither it nor its parent went on"


def test_what_fits_into_memory_and_swap_goes_on(shown: dict[str, Any]) -> None:
    assert (shown["swap"]["run"]["exit"]["code"], shown["swap"]["output"]) == (0, "1\n")
    assert shown["swap"]["run"]["usage"]["memory_peak"] == 64 << 20


def test_three_who_want_a_cpu_get_half_of_one(shown: dict[str, Any]) -> None:
    run = shown["cpu"]["run"]
    share = (run["usage"]["user"] + run["usage"]["system"]) / (run["ended_at"] - run["started_at"])
    print(f"limits.cpu = 0.5: share measured {share:.2f}; {shown['cpu']['output'].strip()}")
    assert share < 0.6
    assert int(shown["cpu"]["output"].split()[1]) > 0, "it was held up"


def test_processes_see_the_cpus_that_they_may_use(shown: dict[str, Any]) -> None:
    assert shown["cpuset"]["output"] == "1\n"


def test_a_fork_beyond_the_tasks_fails(shown: dict[str, Any]) -> None:
    assert shown["tasks"]["output"] == "16 Resource temporarily unavailable\n"
    assert shown["tasks"]["run"]["usage"]["tasks_peak"] in (16, None)  # Linux counts it since 6.12


def test_writes_are_as_slow_as_was_asked_and_counted(shown: dict[str, Any]) -> None:
    run = shown["io"]["run"]
    took = run["ended_at"] - run["started_at"]
    print(f"limits.io_max write = 4M: 12 MiB took {took:.1f} s")
    assert run["exit"]["code"] == 0
    assert took > 2 and run["usage"]["written"] >= 12 << 20


def test_weights_and_the_high_mark_are_in_the_cgroup(shown: dict[str, Any]) -> None:
    values = [line for line in shown["weights"]["output"].splitlines() if line and not line.startswith("=")]
    assert values == ["50", str(32 << 20), str(64 << 20)]


def test_what_this_kernel_has_not_is_told_and_not_ignored(shown: dict[str, Any]) -> None:
    worker = shown["io-weight"]
    if "output" in worker and worker["output"].strip() == "default 50":
        return
    told = "limits.io_weight cannot be enforced: this kernel has no io.weight; runs go without"
    assert told in worker["warnings"] and told[1:] in worker["why"]


def test_a_path_without_a_disk_is_an_error_at_start(shown: dict[str, Any]) -> None:
    ended = shown["no-disk"]["run"]["exit"]
    print(ended)
    assert (ended["kind"], ended["stage"]) == ("could_not_start", "cgroup io.max")
    assert "wbps=4194304 /proc: no such device" in shown["no-disk"]["why"]


def grow(machine: Machine, name: str, sessions: int, each: int) -> str:
    """A worker of sessions times `each` processes; returns its cgroup."""
    command = shlex.join([*python(FOREST, str(sessions), str(each))])
    machine.check(f"runuser -u member -- rdagentctl submit --directory / --name {name} -- {command}")
    machine.check(f"rdagentctl wait {name} --for running --timeout 2m", timeout=150)
    (row,) = json.loads(machine.check(f"rdagentctl status --json {name}"))
    place = f"/sys/fs/cgroup/system.slice/rdagentd-executor.service/run-{row['run']['id']}"
    members = sessions * each + 1
    machine.check(f"until [ $(wc -l < {place}/cgroup.procs) = {members} ]; do sleep 0.2; done", timeout=180)
    return place


def between(machine: Machine, name: str, first: str, last: str) -> float:
    """Seconds between two events of a worker."""
    lines = machine.check(f"rdagentctl events --json {name}").splitlines()
    at = {event["kind"]: event["at"] for event in map(json.loads, lines)}
    return float(at[last] - at[first])


def test_a_tree_of_fifty_sessions_is_paused_and_goes_on(machine: Machine) -> None:
    place = grow(machine, "paused", 50, 2)
    machine.check("rdagentctl pause paused")
    machine.check(f"until grep -q 'frozen 1' {place}/cgroup.events; do sleep 0.1; done")
    machine.check("rdagentctl resume paused")
    machine.check(f"until grep -q 'frozen 0' {place}/cgroup.events; do sleep 0.1; done")
    (row,) = json.loads(machine.check("rdagentctl status --long --json paused"))
    assert row["usage"]["tasks"] == 101
    machine.check("rdagentctl pause paused && rdagentctl stop paused --wait --timeout 1m", timeout=90)
    assert machine.run(f"ls {place}").code != 0


def test_a_thousand_processes_in_fifty_sessions_are_ended_at_once(
    machine: Machine, say: Callable[[str], None], release: str
) -> None:
    place = grow(machine, "forest", 50, 20)
    machine.check("rdagentctl kill forest --wait --timeout 2m", timeout=150)
    assert machine.run(f"ls {place}").code != 0
    assert machine.run("pgrep --euid member").out == ""
    say(f"{release}: 1001 processes ended in {between(machine, 'forest', 'killing', 'exited'):.2f} s")
    cgroups = "ls -d /sys/fs/cgroup/system.slice/rdagentd-executor.service/*/"
    assert machine.check(cgroups).split("/")[-2:] == ["executor", "\n"]


def test_an_executor_is_protected_and_a_worker_is_not(machine: Machine) -> None:
    machine.check("runuser -u member -- rdagentctl submit --name score -- cat /proc/self/oom_score_adj")
    machine.check("rdagentctl wait score --timeout 1m", timeout=90)
    assert machine.check("rdagentctl logs score") == "0\n"
    assert machine.check("cat /proc/$(systemctl show -P MainPID rdagentd-executor)/oom_score_adj") == "-900\n"
