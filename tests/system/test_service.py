"""The package on a machine: installed, stopped, started, restarted, rebooted, removed. One machine's life, in this order."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.harness import eventually

from .counter import COUNTER, PATIENT
from .machine import Machine

KIND = "bare"  # apt finds the dependencies and brings them


@pytest.fixture(scope="module", autouse=True)
def installed(machine: Machine, package: Path) -> None:
    """The package, installed as a person would; of two people one is in the group."""
    machine.put(f"/root/{package.name}", package.read_bytes())
    machine.check("apt-get -q=2 update")
    machine.check(f"apt-get -q=2 --yes install /root/{package.name}", timeout=600)
    machine.check("useradd --create-home --groups rdagentd member; useradd --create-home stranger")


def row(machine: Machine, name: str) -> dict[str, Any]:
    """What `rdagentctl status` says of one worker."""
    found: dict[str, Any] = json.loads(machine.check(f"rdagentctl status --json {name} || test $? = 3"))[0]
    return found


def running(machine: Machine, name: str) -> dict[str, Any]:
    """The worker's row once it runs."""
    return machine.wait(name, until="running")[0]


def submit(machine: Machine, name: str, script: str, *options: str) -> None:
    """Submit a script of bash as the member of the group."""
    words = ["runuser", "-u", "member", "--", "rdagentctl", "submit", "--directory", "/", "--name", name, *options]
    machine.check(shlex.join([*words, "--", "bash", "-c", script]))


def counted(machine: Machine, name: str) -> list[int]:
    """The numbers in a COUNTER's log."""
    return [int(line) for line in machine.check(f"rdagentctl logs {name}").split() if line.isdigit()]


def test_apt_resolves_the_dependencies_and_starts_both_services(machine: Machine) -> None:
    machine.check("systemctl is-active rdagentd.service rdagentd.socket rdagentd-executor.service")
    machine.check("systemctl is-enabled rdagentd.service rdagentd.socket rdagentd-executor.service")
    assert machine.check("systemctl show --property=User --value rdagentd.service").strip() == "rdagentd"
    machine.check("rdagentctl ping && rdagentctl version")


def test_metrics_come_out_of_the_sandbox(machine: Machine) -> None:
    resident = 'rdagentd_process_resident_memory_bytes{{program="{}"}}'

    def asked() -> dict[str, float]:
        lines = machine.check("rdagentctl metrics").splitlines()
        told = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
        return told if resident.format("executor") in told else {}  # the daemon waits five seconds for it

    told = eventually(asked, "the executor to be heard", 240)
    for name in ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent"):
        assert 0 <= told[name] <= 100
    for program in ("daemon", "executor"):
        assert told[resident.format(program)] > 1 << 20
    assert told['rdagentd_driver_up{driver="process"}'] == told["rdagentd_store_up"] == 1


def test_the_gateway_answers_as_an_operator_that_has_a_name(machine: Machine) -> None:
    machine.check("systemctl is-active rdagentd-gateway.service && systemctl is-enabled rdagentd-gateway.service")
    fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
    url = json.loads(machine.check("cat /run/rdagentd-gateway/gateway.json"))["urls"][0]
    for place, line in (("readyz", "ok"), ("metrics", "rdagentd_up 1")):  # it waits five seconds for the daemon
        asks = f"runuser -u stranger -- python3 -c '{fetch}' {url}{place}"
        machine.check(f"until {asks} | grep --quiet --line-regexp '{line}'; do sleep 0.5; done", timeout=120)
    assert machine.run("runuser -u stranger -- cat /var/lib/rdagentd-gateway/token").code != 0


def test_a_member_of_the_group_is_answered_and_a_stranger_told_what_to_do(machine: Machine) -> None:
    machine.check("runuser -u member -- rdagentctl ping")
    refused = machine.run("runuser -u stranger -- rdagentctl ping")
    assert refused.code == 5
    assert "permission denied. Group 'rdagentd' may" in refused.out


def test_the_daemon_is_confined(machine: Machine) -> None:
    exposure = {
        unit: float(
            machine.check(f"systemd-analyze security --no-pager {unit} | tail -1").split("level for ")[1].split()[1]
        )
        for unit in ("rdagentd.service", "rdagentd-executor.service", "rdagentd-gateway.service")
    }
    assert exposure["rdagentd-gateway.service"] <= 1.5
    assert exposure["rdagentd.service"] <= 2.0
    assert (
        exposure["rdagentd-executor.service"] <= 8.0
    )  # the workers live in it: each open point is explained in the unit


def test_a_worker_runs_as_the_person_who_submitted_it(machine: Machine) -> None:
    submit(machine, "who", "id -un; id -gn")
    machine.check("rdagentctl wait who --timeout 4m", timeout=90)
    assert machine.check("rdagentctl logs who").split() == ["member", "member"]


