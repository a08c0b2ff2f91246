"""Runs that may connect to few ports, with the rules in force, in a network of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdagentd.protocol.egress import class_of
from tests import cgroups
from tests.executor.conftest import SYSTEM_PYTHON, TIMEOUT, Executor, lines_of

OWN_NETWORK = """
if [ -d /sys/fs/cgroup/unified ]; then
    mount --bind /sys/fs/cgroup/unified /mnt && umount --recursive --lazy /sys/fs/cgroup && mount --move /mnt /sys/fs/cgroup
fi
ip link set lo up && exec "$@"
"""
"""nft looks for cgroups in /sys/fs/cgroup, wherever the host has those of version 2."""

SERVE = """
import select, socket
udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
udp[0].bind(("127.0.0.1", 53)); udp[1].bind(("127.0.0.1", 54))
servers = [socket.create_server((host, port), family=family) for port in (22, 443, 8443)
           for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))]
print("ready", flush=True)
while True:
    for found in select.select([*servers, *udp], [], [])[0]:
        found.accept() if found in servers else found.sendto(b"answer", found.recvfrom(99)[1])
"""
TRY = """
import socket
def reached(act):
    try: return bool(act())
    except OSError: return False
def ask(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        asks.settimeout(50)
        asks.connect(("127.0.0.1", port))
        asks.send(b"x")
        return asks.recv(99)
tcp = [f"{host}:{port}" for port in (22, 443, 8443) for host in ("127.0.0.1", "::1")
       if reached(lambda: socket.create_connection((host, port), 5))]
print(*tcp, *[f"udp:{port}" for port in (53, 54) if reached(lambda: ask(port))])
"""
ALL = "127.0.0.1:22 ::1:22 127.0.0.1:443 ::1:443 127.0.0.1:8443 ::1:8443 udp:53 udp:54"


class Net:
    """An executor in a network and a view of the cgroups of its own, with servers in it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        path = Path(f"/proc/{executor.pid}/cgroup").read_text().rpartition("0::")[2].strip()
        self.cgroup = path.removesuffix("/executor")
        self.file = executor.directory / "egress"

    def load(self, lines: str) -> subprocess.CompletedProcess[str]:
        """As rdagentd-egress.service does it."""
        self.file.write_text(lines)
        enter = ["nsenter", "--target", str(self.executor.pid), "--mount", "--net"]
        command = [sys.executable, "-m", "rdagentd", "egress", str(self.file), "--cgroup", self.cgroup]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=TIMEOUT)

    def reach(self, **request: Any) -> str:
        """What a run reaches."""
        end = self.executor.run(SYSTEM_PYTHON, "-c", TRY, **request)
        return self.executor.log().decode().splitlines()[-1] if end["kind"] == "code" else str(end["reason"])


@pytest.fixture
def net(idle: Executor) -> Iterator[Net]:
    if os.geteuid() != 0 or not shutil.which("nft", path="/usr/sbin"):
        pytest.skip("needs root and nftables: loads rules")
    cgroups.enforced()
    idle.prefix = ["unshare", "--mount", "--net", "sh", "-c", OWN_NETWORK, "sh"]
    executor = idle.start()
    executor.spawn(SYSTEM_PYTHON, "-c", SERVE, worker="server")
    lines_of(executor, 1, "server")
    yield Net(executor)


def test_a_run_connects_to_its_ports_and_to_no_others(net: Net) -> None:
    done = net.load("443\n22 443\n")
    assert (done.returncode, done.stdout) == (0, "in force: egress-22-443, egress-443\n"), done.stderr
    assert net.reach() == ALL
    assert net.reach(egress="egress-443") == "127.0.0.1:443 ::1:443 udp:53"
    assert net.reach(egress="egress-22-443") == "127.0.0.1:22 ::1:22 127.0.0.1:443 ::1:443 udp:53"
    most = [443, *range(60000, 60015)]
    net.load("443\n22 443\n" + " ".join(map(str, most)))
    assert net.reach(egress=class_of(most)) == "127.0.0.1:443 ::1:443 udp:53"
    box = ["--unshare-user", "--dev-bind", "/", "/"]
    who = {"uid": 65534, "gid": 65534, "groups": []}
    assert net.reach(egress="egress-443", sandbox=box, **who) == "127.0.0.1:443 ::1:443 udp:53"


def test_what_has_no_rules_does_not_start(net: Net) -> None:
    reason = net.reach(egress="egress-443")
    assert reason.startswith(
        "cannot start: egress: no rules are in force for egress-443; name the ports in /etc/rdagentd/egress"
    )
    assert net.load("443\n").returncode == 0
    assert net.reach(egress="egress-22") == reason.replace("443", "22")
    assert net.load("22\n").returncode == 0
    assert net.reach(egress="egress-443") == reason, "it is named no longer"
    assert net.reach(egress="egress-22") == "127.0.0.1:22 ::1:22 udp:53"


def test_rules_stay_for_who_runs_when_they_are_named_no_longer(net: Net) -> None:
    assert net.executor.client is not None
    net.load("443\n")
    fifo = net.executor.directory / "go"
    os.mkfifo(fifo)
    run = net.executor.spawn(SYSTEM_PYTHON, "-c", f"open({str(fifo)!r}).read()\n{TRY}", egress="egress-443")
    net.executor.client.wait("started", run=run)
    assert net.load("").stdout == "in force: no rules\n"
    fifo.write_text("")
    net.executor.client.wait("exited", run=run)
    assert net.executor.log() == b"127.0.0.1:443 ::1:443 udp:53\n"


def test_a_run_is_still_in_its_class_after_the_executor_replaced_itself(net: Net) -> None:
    executor = net.executor
    assert executor.client is not None
    net.load("443\n")
    run = executor.spawn("sleep", "1000", egress="egress-443")
    pid = executor.client.wait("started", run=run)["pid"]
    assert f"/egress-443/run-{run}" in Path(f"/proc/{pid}/cgroup").read_text()
    executor.client.send("reexec")
    assert executor.client.closed()
    executor.connect().ask("ping", "pong")
    assert executor.client is not None
    executor.client.send("kill", run=run)
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"
    left = Path(f"/proc/{executor.pid}/root/sys/fs/cgroup{net.cgroup}/egress-443")
    assert [path.name for path in left.iterdir() if path.is_dir()] == []


def test_without_cgroups_it_is_refused(idle: Executor) -> None:
    idle.prefix = cgroups.prefix("search")
    end = idle.start().run("true", egress="egress-443")
    assert (end["stage"], end["kind"]) == ("egress", "could_not_start")
    assert end["reason"].startswith("cannot start: egress: needs cgroups: ")
