"""Admission under the package's own units: the sandboxed daemon, an executor with few capabilities, the release's kernel."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import eventually

from .machine import Machine

INSTALLED = True

CONFIG = """\
[host]
memory = "4G"
gpus = ["0", "1"]
[host.reserve]
memory = 0
[pressure]
cpu_10s = 60
memory_10s = "off"
memory_60s = "off"
"""
SUBMIT = "runuser -u member -- rdagentctl submit --directory /"


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """A host of its configuration, and a person who may use it."""
    machine.check("useradd --create-home --groups rdagentd member; mkdir -p /etc/rdagentd/conf.d")
    machine.put("/etc/rdagentd/conf.d/host.toml", CONFIG.encode())
    machine.check("systemctl reload rdagentd")


def reason(machine: Machine, name: str) -> dict[str, str]:
    """What it waits for."""
    found: dict[str, str] = machine.rows(name)[0]["reason"]
    return found


def events(machine: Machine, *kinds: str) -> list[dict[str, Any]]:
    """Those of some kinds, in order."""
    every = map(json.loads, machine.check("rdagentctl events --json").splitlines())
    return [event for event in every if event["kind"] in kinds]


def of_the_queue(machine: Machine) -> list[dict[str, Any]]:
    """What became of it while `busy` was the last to begin: a machine that starts is busy by itself."""
    found, last = [], ""
    for event in events(machine, "started", "held", "released"):
        if event["kind"] == "started":
            last = event["worker"]
        elif last == "busy":
            found.append(event)
    return found


def test_requests_and_leases_outlive_the_daemon(machine: Machine) -> None:
    sleep = "sh -c 'echo $CUDA_VISIBLE_DEVICES; exec sleep 1000'"
    machine.check(f"{SUBMIT} --name train --request memory=3G --request gpus=1 -- {sleep}")
    machine.check(f"{SUBMIT} --name next --request memory=2G --request gpus=1 -- {sleep}")
    machine.check("rdagentctl wait train --for running --timeout 4m", timeout=90)
    machine.check("systemctl kill --signal=KILL --kill-whom=main rdagentd")
    machine.check("until rdagentctl ping; do sleep 0.2; done", timeout=60)
    told = {"code": "memory", "text": "waits for 2 GiB of memory: 1 GiB of 4 GiB are free"}
    machine.check("rdagentctl wait train --for running --timeout 4m", timeout=90)
    eventually(
        lambda: reason(machine, "next") == told, "what it waits for, once a new daemon has heard of everything", 240
    )
    eventually(  # unless the machine is busy by itself
        lambda: "held by train (3 GiB of memory)" in machine.check("rdagentctl why next"),
        "who holds it to be told",
        240,
    )
    machine.check("rdagentctl stop train && rdagentctl wait next --for running --timeout 4m", timeout=90)
    machine.check("until [ $(rdagentctl logs next) = 0 ]; do sleep 0.2; done", timeout=60)
    machine.check("rdagentctl stop next --wait --timeout 4m", timeout=90)


def test_the_kernel_s_trigger_holds_the_queue_and_it_goes_on_by_itself(
    machine: Machine, say: Callable[[str], None], release: str
) -> None:
    spin = "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait"
    machine.check(f'{SUBMIT} --name busy -- sh -c "{spin}"')
    eventually(lambda: of_the_queue(machine), "the queue to wait for what the spinning does", 600)
    machine.check(f"{SUBMIT} --name new -- true")
    assert reason(machine, "new")["code"] == "pressure"
    say(f"{release}: {machine.check('rdagentctl why new').splitlines()[1].strip()}")
    machine.check("rdagentctl kill busy --wait --timeout 4m", timeout=90)
    machine.check("rdagentctl wait new --timeout 8m", timeout=200)
    assert not events(machine, "unseen"), "triggers may be set, and averages read"
    told = of_the_queue(machine)
    assert [event["kind"] for event in told] == ["held", "released"]
    assert told[0]["text"].startswith("the queue waits for CPU pressure")
    say(f"{release}: {machine.check('uname -r').strip()}: held for {told[1]['at'] - told[0]['at']:.0f} s")
