"""The daemon restarts and dies, executor, journald and dbus too, the clock jumps. One machine's life, in this order."""

import json
import os
import random
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.harness import eventually

from .counter import COUNTER
from .machine import Machine

INSTALLED = True

KILLS = 20
LONG = ("long-1", "long-2", "long-3")
DAY = 86400
HOUR = 3600
TIMER = 60  # seconds

FEW = r"(\d+ min( \d+ s)?|[\d.]+ m?s)"  # not a day, nor an hour
SAID_MEANWHILE = (
    rf"limited is running for {FEW} as process .*; its time limit comes in {FEW}",
    rf"again waits to be restarted: exited with code 1; restarts after .*; that is in {FEW}",
    rf"slow is stopping: .* SIGTERM sent, SIGKILL to its whole tree follows in {FEW}",
    r"limited +running +(\d+m)?\d+s ",
)

# The lock shows whether a second one of it ran.
ALONE = f"exec 9>/tmp/lock-$0; flock --nonblock 9 || {{ echo doubled; exit 99; }}; {COUNTER}"

# What is asked of a daemon that dies again and again: short runs; one worker stopped and started. It prints what was answered.
# A stop or start without an answer is asked for again: either is harmless twice.
LOAD = """
import os, time
from rdagentctl.client import Client

def answered(op, **args):
    try:
        Client("/run/rdagentd/rdagentd.sock").call(op, args)
    except Exception:
        return False
    return True

number = 0
while not os.path.exists("/tmp/enough"):
    number += 1
    command = ["sh", "-c", f"echo once; exit {number % 5}"]
    spec = {"name": f"short-{number}", "command": command, "directory": "/", "restart": {"policy": "never"}}
    if answered("submit", spec=spec):
        print(spec["name"], flush=True)
    for op in ("stop", "start"):
        while not answered(op, select={"names": ["toggled"]}):
            time.sleep(0.1)
    time.sleep(0.5)
"""

# A program that asks all the time, on a connection of its own each time. Its arguments: the operation, and what it is about.
ASKER = """
import os, sys, time
from rdagentctl.client import Client
while not os.path.exists("/tmp/restarted"):
    try:
        Client("/run/rdagentd/rdagentd.sock").call(sys.argv[1], {"select": {"names": sys.argv[2:]}})
        print("answered", flush=True)
    except Exception as error:
        print(error, flush=True)
    time.sleep(0.25)
"""


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """A member of the group, and workers under way that nobody ever restarts."""
    machine.check("useradd --create-home --groups rdagentd member")
    for name in LONG:
        submit(machine, name, ALONE, "--restart", "never")
    machine.check(f"rdagentctl wait {' '.join(LONG)} --for running --timeout 6m", timeout=150)


@pytest.fixture
def long_workers(machine: Machine) -> Iterator[None]:
    """What has to live through a scenario: afterwards the same runs, the same processes, complete logs, and more to come."""
    before = long_runs(machine)
    assert {state for state, _, _ in before.values()} == {"running"}
    yield
    assert long_runs(machine) == before
    for name in LONG:
        counts_on(machine, name)
        assert counted(machine, name).count(1) == 1


def submit(machine: Machine, name: str, script: str, *options: str) -> None:
    """Submit a script of bash, which finds its name in $0, as the member of the group."""
    words = ["runuser", "-u", "member", "--", "rdagentctl", "submit", "--directory", "/", "--name", name, *options]
    machine.check(shlex.join([*words, "--", "bash", "-c", script, name]))


def rows(machine: Machine, *names: str) -> dict[str, dict[str, Any]]:
    """What `rdagentctl status` says, by name."""
    found = json.loads(machine.check(f"rdagentctl status --json {' '.join(map(shlex.quote, names))} || test $? = 3"))
    return {row["name"]: row for row in found}


def long_runs(machine: Machine) -> dict[str, Any]:
    """State, run id and pid of each of the long workers."""
    found = rows(machine, *LONG)
    return {name: (row["state"], row["run"]["id"], row["run"]["pid"]) for name, row in found.items()}


def counted(machine: Machine, name: str) -> list[int]:
    """The numbers in the log of one that is ALONE: each one more than the one before, but where a new run of it began."""
    text = machine.check(f"rdagentctl logs {name}")
    assert "doubled" not in text
    numbers = [int(line) for line in text.split() if line.isdigit()]
    assert all(after in (1, before + 1) for before, after in pairwise(numbers))
    return numbers


