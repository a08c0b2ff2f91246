"""Another version of the package over the running one, up, down and up again. One machine's life, in this order."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .counter import COUNTER, PATIENT
from .machine import Machine

NEWER = "99.0.0"
WORKERS = 20
DROP_INS = "/run/systemd/system/rdagentd.service.d"

ROOT = Path(__file__).parents[2]
CHANGES = (
    ("pyproject.toml", r'^version = ".*"$', f'version = "{NEWER}"'),
    ("rdagentd/__init__.py", r'^__version__ = ".*"$', f'__version__ = "{NEWER}"'),
    ("packaging/deb/debian/changelog", r"\Ardagentd \(.*?\)", f"rdagentd ({NEWER})"),
    (
        "rdagentd/store/schema.py",
        r"\n\)\n\nVERSION = ",
        '\n    ("CREATE TABLE newer (key TEXT) STRICT",),\n)\n\nVERSION = ',
    ),
)


@pytest.fixture(scope="session")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .deb of a version to come: these very files, with the version raised and one more migration of the database."""
    source = tmp_path_factory.mktemp("newer")
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(
        ["cp", "--parents", "--target-directory", source, *known.decode().split("\0")[:-1]], cwd=ROOT, check=True
    )
    for name, pattern, text in CHANGES:
        file = source / name
        changed, times = re.subn(pattern, text, file.read_text(), flags=re.MULTILINE)
        assert times == 1, name
        file.write_text(changed)
    for words in (["init", "--quiet"], ["add", "--all", "--force"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    built = subprocess.run(
        [source / "packaging/deb/build", tmp_path_factory.mktemp("deb")], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(built.stdout.splitlines()[-1])


@pytest.fixture(scope="module", autouse=True)
def installed(machine: Machine, package: Path, newer: Path) -> None:
    """Both packages at hand, this one installed, and workers under way: counters, and two that end on demand."""
    for file in (package, newer):
        machine.put(f"/root/{file.name}", file.read_bytes())
    machine.check("apt-get -q=2 update")
    install(machine, package)
    machine.check("useradd --create-home --groups rdagentd member")
    spec = f'command = {json.dumps(["bash", "-c", COUNTER])}\ndirectory = "/"\nrestart = "never"\nstop = {{ grace = "5m" }}\n'
    workers = "".join(f"[worker.counter-{number}]\n{spec}" for number in range(1, WORKERS + 1))
    machine.put("/tmp/counters.toml", workers.encode())
    machine.check("runuser -u member -- rdagentctl apply /tmp/counters.toml", timeout=120)
    machine.check("rdagentctl wait 'counter-*' --for running --timeout 8m", timeout=300)


def install(machine: Machine, package: Path, *options: str) -> None:
    """What a person types."""
    machine.check(f"apt-get -q=2 --yes {' '.join(options)} install /root/{package.name}", timeout=600)


def submit(name: str) -> str:
    """The beginning of the command line, up to the worker's own."""
    return f"runuser -u member -- rdagentctl submit --directory / --restart never --name {name}"


def asked(machine: Machine, command: str) -> Any:
    """What rdagentctl answers in JSON."""
    return json.loads(machine.check(f"rdagentctl {command} --json || test $? = 3"))


def runs(machine: Machine) -> dict[str, Any]:
    """Which run each counter is at, and as which process."""
    return {
        row["name"]: (row["state"], row["run"]["id"], row["run"]["pid"]) for row in asked(machine, "status 'counter-*'")
    }


def counts(machine: Machine) -> dict[str, int]:
    """How far each counter has come. There is no gap in its log, and nothing twice."""
    said = machine.output(*(f"counter-{number}" for number in range(1, WORKERS + 1)))
    found = {name: [int(line) for line in text.split()] for name, text in said.items()}
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in found.values())
    return {name: len(numbers) for name, numbers in found.items()}


def counts_on(machine: Machine, name: str) -> None:
    """Returns once the counter has printed more."""
    machine.check(f"rdagentctl logs {name} --tail 0 --follow | head -1 | grep --quiet .", timeout=60)


def executor(machine: Machine) -> str:
    """The pid of the executor's main process."""
    return machine.check("systemctl show --property=MainPID --value rdagentd-executor").strip()


def when(machine: Machine, what: str) -> float:
    """A time that systemd keeps of the daemon's unit, in seconds since the epoch."""
    shown = machine.check(
        f'date --date="$(systemctl show --timestamp=us+utc --property={what} --value rdagentd)" +%s.%N'
    )
    return float(shown)


def end_with_the_daemon(machine: Machine, **scripts: str) -> list[int]:
    """Workers that end as soon as the daemon which runs now has ended, noticed by nobody but the executor. Their processes."""
    pid = machine.check("systemctl show --property=MainPID --value rdagentd").strip()
    waits = f"{PATIENT}; while [ -e /proc/{pid} ]; do read -rt 0.05 <&8; done"
    for name, script in scripts.items():
        machine.check(f"{submit(name)} -- bash -c {shlex.quote(f'{waits}; {script}')}")
    return [row["run"]["pid"] for row in machine.wait(*scripts, until="running")]


@pytest.fixture
def clients(machine: Machine) -> Callable[[], str]:
    """A client that asks again and again meanwhile; gives what it was answered that was no answer."""
    machine.check(
        "rm -f /run/enough /run/complaints /run/asked; (while [ ! -e /run/enough ]; do"
        '  rdagentctl status >/run/answer 2>&1 || { echo "exit code $?"; cat /run/answer; } >>/run/complaints;'
        "  echo asked >>/run/asked; sleep 0.3;"
        "done; touch /run/left) >/dev/null 2>&1 </dev/null &"
    )

    def complaints() -> str:
        machine.check(
            "touch /run/enough; until [ -e /run/left ]; do sleep 0.2; done; test $(wc -l </run/asked) -gt 3",
            timeout=120,
        )
        return machine.run("cat /run/complaints 2>/dev/null").out

    return complaints


def test_an_upgrade_leaves_twenty_workers_alone(machine: Machine, newer: Path, clients: Callable[[], str]) -> None:
    pids = end_with_the_daemon(machine, coded="exit 7", killed="kill -KILL $$")
    # However long they stand still: the next daemon does not begin before they have ended.
    gone = f"for pid in {' '.join(map(str, pids))}; do while [ -e /proc/$$pid ]; do sleep 0.1; done; done"
    machine.put(f"{DROP_INS}/bench.conf", f"[Service]\nExecStartPre=+/bin/sh -c '{gone}'\n".encode())
    machine.check("systemctl daemon-reload", timeout=120)
    before, parent = runs(machine), executor(machine)
    assert len(before) == WORKERS and {state for state, _, _ in before.values()} == {"running"}
    install(machine, newer)
    machine.check(f"rm -r {DROP_INS}; systemctl daemon-reload", timeout=120)
    assert clients() == ""
    machine.check("until rdagentctl version --json | grep --quiet '\"executor\": *{'; do sleep 0.5; done", timeout=120)
    assert runs(machine) == before
    told = asked(machine, "version")
    assert (told["version"], told["executor"]) == (NEWER, {"version": NEWER, "pid": int(parent)})
    assert executor(machine) == parent
    assert all(counts(machine).values())
    counts_on(machine, f"counter-{WORKERS}")


def test_exits_between_the_old_daemon_and_the_new_one_are_known(machine: Machine) -> None:
    machine.check("rdagentctl wait coded killed --timeout 4m || true", timeout=90)
    ends = {row["name"]: row for row in asked(machine, "status coded killed")}
    assert ends["coded"]["exit"]["code"] == 7
    assert ends["killed"]["exit"]["signal"] == "SIGKILL"
    ready = when(machine, "ActiveEnterTimestamp")
    assert [name for name, row in ends.items() if row["run"]["ended_at"] > ready] == []


def test_the_state_database_is_migrated(machine: Machine) -> None:
    assert asked(machine, "version")["schema"] == 2
    query = "import sqlite3; print(*sqlite3.connect('/var/lib/rdagentd/state.db').execute('SELECT 1 + count(*) FROM newer'))"
    assert machine.check(f'python3 -c "{query}"') == "(1,)\n"


def test_a_downgrade_is_refused_with_a_sentence_and_loses_nothing(machine: Machine, package: Path, newer: Path) -> None:
    before, parent = runs(machine), executor(machine)
    end_with_the_daemon(machine, meanwhile="exit 9")
    install(machine, package, "--allow-downgrades")
    shown = machine.run("systemctl status --no-pager --full rdagentd").out
    assert "it has schema 2, and this rdagentd knows those up to 1; install the newer rdagentd again" in shown
    assert machine.check("systemctl show --property=ActiveState,ExecMainStatus,NRestarts rdagentd").split() == [
        "NRestarts=0", "ExecMainStatus=78", "ActiveState=failed",
    ]  # fmt: skip
    machine.check(" && ".join(f"test -d /proc/{pid}" for _, _, pid in before.values()))
    refused = machine.run("rdagentctl status")
    assert (refused.code, "systemctl start rdagentd" in refused.out) == (69, True)
    assert machine.run("systemctl start rdagentd", timeout=120).code != 0
    install(machine, newer)
    machine.check("systemctl is-active rdagentd rdagentd-executor rdagentd.socket")
    assert (runs(machine), executor(machine)) == (before, parent)
    assert machine.run("rdagentctl wait meanwhile --timeout 4m", timeout=90).code == 9
    assert all(counts(machine).values())
    counts_on(machine, "counter-1")


def test_stop_still_ends_all_of_them(machine: Machine) -> None:
    machine.check("systemctl stop rdagentd", timeout=300)
    assert machine.run("pgrep --list-full --euid member").out == ""
    machine.check(
        f"tail --lines=1 --quiet /var/log/rdagentd/counter-*/out/*.log | grep --count ended | grep --line-regexp {WORKERS}"
    )
