"""Mistakes in the configuration, at start and at reload, and what a reload touches. One machine's life, in this order."""

import json

import pytest

from tests.harness import eventually

from .machine import Machine

INSTALLED = True

BAD = "/etc/rdagentd/conf.d/bad.toml"
SENTENCE = f"cannot read {BAD}: keep_runs: 0 is out of range (1 to 1000000)"
WORKER = 'command = ["sleep", "{}"]\nuser = "member"\n[restart]\npolicy = "always"\n'


@pytest.fixture(scope="module", autouse=True)
def furnished(machine: Machine) -> None:
    """Three workers of workers.d beside one that a person submitted."""
    machine.check("useradd --create-home --groups rdagentd member")
    for name in ("same", "other", "going"):
        machine.put(f"/etc/rdagentd/workers.d/{name}.toml", WORKER.format(1000).encode())
    machine.check("systemctl reload rdagentd", timeout=120)
    machine.check("runuser -u member -- rdagentctl submit --directory / --name mine -- sleep 1000")
    machine.check("rdagentctl wait same other going mine --for running --timeout 6m", timeout=150)


def pids(machine: Machine) -> dict[str, int]:
    """The process of each worker that runs."""
    rows = json.loads(machine.check("rdagentctl status --json"))
    return {row["name"]: row["run"]["pid"] for row in rows if row["state"] == "running"}


def test_reload_touches_only_workers_that_changed(machine: Machine) -> None:
    before = pids(machine)
    machine.put("/etc/rdagentd/workers.d/other.toml", WORKER.format(2000).encode())
    machine.put("/etc/rdagentd/workers.d/new.toml", WORKER.format(1000).encode())
    machine.check("systemctl reload rdagentd", timeout=120)
    machine.check(
        f"while rdagentctl status --json other | grep -q '\"pid\": *{before['other']}\\b'; do sleep 0.2; done;"
        "rdagentctl wait other new --for running --timeout 4m",
        timeout=120,
    )
    after = pids(machine)
    assert after.keys() - before.keys() == {"new"}
    assert {name for name in before if after[name] != before[name]} == {"other"}


def test_a_worker_whose_file_is_gone_is_stopped_and_kept_and_comes_back_with_it(machine: Machine) -> None:
    before = pids(machine)
    machine.check(
        "cd /etc/rdagentd/workers.d && mv going.toml going.toml.disabled && systemctl reload rdagentd", timeout=120
    )
    machine.run("rdagentctl wait going --timeout 4m", timeout=90)
    assert "workers.d/going.toml is gone" in machine.check("rdagentctl why going")
    eventually(lambda: "workers.d/going.toml is gone" in machine.journal("rdagentd"), "a thread to log it", 240)
    assert pids(machine) == {name: pid for name, pid in before.items() if name != "going"}
    machine.check(
        "cd /etc/rdagentd/workers.d && mv going.toml.disabled going.toml && systemctl reload rdagentd", timeout=120
    )
    machine.check("rdagentctl wait going --for running --timeout 4m", timeout=90)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (BAD, "keep_runs = 0\n", SENTENCE),
        (
            "/etc/rdagentd/workers.d/same.toml",
            'comand = ["sleep", "5"]\n',
            "cannot read worker 'same' in /etc/rdagentd/workers.d/same.toml: comand: unknown key (did you mean command?)",
        ),
    ],
    ids=["rdagentd.toml", "a worker"],
)
def test_a_mistake_at_reload_is_told_and_the_old_configuration_stays(
    machine: Machine, file: str, content: str, sentence: str
) -> None:
    before = pids(machine)
    machine.check(f"if [ -e {file} ]; then cp {file} /root/kept; fi")
    machine.put(file, content.encode())
    machine.check("rm /etc/rdagentd/workers.d/new.toml")  # were the rest of it in force, this one would be stopped
    assert machine.run("systemctl reload rdagentd", timeout=120).code == 1
    status = machine.check("systemctl status --full --no-pager rdagentd")
    assert f'Status: "cannot reload: {sentence}' in status
    assert "the configuration stays as it was" in status
    asked = machine.run("rdagentctl reload", timeout=120)
    assert (asked.code, sentence in asked.out) == (2, True)
    assert pids(machine) == before
    machine.put("/etc/rdagentd/workers.d/new.toml", WORKER.format(1000).encode())
    machine.check(
        f"if [ -e /root/kept ]; then mv /root/kept {file}; else rm {file}; fi; systemctl reload rdagentd", timeout=120
    )
    assert "cannot reload" not in machine.check("systemctl show --property=StatusText rdagentd")
    assert pids(machine) == before


def test_a_mistake_at_start_is_told_by_systemctl_status_and_not_tried_again(machine: Machine) -> None:
    before = pids(machine)
    machine.put(BAD, b"keep_runs = 0\n")
    assert machine.run("systemctl restart rdagentd", timeout=120).code == 1
    status = machine.run("journalctl --sync; systemctl status --full --no-pager rdagentd").out
    assert f'Status: "{SENTENCE}"' in status
    assert f"rdagentd: {SENTENCE}\n" in status
    assert "Traceback" not in status
    machine.run("rdagentctl ping; rdagentctl ping")  # clients do not start it again either
    shown = machine.check("systemctl show --property=NRestarts,ExecMainStatus,ActiveState rdagentd").split()
    assert sorted(shown) == ["ActiveState=failed", "ExecMainStatus=78", "NRestarts=0"]
    assert "systemctl start rdagentd" in machine.run("rdagentctl status").out
    machine.check(f"rm {BAD}; systemctl start rdagentd", timeout=120)
    assert pids(machine) == before


def test_a_mistake_in_the_executor_s_policy_is_told_and_not_tried_again(machine: Machine) -> None:
    policy = "/etc/rdagentd/executor.toml"
    machine.check(f"cp {policy} /root/policy; echo 'minimum_uid = \"x\"' >>{policy}")
    assert machine.run("systemctl restart rdagentd-executor", timeout=120).code == 1
    status = machine.run("journalctl --sync; systemctl status --full --no-pager rdagentd-executor").out
    assert f"cannot use policy {policy}: minimum_uid = 'x': must be a uid" in status
    assert "Traceback" not in status
    shown = machine.check("systemctl show --property=NRestarts,ExecMainStatus,ActiveState rdagentd-executor").split()
    assert sorted(shown) == ["ActiveState=failed", "ExecMainStatus=78", "NRestarts=0"]
    machine.check("while ! systemctl show --property=StatusText rdagentd | grep -q 'no executor'; do sleep 0.2; done")
    machine.check("runuser -u member -- rdagentctl submit --directory / --name late -- true")
    assert "waits for the executor, which cannot be reached" in machine.check("rdagentctl why late")
    machine.check(f"cp /root/policy {policy}; systemctl start rdagentd-executor", timeout=120)
    machine.check("rdagentctl wait same other going new --for running --timeout 6m; rdagentctl wait late", timeout=150)