def counts_on(machine: Machine, name: str) -> None:
    """Returns once it has printed more."""
    machine.check(f"rdagentctl logs {name} --tail 0 --follow | head -1 | grep --quiet .", timeout=60)


def main_pid(machine: Machine, unit: str = "rdagentd") -> str:
    """The pid of a unit's main process."""
    return machine.check(f"systemctl show --property=MainPID --value {unit}").strip()


@pytest.mark.usefixtures("long_workers")
def test_whoever_asks_during_five_restarts_is_answered(machine: Machine) -> None:
    machine.put("/tmp/asker", ASKER.encode())
    person = (
        "while [ ! -e /tmp/restarted ]; do rdagentctl status >/tmp/said 2>&1 && echo answered || cat /tmp/said; done"
    )
    programs = ("python3 /tmp/asker status", f"python3 /tmp/asker start {LONG[0]}", f"python3 /tmp/asker why {LONG[1]}")
    clients = (f"bash -c '{person}'", *programs)
    for number, client in enumerate(clients):
        machine.check(f"runuser -u member -- {client} >/run/client-{number} 2>&1 </dev/null &")
    machine.check(
        "for at in 10 30 50 70 90; do"
        "  until [ $(wc -l </run/client-0) -ge $at ]; do sleep 0.5; done; systemctl restart rdagentd || exit;"
        "done; for of in /run/client-?; do until [ $(wc -l <$of) -ge 100 ]; do sleep 0.5; done; done;"
        "touch /tmp/restarted",
        timeout=500,
    )
    machine.check("while pgrep --full --euid member '/tmp/(asker|restarted)'; do sleep 0.5; done", timeout=60)
    for number in range(len(clients)):
        said = machine.check(f"cat /run/client-{number}").splitlines()
        assert set(said) == {"answered"}
        assert len(said) >= 100


@pytest.mark.usefixtures("long_workers")
def test_a_daemon_that_is_killed_at_random_forgets_nothing_and_doubles_nothing(machine: Machine) -> None:
    seed = int(os.environ.get("RDAGENTD_SEED") or random.randrange(2**32))
    print(f"RDAGENTD_SEED={seed}")
    chance = random.Random(seed)
    waits = ("", "until systemctl is-active --quiet rdagentd; do sleep 0.1; done;")  # half of them may hit a start
    moments = [f"{waits[n % 2]} sleep {chance.uniform(0, 2.5):.3f}" for n in range(KILLS)]
    kill = (  # each dies once: it is gone, and systemd knows, before the next moment begins
        "until pid=$(systemctl show --property=MainPID --value rdagentd) && [ $pid != 0 ]; do sleep 0.05; done;"
        "kill -KILL $pid; while [ -e /proc/$pid ]; do sleep 0.05; done"
    )
    submit(machine, "toggled", ALONE, "--restart", "always", "--delay", "0")
    machine.put("/tmp/load", LOAD.encode())
    machine.check(
        "(runuser -u member -- python3 /tmp/load >/run/kept; touch /run/load-ended) </dev/null >/dev/null 2>&1 &"
    )
    machine.check("; ".join(f"{moment}; {kill}" for moment in moments), timeout=500)
    machine.check("touch /tmp/enough; until [ -e /run/load-ended ]; do sleep 0.2; done", timeout=120)
    machine.check("until rdagentctl ping; do sleep 0.2; done", timeout=120)  # by the one after the last kill
    assert machine.check("systemctl show --property=NRestarts --value rdagentd").strip() == str(KILLS)
    machine.run(
        "rdagentctl wait 'short-*' --timeout 6m; rdagentctl wait toggled --for running --timeout 4m", timeout=240
    )
    kept = set(machine.check("cat /run/kept").split())
    assert len(kept) >= 3
    shown = {entry["spec"]["name"]: entry for entry in json.loads(machine.check("rdagentctl show --json 'short-*'"))}
    assert kept <= shown.keys()
    for name, entry in shown.items():  # what was asked for and not answered may be there too, and then whole
        (run,) = entry["runs"]
        assert (name, run["exit"]["kind"], run["exit"]["code"]) == (name, "code", int(name.removeprefix("short-")) % 5)
    said = machine.check("cd /var/log/rdagentd; for name in short-*; do echo $name $(cat $name/out/*.log); done")
    assert said.splitlines() == [f"{name} once" for name in sorted(shown)]
    counted(machine, "toggled")
    machine.check("rdagentctl stop toggled --wait --timeout 4m; rdagentctl remove toggled 'short-*'", timeout=90)


