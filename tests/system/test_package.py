"""The package as apt and an administrator see it, from before its installation until after its purge. In this order."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from .machine import Machine

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "packaging" / "deb" / "debian"

# What a purge may leave, and why. Paths as regular expressions, matched in full.
LEFT = {
    r"/etc/(passwd|shadow|group|gshadow)-?": "the user and the groups stay, by Debian's habit: files elsewhere may be theirs",
    r"/etc/\.pwd\.lock": "the lock of those who write the above",
    r"/var/(cache|lib|log)/apt/.*": "apt's own record",
    r"/var/(lib/dpkg/.*|log/dpkg\.log|log/alternatives\.log)": "dpkg's own record",
    r"/var/cache/debconf/(config|templates|passwords)\.dat(-old)?": "debconf's own record, of which the question is gone",
    r"/var/cache/debconf/tmp\.ci": "where apt unpacks the questions of packages; empty",
    r"/var/cache/man/.*": "man's own cache of the pages that it showed here",
    r"/var/cache/ldconfig/aux-cache": "libc's own record",
    r"/var/log/journal/.*": "the journal",
    r"/var/tmp/systemd-private-.*": "private directories of other services",
    r"/run/(systemd|udev|log|lock|dbus|user|sudo|utmp)(/.*)?": "systemd's own record of this boot",
}

# Everything but what is no file of the disk, and but this test's own; contents count where people configure.
LISTING = r"""
find / -xdev \( -path /tmp -o -path /root -o -path /home \) -prune -o -printf '%p|%y %m %U:%G %l\n'
find /run -xdev -printf '%p|%y %m %U:%G %l\n'
find /etc -type f -exec sha256sum {} + | sed -E 's/^(\S+)  (.*)$/\2|\1/'
"""

# A person at a terminal, who answers debconf's question when it is there.
TERMINAL = r"""
mkfifo /tmp/answers; exec 9<>/tmp/answers
script --quiet --return --flush --command 'DEBIAN_FRONTEND=readline apt-get -q=2 --yes purge rdagentd' /tmp/screen \
    <&9 &>/dev/null &
until grep --quiet 'yes/no' /tmp/screen; do kill -0 $! || exit; sleep 0.2; done
echo no >&9
wait $! && cat /tmp/screen
"""

LOADED = {
    "bash": '. /usr/share/bash-completion/bash_completion; $(complete -p -D | sed "s/.* -F \\([^ ]*\\).*/\\1/") rdagentctl;'
    "complete -p rdagentctl",
    "zsh": "autoload -Uz compinit; compinit -u -D; print $_comps[rdagentctl]",
    "fish": "complete --do-complete 'rdagentctl sto'",
}


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package rebuilt as a higher version, whose conffiles have another line."""
    tree = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree / "tree"], check=True)
    control = tree / "tree" / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+newer", control.read_text()))
    for conffile in ("rdagentd.toml", "executor.toml"):
        with (tree / "tree" / "etc" / "rdagentd" / conffile).open("a") as file:
            file.write("# The package's new line.\n")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree / "tree", tree / "newer.deb"], check=True)
    return tree / "newer.deb"


@pytest.fixture(scope="module", autouse=True)
def before(machine: Machine, package: Path, newer: Path) -> set[str]:
    """The packages are at hand; how the machine is without them."""
    machine.put("/root/rdagentd.deb", package.read_bytes())
    machine.put("/root/newer.deb", newer.read_bytes())
    machine.check("apt-get -q=2 update; useradd --create-home --groups users member")
    return listing(machine)


def listing(machine: Machine) -> set[str]:
    """Every file of the machine with its type, mode, owner and target."""
    return set(machine.check(LISTING, timeout=120).splitlines())


def apt(machine: Machine, what: str) -> str:
    """Have apt-get do something; what it printed."""
    return machine.check(f"apt-get -q=2 --yes {what}", timeout=300)


def known(machine: Machine) -> list[str]:
    """Names of the workers that the daemon knows."""
    return [row["name"] for row in json.loads(machine.check("rdagentctl status --json"))]


def test_every_file_is_installed_as_it_was_built(machine: Machine) -> None:
    apt(machine, "install /root/rdagentd.deb")
    machine.check("systemctl is-active rdagentd.service rdagentd.socket rdagentd-executor.service")
    assert machine.check("dpkg --verify rdagentd; dpkg --audit") == ""
    assert machine.check("dpkg-query --listfiles rdagentd | grep --max-count=1 ^/lib || true") == ""
    machine.check("test -r /usr/share/rdagentd/profiles/rd-agent.toml")


