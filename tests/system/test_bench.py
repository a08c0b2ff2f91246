"""The bench itself: what every scenario relies on."""

import pytest

from .conftest import excerpt
from .image import RELEASES, REPOSITORY_PACKAGES
from .machine import TIMED_OUT, Machine, MachineError

KIND = "bare"


def test_the_release_is_the_one_asked_for(machine: Machine, release: str) -> None:
    assert machine.check(". /etc/os-release; echo $VERSION_CODENAME").strip() == release
    systemd = RELEASES[release].rpartition(" ")[2]
    assert machine.check("systemctl --version").startswith(f"systemd {systemd} ")
    assert machine.check("uname --kernel-release").startswith("6.1.")


def test_systemd_is_running_and_nothing_failed(machine: Machine) -> None:
    state = machine.run("systemctl is-system-running --wait; systemctl --failed --no-legend", timeout=120)
    assert state.out == "running\n"


def test_cgroup_v2_is_mounted_with_the_controllers_that_limits_need(machine: Machine) -> None:
    assert machine.check("stat --file-system --format=%T /sys/fs/cgroup") == "cgroup2fs\n"
    controllers = machine.check("cat /sys/fs/cgroup/cgroup.controllers").split()
    assert {"cpu", "io", "memory", "pids"} <= set(controllers)


def test_a_command_tells_its_exit_code_and_its_output_in_order(machine: Machine) -> None:
    result = machine.run("echo one; echo two >&2; echo three; exit 7")
    assert (result.code, result.out) == (7, "one\ntwo\nthree\n")


def test_what_a_command_prints_arrives_byte_by_byte(machine: Machine) -> None:
    assert machine.check("printf 'a\\0b\\n\\n'") == "a\0b\n\n"
    assert machine.check("printf %20000s x").endswith(" x")
    assert machine.check(f"echo -n {'y' * 20000} ä") == "y" * 20000 + " ä"
    assert machine.check("true") == ""


def test_a_command_beyond_its_time_is_ended(machine: Machine) -> None:
    assert machine.run("sleep 600", timeout=1).code == TIMED_OUT


def test_a_command_that_must_succeed_raises_with_its_output(machine: Machine) -> None:
    with pytest.raises(MachineError, match=r"exit code 1\nls: cannot access '/nowhere'|exit code 2\nls: .*'/nowhere'"):
        machine.check("ls /nowhere")


def test_a_file_arrives_byte_by_byte(machine: Machine) -> None:
    content = bytes(range(256)) * 4096
    machine.put("/tmp/deep/er/content", content)
    assert machine.check("stat --format=%s /tmp/deep/er/content") == f"{len(content)}\n"
    assert machine.check("tail --bytes=256 /tmp/deep/er/content | od -An -v -tu1").split() == [
        str(n) for n in range(256)
    ]


def test_a_failed_scenario_shows_what_the_journal_got_since_its_start(machine: Machine) -> None:
    machine.check("systemd-cat --identifier=scenario echo before; journalctl --sync")
    since = machine.clock
    machine.check("systemd-cat --identifier=scenario echo afterwards; journalctl --sync")
    shown = excerpt(machine, since)
    assert "afterwards" in shown
    assert "before" not in shown


def test_the_repository_in_the_image_offers_the_dependencies_and_nothing_of_them_is_there(machine: Machine) -> None:
    assert machine.run("command -v python3").code == 1
    named = [name for name in REPOSITORY_PACKAGES.split() if name.startswith("python3-")]
    policy = machine.check(f"apt-get -q=2 update && apt-cache policy {' '.join(named)}")
    assert policy.count("Installed: (none)") == policy.count("file:/srv/repository") == len(named) >= 9


@pytest.mark.parametrize("crash", [False, True], ids=["orderly", "power cut"])
def test_a_reboot_keeps_the_disk_and_changes_the_boot_id(machine: Machine, crash: bool) -> None:
    before = machine.boot_id
    machine.put("/root/kept", b"on disk")
    machine.check("sync")
    machine.reboot(crash=crash)
    assert machine.boot_id != before
    assert machine.check("cat /root/kept; cat /proc/sys/kernel/random/boot_id") == f"on disk{machine.boot_id}\n"
