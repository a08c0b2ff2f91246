"""Confined workers and their own directories under the packaged units: programs that try to get out, and what they get."""

import json
import shlex
from typing import Any

import pytest

from .machine import Machine

INSTALLED = True

TRIES = {
    "system": "echo x >/usr/local/open/new",
    "home": "cat /home/neighbour/open",
    "tmp": "cat /tmp/open",
    "control": "rdagentctl submit --name out -- true",
    "network": "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 7777), 60)'",
    "privileges": "test $(/usr/local/open/id -u) = 0",
}
"""What a person can do without, and a confined worker of the same person cannot."""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """A person, and places that are open to everybody."""
    machine.check("useradd --create-home --groups rdagentd member && useradd --create-home neighbour")
    machine.check("mkdir /usr/local/open && cp /usr/bin/id /usr/local/open && chmod 4755 /usr/local/open/id")
    machine.check(
        "chmod 1777 /usr/local/open && chmod 755 /home/neighbour && echo x | tee /home/neighbour/open >/tmp/open"
    )
    server = "import socket; s = socket.create_server(('127.0.0.1', 7777)); [s.accept() for _ in range(99)]"
    machine.check(f"systemd-run --unit server python3 -c {shlex.quote(server)}")
    machine.check("until ss -ltn | grep -q :7777; do sleep 0.2; done", timeout=60)