@pytest.mark.parametrize("page", ["rdagentd.8", "rdagentctl.1", "rdagentd.toml.5", "rdagentd-worker.5"])
def test_man_shows_the_page(machine: Machine, page: str) -> None:
    name, _, section = page.rpartition(".")
    shown = machine.check(f"man --warnings {section} {name} 2>/tmp/warnings")
    assert f"{name.upper()}({section})" in shown
    assert "SEE ALSO" in shown
    assert machine.check("cat /tmp/warnings") == ""


@pytest.mark.parametrize("shell", list(LOADED))
def test_the_shell_loads_the_completion(machine: Machine, shell: str) -> None:
    machine.put("/tmp/completion", LOADED[shell].encode())
    assert re.search(r"rdagentctl|^stop\b", machine.check(f"{shell} /tmp/completion"))


def test_an_upgrade_keeps_what_the_administrator_changed_and_brings_the_rest(machine: Machine) -> None:
    machine.check("echo '# My own line.' >>/etc/rdagentd/rdagentd.toml")
    machine.check(
        "rdagentctl run --name kept --user member --directory / -- sh -c 'echo was here'; rdagentctl wait kept",
        timeout=120,
    )
    apt(machine, "-o Dpkg::Options::=--force-confold install /root/newer.deb")
    assert machine.check("tail --lines=1 /etc/rdagentd/rdagentd.toml") == "# My own line.\n"
    assert machine.check("tail --lines=1 /etc/rdagentd/rdagentd.toml.dpkg-dist") == "# The package's new line.\n"
    assert machine.check("tail --lines=1 /etc/rdagentd/executor.toml") == "# The package's new line.\n"
    assert known(machine) == ["kept"]


def test_a_reinstallation_after_remove_goes_on_with_its_workers(machine: Machine) -> None:
    apt(machine, "remove rdagentd")
    assert machine.run("pgrep --full rdagentd; systemctl list-units --no-legend 'rdagentd*'").out == ""
    machine.check("test -e /var/lib/rdagentd/state.db -a -d /var/log/rdagentd/kept -a -e /etc/rdagentd/executor.toml")
    apt(machine, "install /root/newer.deb")
    assert known(machine) == ["kept"]
    assert machine.check("rdagentctl logs kept") == "was here\n"
    assert machine.check("tail --lines=1 /etc/rdagentd/rdagentd.toml") == "# My own line.\n"


def test_purge_asks_and_whoever_says_no_keeps_the_workers(machine: Machine) -> None:
    machine.check("echo '# Added.' >/etc/rdagentd/conf.d/mine.toml")
    assert "Remove the state, history and logs of all workers too?" in machine.check(TERMINAL, timeout=300)
    machine.check(
        "test -e /var/lib/rdagentd/state.db -a -d /var/log/rdagentd/kept -a -e /etc/rdagentd/conf.d/mine.toml"
    )
    assert machine.run("ls /etc/rdagentd/*.toml* /run/rdagentd /usr/share/rdagentd 2>/dev/null").out == ""
    apt(machine, "install /root/rdagentd.deb")
    assert known(machine) == ["kept"]


def test_purge_without_an_answer_leaves_nothing(machine: Machine, before: set[str]) -> None:
    removed = apt(machine, "purge rdagentd")
    assert "warning" not in removed
    differs = {line.partition("|")[0] for line in before ^ listing(machine)}
    assert sorted(path for path in differs if not any(re.fullmatch(rule, path) for rule in LEFT)) == []
    assert (
        machine.check("dpkg --audit; systemctl list-unit-files --no-legend 'rdagentd*'; systemctl --failed --no-legend")
        == ""
    )
    assert machine.run("grep --files-with-matches rdagentd /var/cache/debconf/*.dat").out == ""
    machine.check("getent passwd rdagentd && getent group rdagentd rdagentd-admin")


def test_the_smoke_test_passes_under_autopkgtest(machine: Machine) -> None:
    source = subprocess.run(
        ["tar", "--create", "--directory", DEBIAN.parent, "debian"], check=True, stdout=subprocess.PIPE
    )
    machine.put("/root/source/tree.tar", source.stdout)
    machine.check("cd /root/source && tar --extract --file tree.tar && rm tree.tar")
    # The machine is one of its own, which its server cannot know.
    tried = machine.run(
        "autopkgtest --ignore-restrictions=isolation-machine /root/rdagentd.deb /root/source/ -- null", timeout=600
    )
    assert re.search(r"(?m)^smoke +PASS$", tried.out), tried.out
    assert tried.code == 0


def test_purge_works_where_debconf_is_gone_already(machine: Machine) -> None:
    apt(machine, "remove rdagentd")
    machine.check("mv /usr/share/debconf /usr/share/debconf.gone")
    try:
        machine.check("dpkg --purge rdagentd", timeout=120)
    finally:
        machine.check("mv /usr/share/debconf.gone /usr/share/debconf")
    assert machine.run("ls -d /var/lib/rdagentd* /var/log/rdagentd /etc/rdagentd 2>/dev/null").out == ""