@pytest.mark.usefixtures("long_workers")
def test_a_daemon_that_hangs_is_replaced_by_the_watchdog(machine: Machine) -> None:
    machine.put("/run/systemd/system/rdagentd.service.d/bench.conf", b"[Service]\nWatchdogSec=15\n")
    machine.check("systemctl daemon-reload; systemctl restart rdagentd", timeout=120)
    pid = main_pid(machine)
    machine.check(
        f"systemctl kill --kill-whom=main --signal=STOP rdagentd; tail --pid={pid} --follow /dev/null;"
        "until systemctl is-active --quiet rdagentd; do sleep 0.2; done",
        timeout=120,
    )
    assert main_pid(machine) not in ("0", pid)
    assert "Watchdog timeout" in machine.journal("rdagentd", lines=1000)
    machine.check("rm -r /run/systemd/system/rdagentd.service.d; systemctl daemon-reload", timeout=120)


@pytest.mark.usefixtures("long_workers")
def test_a_restart_of_journald_costs_nothing_but_a_reconnection(machine: Machine) -> None:
    since = machine.clock
    machine.check("systemctl restart systemd-journald; systemctl reload rdagentd; journalctl --sync")
    eventually(lambda: "configuration reloaded" in machine.journal("rdagentd", since), "a thread to log it", 240)
    since = machine.clock
    executor = main_pid(machine, "rdagentd-executor")
    machine.check("systemctl restart rdagentd", timeout=120)
    assert "workers run on" in machine.journal("rdagentd", since)
    assert main_pid(machine, "rdagentd-executor") == executor


STAMP = "read at idle </proc/uptime; echo $at"


def timers(machine: Machine, seconds: int) -> float:
    """A worker with a run-time limit, one that waits for its restart, and one in the grace period of its stop.

    Returns the seconds after boot at which that stop was about to be asked for.
    """
    script = f"trap '{STAMP}; exit 0' TERM; {STAMP}; sleep 5000 & wait"
    submit(machine, "limited", script, "--timeout", str(seconds), "--kill-after", "10m")
    submit(machine, "again", f"{STAMP}; exit 1", "--restart", "always", "--delay", str(seconds))
    submit(
        machine, "slow", f"trap '{STAMP}' TERM; {STAMP}; while :; do sleep 5000 & wait; done", "--grace", str(seconds)
    )
    for name in ("limited", "slow"):  # it has set its trap
        machine.check(f"until rdagentctl logs {name} | grep --quiet .; do sleep 0.2; done", timeout=90)
    return float(machine.check("cut --delimiter=' ' --fields=1 /proc/uptime; rdagentctl stop slow").splitlines()[0])


def turn_the_clock(machine: Machine, days: int) -> None:
    """Set the clock; forward, a new daemon takes the deadlines over, too."""
    machine.check(f"date --set=@$(($(date +%s) + {days * DAY}))")
    if days > 0:
        machine.check("systemctl restart rdagentd", timeout=120)


@pytest.mark.usefixtures("long_workers")
def test_the_clock_is_set_a_day_forward_and_back_and_what_is_told_stays_true(machine: Machine) -> None:
    timers(machine, HOUR)
    seen = counted(machine, LONG[0])[-1]
    for days in (1, -1, -1, 1):
        turn_the_clock(machine, days)
        counts_on(machine, LONG[0])
        told = machine.check("rdagentctl why limited again slow; rdagentctl status")
        for sentence in SAID_MEANWHILE:
            assert re.search(sentence, told), f"{sentence} in\n{told}"
        recent = eventually(
            lambda: [int(line) for line in machine.check(f"rdagentctl logs {LONG[0]} --since 5s").split()],
            "lines of the last five seconds, in which it or the executor may have stood still",
            240,
        )
        assert recent == list(range(recent[0], recent[-1] + 1))
        assert recent[0] > seen
    machine.check("rdagentctl kill limited slow --wait --timeout 4m; rdagentctl stop again", timeout=90)
    machine.check("rdagentctl remove limited again slow")