def apply(machine: Machine, workers: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Declares workers by the rest of their TOML, as `member`; what `show` says once they are at rest."""
    text = "".join(f"[worker.{name}]\n{rest}\n" for name, rest in workers.items())
    machine.put("/tmp/workers.toml", text.encode())
    machine.check("runuser -u member -- rdagentctl apply /tmp/workers.toml", timeout=120)
    machine.run(f"rdagentctl wait {' '.join(workers)} --timeout 8m", timeout=270)
    told = json.loads(machine.check(f"rdagentctl show --json {' '.join(workers)}", timeout=120))
    return {worker["row"]["name"]: worker for worker in told}


def test_what_everybody_can_do_a_confined_worker_cannot(machine: Machine) -> None:
    workers = {}
    for name, script in TRIES.items():
        for preset in ("none", "strict"):
            command = json.dumps(["sh", "-c", f"{script} && echo got through"])
            workers[f"{name}-{preset}"] = f'command = {command}\nisolation = "{preset}"'
    for name, worker in apply(machine, workers).items():
        ended = worker["row"]["exit"]
        expected = name.endswith("-none")
        assert (ended["kind"], ended["code"] == 0) == ("code", expected), (
            name,
            ended,
            machine.run(f"rdagentctl logs {name}"),
        )


def test_it_is_in_its_cgroup_and_ends_by_its_limit_and_by_its_stop(machine: Machine) -> None:
    eater = "import mmap\nm = mmap.mmap(-1, 256 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1"
    limits = 'limits = { memory = "64M", swap = 0 }'
    memory = f'command = {json.dumps(["python3", "-c", eater])}\nisolation = "strict"\n{limits}'
    assert apply(machine, {"eater": memory})["eater"]["row"]["exit"]["kind"] == "out_of_memory"
    patient = json.dumps(["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.2; done"])
    machine.put("/tmp/patient.toml", f'command = {patient}\nisolation = "strict"\nstop = {{ grace = "5m" }}\n'.encode())
    machine.check("runuser -u member -- rdagentctl apply /tmp/patient.toml", timeout=120)
    machine.check("until rdagentctl logs patient | grep -q ready; do sleep 0.2; done", timeout=120)
    pid = machine.rows("patient")[0]["run"]["pid"]
    assert "/rdagentd-executor.service/run-" in machine.check(f"cat /proc/{pid}/cgroup")
    assert machine.check(f"cat /proc/{pid}/comm").strip() == "sh"
    machine.check(
        "rdagentctl pause patient && rdagentctl resume patient && rdagentctl stop patient --wait", timeout=120
    )
    assert machine.rows("patient")[0]["exit"]["code"] == 7


def test_its_own_directories_are_its_users_and_are_there_inside(machine: Machine) -> None:
    script = 'echo x >"$STATE_DIRECTORY/kept"; touch "$CACHE_DIRECTORY/c"; stat -c %U:%a "$STATE_DIRECTORY" "$CACHE_DIRECTORY"'
    spec = f'command = {json.dumps(["sh", "-c", script])}\nisolation = "strict"\nstate = {{}}\ncache = {{}}'
    assert apply(machine, {"owner": spec})["owner"]["row"]["exit"]["code"] == 0, machine.run("rdagentctl logs owner")
    assert machine.check("rdagentctl logs owner").split() == ["member:700"] * 2
    assert machine.check("cat /var/lib/rdagentd-executor/workers/owner/state/kept") == "x\n"


def test_a_run_that_exceeds_its_quota_is_stopped_and_why_says_so(machine: Machine) -> None:
    script = 'fallocate -l 8M "$STATE_DIRECTORY/file"; exec sleep 1000'
    spec = f'command = {json.dumps(["sh", "-c", script])}\nstate = {{ quota = "4M" }}\nrestart = "always"'
    assert apply(machine, {"filler": spec})["filler"]["row"]["exit"]["kind"] == "over_quota"
    assert "its state directory holds 8 MiB, its quota is 4 MiB" in machine.check("rdagentctl why filler")


def test_few_ports_are_reached_and_who_has_no_rules_does_not_start(machine: Machine) -> None:
    server = (
        "import socket; s = [socket.create_server(('127.0.0.1', p)) for p in (443, 8443)]\nwhile True: s[0].accept()"
    )
    machine.check(f"systemd-run --unit ports python3 -c {shlex.quote(server)}")
    machine.check("until ss -ltn | grep -q :8443; do sleep 0.2; done", timeout=60)
    connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 60)"
    spec = 'command = {}\nisolation = {{ preset = "strict", network = true, egress = [443] }}'
    workers = {f"port-{port}": spec.format(json.dumps(["python3", "-c", connect, port])) for port in ("443", "8443")}
    for worker in apply(machine, workers).values():
        assert "no rules are in force for egress-443" in worker["row"]["exit"]["reason"]
    machine.put("/etc/rdagentd/egress", b"443\n")
    machine.check("systemctl restart rdagentd-egress", timeout=120)

    def codes() -> list[int]:
        machine.check("rdagentctl start port-443 port-8443", timeout=60)
        machine.run("rdagentctl wait port-443 port-8443 --timeout 4m", timeout=90)
        return [row["exit"]["code"] for row in machine.rows("port-443", "port-8443")]

    assert codes() == [0, 1]
    machine.check("systemctl restart nftables && systemctl start rdagentd-egress", timeout=120)  # waits for its restart
    assert codes() == [0, 1], "rules that were taken away are there again"
    machine.check("systemctl stop nftables", timeout=120)
    assert codes() == [None, None], "without rules there is no start"
    machine.check(
        "systemctl kill --signal KILL rdagentd-executor; systemctl start nftables rdagentd-egress", timeout=120
    )
    machine.check("until rdagentctl version --json | grep -q pid; do sleep 0.5; done", timeout=120)
    machine.check("systemctl restart rdagentd-egress", timeout=120)
    assert codes() == [0, 1]


def test_without_bubblewrap_a_start_names_the_package(machine: Machine) -> None:
    machine.check("apt-get -q=2 --yes remove bubblewrap", timeout=300)
    worker = apply(machine, {"missing": 'command = ["true"]\nisolation = "strict"'})["missing"]
    assert worker["row"]["exit"]["kind"] == "could_not_start"
    assert "/usr/bin/bwrap, of the package bubblewrap: no such file" in machine.check("rdagentctl why missing")
