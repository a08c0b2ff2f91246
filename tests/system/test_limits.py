"""Limits of processes: the rows of docs/limits.md, what is no row, and whole trees. In the order of this file."""

import json
import shlex
from collections.abc import Callable

import pytest

from tests.harness import eventually
from tests.limits import page, processes
from tests.limits.place import Place
from tests.limits.processes import EATER, python
from tests.limits.row import Row, Story

from .machine import Machine
from .rows import between, prepare, tried

INSTALLED = True

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
SERVERS = """
import signal, socket
servers = [socket.create_server(("127.0.0.1", port)) for port in (443, 7777)]
signal.pause()
"""
OWN = "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup) && head -n 9 "

OTHERS = (
    Row("weights", ("limits.cpu_weight = 50", 'limits.memory_high = "32M"', 'limits.memory = "64M"'), "",
        ("sh", "-c", f"{OWN} cpu.weight memory.high memory.max"), "0"),
    Row("io weight", ("limits.io_weight = 50",), "", ("sh", "-c", f"{OWN} io.weight"), "0"),
    Row("no disk", ('limits.io_max = [{ path = "/proc", write = "4M" }]',), "", ("true",), "could_not_start"),
    Row("swapped", ('limits.memory = "64M"', 'limits.swap = "128M"'), "", python(EATER, "96"), "0"),
)  # fmt: skip
"""What is told or given, and nobody can try to exceed."""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """What the rows speak of: ports that are open to workers and two servers, too."""
    prepare(machine)
    machine.put("/etc/rdagentd/egress", b"443\n")
    machine.check("systemctl restart rdagentd-egress", timeout=120)
    machine.check(f"systemd-run --unit servers python3 -c {shlex.quote(SERVERS)}")
    machine.check("until ss -ltn | grep -q :7777; do sleep 0.2; done", timeout=60)


@pytest.fixture(scope="module")
def stories(machine: Machine, furnished: None) -> dict[str, Story]:
    """What became of all that try."""
    return tried(machine, "member", Place(), [*processes.ROWS, *OTHERS])


@pytest.mark.parametrize("row", processes.ROWS, ids=lambda row: row.worker)
def test_a_limit_holds_and_why_says_so(stories: dict[str, Story], row: Row) -> None:
    page.told(processes.TITLE, processes.ROWS, row, stories[row.worker])


def test_what_fits_into_memory_and_swap_goes_on(stories: dict[str, Story]) -> None:
    assert (stories["swapped"].end, stories["swapped"].output) == ("0", "had 96 MiB\n")
    assert stories["swapped"].run["usage"]["memory_peak"] == 64 << 20


def test_weights_and_the_high_mark_are_in_the_cgroup(stories: dict[str, Story]) -> None:
    values = [line for line in stories["weights"].output.splitlines() if line and not line.startswith("=")]
    assert values == ["50", str(32 << 20), str(64 << 20)]


def test_what_this_kernel_has_not_is_told_and_not_ignored(stories: dict[str, Story]) -> None:
    if stories["io-weight"].output.strip() == "default 50":
        return
    told = "imits.io_weight cannot be enforced: this kernel has no io.weight; runs go without"
    assert told in " ".join(stories["io-weight"].sentences)


def test_a_path_without_a_disk_is_an_error_at_start(stories: dict[str, Story]) -> None:
    assert stories["no-disk"].run["exit"]["stage"] == "cgroup io.max"
    assert "wbps=4194304 /proc: no such device" in stories["no-disk"].sentences[0]


def grow(machine: Machine, name: str, sessions: int, each: int) -> str:
    """A worker of sessions times `each` processes; returns its cgroup."""
    command = shlex.join([*python(FOREST, str(sessions), str(each))])
    machine.check(f"runuser -u member -- rdagentctl submit --directory / --name {name} -- {command}")
    machine.check(f"rdagentctl wait {name} --for running --timeout 6m", timeout=150)
    (row,) = json.loads(machine.check(f"rdagentctl status --json {name}"))
    place = f"/sys/fs/cgroup/system.slice/rdagentd-executor.service/run-{row['run']['id']}"
    members = sessions * each + 1
    machine.check(f"until [ $(wc -l < {place}/cgroup.procs) = {members} ]; do sleep 0.2; done", timeout=180)
    return place


def test_a_tree_of_fifty_sessions_is_paused_and_goes_on(machine: Machine) -> None:
    place = grow(machine, "paused", 50, 2)
    machine.check("rdagentctl pause paused")
    machine.check(f"until grep -q 'frozen 1' {place}/cgroup.events; do sleep 0.1; done")
    machine.check("rdagentctl resume paused")
    machine.check(f"until grep -q 'frozen 0' {place}/cgroup.events; do sleep 0.1; done")
    used = eventually(  # the daemon waits five seconds for the executor
        lambda: json.loads(machine.check("rdagentctl status --long --json paused"))[0]["usage"], "what it uses", 240
    )
    assert used["tasks"] == 101
    machine.check("rdagentctl pause paused && rdagentctl stop paused --wait --timeout 4m", timeout=90)
    assert machine.run(f"ls {place}").code != 0


def test_a_thousand_processes_in_fifty_sessions_are_ended_at_once(
    machine: Machine, say: Callable[[str], None], release: str
) -> None:
    place = grow(machine, "forest", 50, 20)
    machine.check("rdagentctl kill forest --wait --timeout 6m", timeout=150)
    assert machine.run(f"ls {place}").code != 0
    assert machine.run("pgrep --euid member").out == ""
    say(f"{release}: 1001 processes ended in {between(machine, 'forest', 'killing', 'exited'):.2f} s")
    cgroups = "ls -d /sys/fs/cgroup/system.slice/rdagentd-executor.service/*/"
    assert [line.split("/")[-2] for line in machine.check(cgroups).splitlines()] == ["egress-443", "executor"]


def test_an_executor_is_protected_and_a_worker_is_not(machine: Machine) -> None:
    machine.check("runuser -u member -- rdagentctl submit --name score -- cat /proc/self/oom_score_adj")
    machine.check("rdagentctl wait score --timeout 4m", timeout=90)
    assert machine.check("rdagentctl logs score") == "0\n"
    assert machine.check("cat /proc/$(systemctl show -P MainPID rdagentd-executor)/oom_score_adj") == "-900\n"