@pytest.mark.usefixtures("long_workers")
def test_the_clock_is_set_a_day_forward_and_back_and_no_timer_minds(machine: Machine) -> None:
    begin = float(machine.check("cut --delimiter=' ' --fields=1 /proc/uptime"))
    asked_to_stop = timers(machine, TIMER)
    pid = rows(machine, "slow")["slow"]["run"]["pid"]
    machine.check(f"(tail --pid={pid} --follow /dev/null; {{ {STAMP}; }} >/tmp/killed) </dev/null >/dev/null 2>&1 &")
    for days in (-1, 1, 1, -1):
        turn_the_clock(machine, days)
    machine.check("rdagentctl wait limited slow --timeout 6m || true", timeout=150)
    machine.check("rdagentctl logs again --follow | sed 2q >/dev/null", timeout=120)
    ended = rows(machine, "limited", "slow")
    assert [ended[name]["exit"]["kind"] for name in ("limited", "slow")] == ["timed_out", "signal"]
    begin_of_limited, end_of_limited = stamps(machine, "limited")[:2]
    first_of_again, second_of_again = stamps(machine, "again")[:2]
    term_of_slow = stamps(machine, "slow")[1]  # the first: each new daemon says again what still counts
    kill_of_slow = float(machine.check("until [ -s /tmp/killed ]; do sleep 0.2; done; cat /tmp/killed"))
    assert asked_to_stop <= term_of_slow < kill_of_slow  # it may stand still before it tells of its SIGTERM
    assert end_of_limited - begin >= TIMER  # its time counts from the decision to start it
    for took in (end_of_limited - begin_of_limited, second_of_again - first_of_again, kill_of_slow - asked_to_stop):
        assert took < HOUR  # a slow machine may be late, by less than a day
    for took in (second_of_again - first_of_again, kill_of_slow - asked_to_stop):
        assert took > TIMER - 1
    machine.check("rdagentctl stop again --wait --timeout 4m; rdagentctl remove limited again slow", timeout=90)


def stamps(machine: Machine, name: str) -> list[float]:
    """Seconds after boot, as a worker has printed them."""
    return [float(line) for line in machine.check(f"rdagentctl logs {name}").split()]


def test_a_dead_executor_takes_its_workers_with_it_and_each_goes_on_by_its_policy(machine: Machine) -> None:
    submit(machine, "back", f"setsid sleep 1001 & {ALONE}", "--restart", "always", "--delay", "0", "--grace", "5m")
    machine.check(
        "rdagentctl wait back --for running --timeout 4m; pgrep --full --euid member 'sleep 1001'", timeout=90
    )
    before, survivors = rows(machine, "back")["back"]["run"], machine.check("pgrep --euid member").split()
    daemon = main_pid(machine)
    machine.check(
        f"systemctl kill --kill-whom=main --signal=KILL rdagentd-executor; tail --pid={before['pid']} --follow /dev/null;"
        f"while rdagentctl status --json back | grep --quiet {before['id']}; do sleep 0.2; done;"
        "rdagentctl wait back --for running --timeout 6m",
        timeout=200,
    )
    assert main_pid(machine) == daemon
    assert set(survivors).isdisjoint(machine.check("pgrep --euid member").split())
    for name, row in rows(machine, *LONG).items():
        assert (name, row["state"], row["exit"]["kind"]) == (name, "failed", "lost")
    shown = json.loads(machine.check("rdagentctl show --json back"))[0]
    ends = {run["id"]: run["exit"] and run["exit"]["kind"] for run in shown["runs"]}
    assert list(ends.values()).count(None) == 1 and ends.pop(before["id"]) == "lost" and list(ends.values()) == [None]
    counted(machine, "back")
    counts_on(machine, "back")  # so it has forked
    assert (
        len(machine.check("pgrep --full --euid member 'sleep 1001'").split()) == 1 + 1
    )  # its shell's words hold it too


def test_a_restart_of_dbus_leaves_all_alone_and_stop_still_knows_what_it_is(machine: Machine) -> None:
    before = rows(machine, "back")["back"]["run"]
    machine.check("systemctl restart dbus")
    counts_on(machine, "back")
    machine.check("systemctl restart rdagentd", timeout=120)
    machine.check("rdagentctl wait back --for running --timeout 4m", timeout=90)
    assert rows(machine, "back")["back"]["run"] == before
    machine.check("systemctl stop rdagentd", timeout=180)
    assert machine.run("pgrep --list-full --euid member").out == ""
    assert machine.check("tail --lines=1 --quiet /var/log/rdagentd/back/out/*.log") == "ended\n"