def test_what_workers_d_holds_runs_as_the_user_it_names_and_never_as_root(machine: Machine) -> None:
    worker = 'command = ["sh", "-c", "id -un"]\n'
    machine.put("/etc/rdagentd/workers.d/nobody-named.toml", worker.encode())
    machine.put("/etc/rdagentd/workers.d/root-named.toml", f'{worker}user = "root"\n'.encode())
    machine.put("/etc/rdagentd/workers.d/member-named.toml", f'{worker}user = "member"\n'.encode())
    machine.check("systemctl reload rdagentd")
    machine.run("rdagentctl wait '*-named' --timeout 4m; rm /etc/rdagentd/workers.d/*-named.toml", timeout=90)
    assert machine.check("rdagentctl logs member-named") == "member\n"
    for refused in ("nobody-named", "root-named"):
        assert "policy" in row(machine, refused)["exit"]["reason"]
    machine.check("rdagentctl remove '*-named'")


def test_restart_leaves_the_workers_alone(machine: Machine) -> None:
    submit(machine, "counter", COUNTER, "--restart", "always", "--delay", "0", "--grace", "5m")
    before, daemon = running(machine, "counter"), machine.check("systemctl show --property=MainPID rdagentd")
    machine.check("systemctl restart rdagentd", timeout=120)
    after = running(machine, "counter")
    assert machine.check("systemctl show --property=MainPID rdagentd") != daemon
    assert after["run"] == before["run"]
    numbers = counted(machine, "counter")
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_exit_while_the_daemon_is_dead_is_known_afterwards(machine: Machine) -> None:
    submit(
        machine, "gap", f"{PATIENT}; while [ ! -e /tmp/end ]; do read -rt 0.1 <&8; done; exit 7", "--restart", "never"
    )
    pid, counter = running(machine, "gap")["run"]["pid"], row(machine, "counter")["run"]
    machine.check(
        f"systemctl kill --signal=STOP rdagentd.service; touch /tmp/end; tail --pid={pid} --follow /dev/null;"
        "systemctl kill --signal=KILL rdagentd.service"
    )
    assert machine.run("rdagentctl wait gap --timeout 4m", timeout=90).code == 7
    assert row(machine, "counter")["run"] == counter


def test_stop_ends_the_workers_gracefully_and_leaves_nothing(machine: Machine) -> None:
    machine.check("systemctl stop rdagentd", timeout=180)
    assert machine.run("pgrep --list-full --euid member").out == ""
    machine.check(
        "while systemctl is-active rdagentd-executor | grep --quiet '^active\\|^deactivating'; do sleep 0.2; done"
    )  # it leaves beside it
    assert machine.run("systemctl is-active rdagentd rdagentd-executor").out.split() == ["inactive", "inactive"]
    told = machine.run("runuser -u member -- rdagentctl status")
    assert (told.code, "systemctl start rdagentd" in told.out) == (69, True)
    assert machine.run("systemctl is-active rdagentd").out.strip() == "inactive"  # asking has not started it
    assert machine.check("tail --lines=1 --quiet /var/log/rdagentd/counter/out/*.log") == "ended\n"


def test_start_brings_back_what_is_wished_up(machine: Machine) -> None:
    machine.check("systemctl start rdagentd", timeout=120)
    assert running(machine, "counter")["state"] == "running"
    assert row(machine, "gap")["state"] != "running"


@pytest.mark.parametrize("crash", [False, True], ids=["orderly", "power cut"])
def test_a_reboot_brings_back_what_is_wished_up(machine: Machine, crash: bool) -> None:
    before, lost = running(machine, "counter")["run"], lost_runs(machine, "counter")
    machine.check("sync")
    machine.reboot(crash=crash)
    machine.check("systemctl start rdagentd", timeout=180)
    after = changed(machine, "counter", before["id"])
    machine.check("rdagentctl logs counter --tail 0 --follow | head -1 | grep --quiet .")  # it is one process by now
    assert machine.check("pgrep --full --euid member 'echo ended'").split() == [str(after["pid"])]
    assert lost_runs(machine, "counter") == lost + [before["id"]] * crash


def changed(machine: Machine, name: str, run: str) -> dict[str, Any]:
    """The worker's run, once it is another than `run` and under way."""
    machine.check(f"while rdagentctl status --json {name} | grep -q {run}; do sleep 0.2; done", timeout=60)
    found: dict[str, Any] = running(machine, name)["run"]
    return found


def lost_runs(machine: Machine, name: str) -> list[str]:
    """Ids of the worker's runs whose end nobody saw, in order."""
    shown = json.loads(machine.check(f"rdagentctl show --json {name}"))[0]
    return sorted(run["id"] for run in shown["runs"] if run["exit"] and run["exit"]["kind"] == "lost")
