"""What people ask for, as bwrap takes it."""

from __future__ import annotations

import subprocess

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.drivers.identity import Identity
from rdagentd.drivers.process import spawn_message
from rdagentd.drivers.sandbox import sandbox
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from tests.config.strategies import PATHS

HOME = {"HOME": "/home/me"}
STRICT = Isolation(Preset.STRICT, **PRESETS[Preset.STRICT])


def options(isolation: Isolation, environment: dict[str, str] = HOME, directories: tuple[str, ...] = ()) -> str:
    return " ".join(sandbox(isolation, environment, directories, "r-1"))


@pytest.mark.parametrize(
    ("isolation", "asked"),
    [
        (Isolation(no_new_privileges=True), ""),
        (Isolation(network=False), " --unshare-net"),
        (Isolation(hidden_home=True), " --perms 755 --tmpfs /home --perms 755 --tmpfs /root --dir /home/me"),
        (Isolation(private_tmp=True),
         " --perms 1777 --tmpfs /tmp --perms 1777 --tmpfs /var/tmp --perms 1777 --tmpfs /dev/shm --unshare-ipc"),
        (Isolation(hidden_run=True, network=False), " --perms 755 --tmpfs /run --unshare-net"),
        (Isolation(network=False, read_only=("/a b", "/c")), " --unshare-net --ro-bind /a b /a b --ro-bind /c /c"),
        (Isolation(network=False, read_write=("/d",)), " --unshare-net --bind /d /d"),
    ],
)  # fmt: skip
def test_each_field_has_its_options_on_the_hosts_own_root(isolation: Isolation, asked: str) -> None:
    assert options(isolation) == f"--unshare-user --dev-bind / /{asked}"


def test_nothing_asked_is_no_sandbox_even_with_directories_of_its_own() -> None:
    assert sandbox(Isolation(), HOME, ("/data",), "r-1") == []


def test_a_read_only_system_is_a_root_of_its_own_that_nothing_can_change() -> None:
    said = options(Isolation(read_only_system=True))
    assert "--dev-bind / /" not in said
    assert "--ro-bind-try /usr /usr" in said and "--ro-bind-try /home /home" in said and "--ro-bind /run /run" in said
    assert "--bind / /" not in said


def test_names_are_resolved_where_there_is_a_network() -> None:
    assert "/run/systemd/resolve" in options(attrs.evolve(STRICT, network=True))
    assert "/run/systemd/resolve" not in options(STRICT)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("unix:///run/rdagentd-docker/r-1/docker.sock", "--bind-try /run/rdagentd-docker/r-1 /run/rdagentd-docker/r-1"),
        ("/run/x/r-1/notify", "--bind-try /run/x/r-1 /run/x/r-1"),
        ("unix:///run/docker.sock", ""), ("/run/x/r-2/notify", ""), ("tcp://r-1/", ""), ("", ""),
    ],
)  # fmt: skip
def test_sockets_that_are_for_this_run_alone_are_there(value: str, seen: str) -> None:
    without = options(STRICT)
    said = options(STRICT, {**HOME, "DOCKER_HOST": value})
    assert said == (f"{without} {seen}" if seen else without)


@given(
    st.lists(PATHS, max_size=3), st.lists(PATHS, max_size=3), st.sets(st.sampled_from(sorted(PRESETS[Preset.STRICT])))
)
def test_what_is_allowed_comes_after_all_that_hides(readable: list[str], writable: list[str], chosen: set[str]) -> None:
    flags = {key: PRESETS[Preset.STRICT][key] for key in chosen}
    isolation = Isolation(**flags, read_only=tuple(readable), read_write=tuple(writable))
    words = sandbox(isolation, HOME, (), "r-1")
    count = len({*readable, *writable})
    allowed = list(zip(*[iter(words[len(words) - 3 * count :])] * 3, strict=True))
    assert {(option, path) for option, path, again in allowed if path == again} == {
        *(("--bind", path) for path in writable),
        *(("--ro-bind", path) for path in readable if path not in writable),
    }


def test_the_nearest_of_two_allowed_paths_counts() -> None:
    isolation = Isolation(network=False, read_only=("/p/.git", "/p-q"), read_write=("/p", "/p/.git/tmp"))
    said = options(isolation).partition("--unshare-net ")[2]
    assert said == "--bind /p /p --ro-bind /p/.git /p/.git --bind /p/.git/tmp /p/.git/tmp --ro-bind /p-q /p-q"


def test_every_option_is_one_that_bwrap_knows() -> None:
    try:
        known = subprocess.run(["bwrap", "--help"], check=True, capture_output=True, text=True).stdout.split()
    except FileNotFoundError:
        pytest.skip("needs bubblewrap")
    said = sandbox(attrs.evolve(STRICT, read_only=("/a",), read_write=("/b",)), HOME, ("/c",), "r-1")
    assert {word for word in said if word.startswith("--")} <= set(known)


def test_ports_make_a_class_of_egress_and_a_sandbox_for_who_would_leave_it() -> None:
    isolation = Isolation(hidden_run=True, egress=(22, 443), no_new_privileges=True)
    spec = Spec("w", ("true",), isolation=isolation)
    sent = spawn_message(Worker("w", spec, 0, run=Run("r-1", "w", 1)), Identity(None, None, None, HOME))
    assert (sent["egress"], sent["sandbox"][0]) == ("egress-22-443", "--unshare-user")
    assert "egress" not in spawn_message(
        Worker("w", Spec("w", ("true",)), 0, run=Run("r", "w", 1)), Identity(None, None, None, {})
    )
