"""A host that runs out of everything: disk, a state directory that can be written, tmpfs, descriptors.

One machine's life, in this order; each scenario leaves the host as it was.
"""

import json
import shlex
from typing import Any

import pytest

from .counter import COUNTER
from .machine import Machine

INSTALLED = True

# It writes enough to fill what is left of a block within seconds.
WRITER = COUNTER.replace("echo $n", "printf '%01000d\\n' $n")

# Takes all but so many percent of the disk's blocks from everybody but root, or (0) from root too. The disk is sparse: no I/O.
FILL = """
fill() {
    fallocate --length $(($(stat --file-system --format='%a*%S - %b*%S*'$1/100 /var))) /var/ballast || true
    if [ $1 = 0 ]; then
        fallocate --length $(($(stat --file-system --format='%f*%S' /var))) /var/ballast-of-root || true
        while dd if=/dev/zero bs=4k count=1000 oflag=append conv=notrunc of=/var/ballast-last; do :; done 2>/dev/null
    fi
}
"""
FULL = "cannot write to the state database: database or disk is full"
CANNOT_OPEN = "cannot open the state database /var/lib/rdagentd/state.db"

# Makes files immutable, or no longer: as on a file system that turned read-only, which cannot be done to one in use. See
# ioctl_iflags(2); trixie's minbase has no chattr.
IMMUTABLE = """
import fcntl, struct, sys
for path in ("/var/lib/rdagentd/state.db", "/var/lib/rdagentd/state.db-wal"):
    with open(path) as file:
        flags = struct.unpack("i", fcntl.ioctl(file, 0x80086601, bytes(4)))[0]
        fcntl.ioctl(file, 0x40086602, struct.pack("i", flags & ~0x10 if sys.argv[1] == "yes" else flags | 0x10))
"""

# Clients that connect and say nothing, until the file is gone.
HOLD = """
import os, resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
held = []
for _ in range(400):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect("/run/rdagentd/rdagentd.sock")
open("/tmp/held", "w").close()
while os.path.exists("/tmp/held"):
    time.sleep(0.2)
"""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """A person, and a worker that counts."""
    machine.check("useradd --create-home --groups rdagentd member")
    words = ["rdagentctl", "submit", "--directory", "/", "--name", "counter", "--restart", "always", "--delay", "0"]
    machine.check("runuser -u member -- " + shlex.join([*words, "--", "bash", "-c", WRITER]))
    running(machine)


def running(machine: Machine) -> dict[str, Any]:
    """The counter's run, once it is under way."""
    found: dict[str, Any] = machine.wait("counter", until="running")[0]["run"]
    return found


def ask(machine: Machine, name: str) -> tuple[int, str]:
    """Submit a short run as the member: exit code and what was said."""
    result = machine.run(f"runuser -u member -- rdagentctl submit --directory / --name {name} -- true", timeout=120)
    return result.code, result.out


def ends(machine: Machine, name: str) -> None:
    """A short run can be submitted and ends well."""
    assert ask(machine, name)[0] == 0
    machine.check(f"rdagentctl wait {name} --timeout 4m", timeout=90)


def stops(machine: Machine) -> None:
    """`systemctl stop` ends all."""
    machine.check("systemctl stop rdagentd", timeout=180)
    assert machine.run("pgrep --list-full --euid member").out == ""
    machine.check(
        "while systemctl is-active rdagentd-executor | grep --quiet '^active\\|^deactivating'; do sleep 0.2; done"
    )  # it leaves beside it
    assert machine.run("systemctl is-active rdagentd rdagentd-executor").out.split() == ["inactive", "inactive"]


def comes_back(machine: Machine) -> None:
    """The daemon starts, and the counter runs. An attempt of systemd's that began before the remedy may fail yet."""
    machine.check("until systemctl reset-failed rdagentd; systemctl start rdagentd; do sleep 1; done", timeout=180)
    running(machine)


def writable(machine: Machine, wish: str) -> None:
    """Let the state database be written ("yes") or not ("no")."""
    machine.check(f"python3 -c {shlex.quote(IMMUTABLE)} {wish}")


def fails_to_start(machine: Machine) -> str:
    """What the journal says about a start that fails."""
    since = machine.clock
    assert machine.run("systemctl start rdagentd", timeout=180).code == 1
    return machine.journal("rdagentd", since)


def test_with_five_percent_of_the_disk_left_all_goes_on(machine: Machine) -> None:
    before = running(machine)
    machine.check(f"{FILL} fill 5; systemctl reload rdagentd && systemctl restart rdagentd", timeout=180)
    assert running(machine)["id"] == before["id"]
    ends(machine, "five-percent")
    stops(machine)
    comes_back(machine)
    machine.check("rm /var/ballast*")


def test_on_a_full_disk_submit_is_refused_in_words_and_what_runs_goes_on(machine: Machine) -> None:
    before = running(machine)
    machine.check(f"{FILL} fill 0", timeout=120)
    code, said = ask(machine, "no-room")
    assert (code, FULL in said) == (69, True)
    assert FULL in machine.run("rdagentctl ping", timeout=120).out
    machine.check("systemctl reload rdagentd", timeout=120)
    assert running(machine) == before


