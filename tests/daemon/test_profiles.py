"""Profiles, preflight and result with a real daemon: from rdagentctl to the end of a run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually
from tests.rdagentctl.conftest import CTL, environment

Ctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def site(daemon: LiveDaemon, tmp_path: Path) -> Client:
    """A daemon with a profile and a worker of its own configuration."""
    (tmp_path / "etc" / "profiles").mkdir(parents=True)
    (tmp_path / "etc" / "workers.d").mkdir()
    (tmp_path / "etc" / "rdagentd.toml").write_text("")
    profile = tmp_path / "etc" / "profiles" / "echo.toml"
    profile.write_text(
        'about = "says it"\nextends = "python-script"\nrestart = "never"\ncommand = ["echo", "{what}", "{name}", "{state}"]\n'
        '[parameters.what]\nabout = "the word"\n'
    )
    (tmp_path / "etc" / "workers.d" / "declared.toml").write_text('profile = "echo"\nset = { what = "declared" }\n')
    client = daemon.start("--config", str(tmp_path / "etc" / "rdagentd.toml"))
    assert client is not None
    return client


@pytest.fixture
def ctl(daemon: LiveDaemon, tmp_path: Path) -> Ctl:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [*CTL, "--socket", str(daemon.socket), *words]
        return subprocess.run(
            line, capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=600, check=False
        )

    return run


def test_a_file_of_workers_d_may_name_a_profile(site: Client, daemon: LiveDaemon) -> None:
    row = site.wait("declared")[0]
    assert row["state"] == "completed" and row["labels"] == {"profile": "echo"}
    assert site.log("declared").decode() == f"declared declared {daemon.state}/workers/declared/state\n"


def test_submit_takes_a_profile_its_parameters_and_a_name(site: Client, ctl: Ctl, tmp_path: Path) -> None:
    done = ctl("submit", "--profile", "echo", "--set", "what=hello", "--set", "stop.grace=3s", "mine")
    assert done.returncode == 0, done.stderr
    site.wait("mine")
    assert site.log("mine").startswith(b"hello mine ")
    spec = site.call("show", select={"names": ["mine"]})[0]["spec"]
    assert spec["stop"]["grace"] == 3 and spec["directory"] == str(tmp_path)
    assert spec["environment"]["PATH"] == os.environ["PATH"] and spec["environment"]["PYTHONUNBUFFERED"] == "1"
    unnamed = ctl("submit", "--profile", "echo", "--set", "what=x", "--json")
    assert json.loads(unnamed.stdout)["name"] == "echo-1"


def test_what_a_profile_needs_is_told_to_who_submits(site: Client, ctl: Ctl) -> None:
    done = ctl("submit", "--profile", "echo")
    assert done.returncode == 2 and "set.what: missing; profile echo needs it (the word)" in done.stderr
    done = ctl("submit", "--profile", "ecco", "--set", "what=x")
    assert done.returncode != 0 and "there is no profile 'ecco' (did you mean echo?)" in done.stderr
    assert ctl("submit", "--set", "what=x", "word").returncode == 2


def test_profiles_are_listed_and_shown(site: Client, ctl: Ctl) -> None:
    listed = ctl("profiles").stdout
    assert "rd-agent" in listed and "says it" in listed and "scenario" in listed
    shown = ctl("profile", "show", "echo").stdout
    assert "extends     python-script" in shown and "what  needed  the word" in shown and "command = " in shown
    resolved = ctl("profile", "show", "echo", "--resolved", "--set", "what=there").stdout
    assert "there" in resolved
    assert "stop.grace = 10" in resolved
    failed = ctl("profile", "show", "echo", "--resolved")
    assert failed.returncode == 2 and "set.what: missing" in failed.stderr
    assert ctl("profile", "none").returncode == 4
    assert ctl("profile", "delete", "echo").returncode == 2


def test_a_profile_that_changes_counts_from_the_next_reload_on(site: Client, ctl: Ctl, tmp_path: Path) -> None:
    site.wait("declared")
    profile = tmp_path / "etc" / "profiles" / "echo.toml"
    profile.write_text(profile.read_text().replace('"echo", "{what}"', '"echo", "more", "{what}"'))
    changes = site.call("reload")["changes"]
    assert [(change["name"], change["fields"][0]["field"]) for change in changes] == [("declared", "command")]
    profile.write_text("command = [")
    with pytest.raises(CallError, match=r"declared.toml: profile: .*not TOML"):
        site.call("reload")
    assert "more" in str(site.call("profile", name="echo"))


# --- preflight --------------------------------------------------------------------------------------------------------

CHECKS = {"secrets": ["API_KEY"], "programs": {"no-such-program": ""}, "disk": 1 << 60}


def test_a_run_that_lacks_something_is_not_started_and_all_of_it_is_told(client: Client) -> None:
    told = client.submit("w", "true", preflight=CHECKS)
    lacks = ("API_KEY is missing", "there is no program no-such-program", "are needed")
    for text in lacks:
        assert any(text in warning for warning in told["warnings"])
    row = client.wait("w")[0]
    assert (row["state"], row["exit"]["kind"], row["exit"]["stage"]) == ("failed", "could_not_start", "preflight")
    assert all(text in row["exit"]["reason"] for text in lacks) and row["run"]["pid"] is None
    assert all(text in " ".join(client.call("why", select={"names": ["w"]})[0]["sentences"]) for text in lacks)


def test_one_that_lacks_nothing_starts(client: Client) -> None:
    told = client.submit("w", "true", preflight={"secrets": ["API_KEY"]}, environment={"API_KEY": "x"})
    assert told["warnings"] == [] and client.wait("w")[0]["state"] == "completed"


def test_what_was_missing_may_come_before_the_next_attempt(client: Client, tmp_path: Path) -> None:
    variables = tmp_path / "env"
    variables.write_text("")
    restart = {"policy": "on-failure", "delay": 0.1, "retries": 1000, "breaker": {"failures": 0}}
    client.submit("w", "true", preflight={"environment": ["A"]}, environment_file=[str(variables)], restart=restart)
    eventually(lambda: client.worker("w")["exit"], "the first attempt")
    variables.write_text("A=1\n")
    assert client.wait("w")[0]["state"] == "completed"


def test_one_that_is_asked_to_stop_meanwhile_never_starts(client: Client, tmp_path: Path) -> None:
    slow, gate = tmp_path / "slow", tmp_path / "gate"
    os.mkfifo(gate)
    slow.write_text(f"#!/bin/sh\nread x < {gate}\necho 2.0\n")
    slow.chmod(0o755)
    spec = {"name": "w", "command": ["touch", str(tmp_path / "ran")], "preflight": {"programs": {str(slow): "1.0"}}}
    gate_out = os.open(gate, os.O_RDWR)
    os.write(gate_out, b"go\n")  # for the look of submit
    client.call("submit", spec=spec, start=False)
    client.verb("start", "w")
    assert client.worker("w")["state"] == "starting"
    client.verb("stop", "w")
    os.write(gate_out, b"go\n")
    row = client.wait("w")[0]
    os.close(gate_out)
    assert row["state"] == "stopped" and not (tmp_path / "ran").exists()


def test_after_a_crash_in_the_middle_of_the_look_it_is_looked_at_again_and_started_once(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    slow, looks, runs = tmp_path / "slow", tmp_path / "looks", tmp_path / "runs"
    slow.write_text(f"#!/bin/sh\necho >> {looks}\n[ -e {tmp_path}/go ] || exec sleep 9\necho 2.0\n")
    slow.chmod(0o755)
    client = daemon.start()
    assert client is not None
    spec = {"name": "w", "command": ["sh", "-c", f"echo >> {runs}"], "preflight": {"programs": {str(slow): "1.0"}}}
    client.send("submit", spec=spec)
    eventually(lambda: looks.exists() and client_sees(daemon, "starting"), "the look")
    daemon.kill()
    (tmp_path / "go").touch()
    client = daemon.start()
    assert client is not None
    row = client.wait("w")[0]
    assert (row["state"], row["attempt"], runs.read_text()) == ("completed", 1, "\n")


def client_sees(daemon: LiveDaemon, state: str) -> bool:
    """Whether the worker w is in this state."""
    asking = daemon.connect()
    return any(row["name"] == "w" and row["state"] == state for row in asking.status())


def test_preflight_tells_about_workers_and_about_profiles(site: Client, ctl: Ctl) -> None:
    site.submit("w", "true", preflight=CHECKS)
    done = ctl("preflight", "w", "declared")
    assert (
        done.returncode == 1
        and "w:\n  API_KEY is missing" in done.stdout
        and "declared: has no [preflight]" in done.stdout
    )
    done = ctl("preflight", "--profile", "rd-agent", "--set", "scenario=data_science", "--set", "program=/no/rdagent")
    assert (
        done.returncode == 1
        and "there is no program /no/rdagent" in done.stdout
        and "CHAT_MODEL is missing" in done.stdout
    )
    assert ctl("preflight", "declared").returncode == 0
    assert ctl("preflight").returncode == 2


# --- result -----------------------------------------------------------------------------------------------------------

RESULT = {
    "otherwise": "failed",
    "rules": [
        {"outcome": "completed", "pattern": "promise kept", "says": "it said so"},
        {"outcome": "failed", "file": "out/*.json", "path": "n", "equals": 0, "says": "nothing was done"},
    ],
}


def outcome(client: Client, name: str, script: str, tmp_path: Path) -> tuple[str, str | None, str]:
    client.submit(name, "sh", "-c", script, directory=str(tmp_path), result=RESULT)
    row = client.wait(name)[0]
    return row["state"], row["exit"]["outcome"], row["exit"]["reason"]


def test_the_outcome_is_read_from_output_and_files_and_judged(client: Client, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.json").write_text('{"n": 0}')
    os.utime(tmp_path / "out" / "old.json", (1, 1))
    kept = outcome(client, "a", "echo the promise kept", tmp_path)
    assert kept == ("completed", "completed", "exited with code 0, and completed: it said so")
    none = outcome(client, "b", "true", tmp_path)
    assert none == ("failed", "failed", "exited with code 0, but failed: nothing says that it completed")
    zero = outcome(client, "c", """echo '{"n": 0}' > out/new.json""", tmp_path)
    assert zero == ("failed", "failed", "exited with code 0, but failed: nothing was done")


def test_the_output_of_the_run_before_does_not_count(client: Client, tmp_path: Path) -> None:
    script = "[ -e was ] || echo promise kept; touch was"
    assert outcome(client, "a", script, tmp_path)[0] == "completed"
    client.verb("start", "a")
    eventually(lambda: client.worker("a")["run"]["id"] and client.worker("a")["state"] == "failed", "the second run")
    assert client.worker("a")["exit"]["outcome"] == "failed"


def test_who_is_stopped_has_no_outcome(client: Client, tmp_path: Path) -> None:
    script = "trap 'exit 0' TERM; touch there; while :; do sleep 0.1; done"
    client.submit("a", "sh", "-c", script, directory=str(tmp_path), result=RESULT)
    eventually((tmp_path / "there").exists, "the program to listen to SIGTERM")
    client.verb("stop", "a")
    row = client.wait("a")[0]
    assert (row["state"], row["exit"]["code"], row["exit"]["outcome"]) == ("stopped", 0, None)


def test_rdagentctl_run_exits_with_a_failure_although_the_program_did_not(client: Client, ctl: Ctl) -> None:
    assert ctl("run", "--set", 'result.otherwise="failed"', "--", "true").returncode == 1
    assert ctl("run", "--set", 'result.otherwise="completed"', "--", "true").returncode == 0