def test_the_log_counts_what_a_full_disk_took_and_goes_on_when_there_is_room(machine: Machine) -> None:
    before = running(machine)
    size = "$(cat /var/log/rdagentd/counter/out/*.log | wc --bytes)"
    machine.check(f'until [ {size} = "$before" ]; do before={size}; sleep 3; done', timeout=120)
    machine.check(
        "rm /var/ballast*; while ! rdagentctl logs counter | grep -q 'bytes dropped'; do sleep 0.2; done", timeout=120
    )
    assert "bytes dropped: no space left on device]" in machine.check("rdagentctl logs counter")
    machine.check("while rdagentctl ping 2>&1 | grep -q 'cannot '; do sleep 0.2; done", timeout=60)
    ends(machine, "room-again")
    assert running(machine) == before


def test_stop_ends_all_on_a_full_disk_and_a_start_says_what_is_missing(machine: Machine) -> None:
    machine.check(f"{FILL} fill 0", timeout=120)
    ask(machine, "no-room")  # it is known now that nothing can be kept
    stops(machine)
    assert CANNOT_OPEN in fails_to_start(machine)
    machine.check("rm /var/ballast*")
    comes_back(machine)


def test_a_state_directory_that_turns_read_only_is_told_and_recovers_without_a_restart(machine: Machine) -> None:
    before, daemon = running(machine), machine.check("systemctl show --property=MainPID rdagentd")
    writable(machine, "no")
    code, said = ask(machine, "read-only")
    assert (code, "cannot write to the state database" in said) == (69, True)
    assert machine.run("systemctl reload rdagentd", timeout=120).code == 0  # nothing changed, so nothing is to be kept
    assert running(machine) == before
    writable(machine, "yes")
    machine.check("while rdagentctl ping 2>&1 | grep -q 'cannot '; do sleep 0.2; done", timeout=60)
    ends(machine, "writable-again")
    assert machine.check("systemctl show --property=MainPID rdagentd") == daemon
    writable(machine, "no")
    ask(machine, "read-only")
    stops(machine)
    writable(machine, "yes")


def test_a_start_with_a_read_only_var_lib_says_so_and_loses_nothing(machine: Machine) -> None:
    machine.check("mount --bind /var/lib /var/lib && mount -o remount,bind,ro /var/lib")
    said = fails_to_start(machine)
    assert "cannot use state directory /var/lib/rdagentd: Read-only file system" in said
    assert "Traceback" not in said
    machine.check("umount --lazy /var/lib; systemctl reset-failed rdagentd-executor")
    comes_back(machine)
    machine.check("rdagentctl show writable-again room-again five-percent")


def test_all_works_with_a_full_tmpfs(machine: Machine) -> None:
    before = running(machine)
    machine.check(
        "mount -t tmpfs -o size=1M,mode=1777 full /tmp; for at in /tmp /run; do"
        " fallocate --length $(($(stat --file-system --format='%f*%S' $at))) $at/ballast;"
        " dd if=/dev/zero of=$at/ballast-last bs=4k 2>/dev/null; done; ! echo text >/run/text"
    )
    ends(machine, "full-tmpfs")
    machine.check("systemctl reload rdagentd && systemctl restart rdagentd", timeout=180)
    assert running(machine)["id"] == before["id"]
    stops(machine)
    comes_back(machine)
    machine.check("umount --lazy /tmp; rm -f /run/ballast* /run/text")


def test_with_256_descriptors_clients_are_refused_in_words_and_workers_run(machine: Machine) -> None:
    for unit in ("rdagentd", "rdagentd-executor"):
        machine.put(f"/run/systemd/system/{unit}.service.d/files.conf", b"[Service]\nLimitNOFILE=256\n")
    machine.check("systemctl daemon-reload; systemctl stop rdagentd; systemctl start rdagentd", timeout=240)
    before = running(machine)
    machine.put("/srv/hold.py", HOLD.encode())
    machine.check(
        "runuser -u member -- python3 /srv/hold.py >/dev/null 2>&1 & while [ ! -e /tmp/held ]; do sleep 0.2; done"
    )
    refused = machine.run("rdagentctl status", timeout=120)
    assert (refused.code != 0, "cannot serve: 128 clients are connected; try again later" in refused.out) == (
        True,
        True,
    )
    reload = machine.run("systemctl reload rdagentd", timeout=120)
    assert reload.code == 1
    machine.check("rm /tmp/held; while ! rdagentctl ping; do sleep 0.5; done", timeout=120)
    assert running(machine) == before
    assert machine.check("systemctl show --property=NRestarts --value rdagentd rdagentd-executor").split() == ["0", "0"]


def test_with_256_descriptors_so_many_workers_run_and_the_next_is_refused_in_words(machine: Machine) -> None:
    machine.check(
        "for n in $(seq 1 260); do echo '[worker.many-'$n']'; echo 'command = [\"sleep\", \"1000\"]'; done >/root/many.toml;"
        "cp /root/many.toml /tmp/many.toml; runuser -u member -- rdagentctl apply /tmp/many.toml >/dev/null",
        timeout=240,
    )
    machine.run("rdagentctl wait 'many-*' --for running --timeout 20m", timeout=330)
    rows = json.loads(machine.run("rdagentctl status --json 'many-*'").out)
    refused = [row["exit"]["reason"] for row in rows if row["state"] != "running"]
    assert 0 < len(refused) < 190  # each run has two of the executor's: its output, and its side channel
    assert {reason for reason in refused if "too many open files" not in reason.lower()} == set()
    machine.check("systemctl restart rdagentd", timeout=180)
    running(machine)
    stops(machine)
    machine.check("rm -r /run/systemd/system/rdagentd*.service.d; systemctl daemon-reload")
    comes_back(machine)
