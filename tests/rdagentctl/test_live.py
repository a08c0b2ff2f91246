"""The client and the real daemon."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import LiveDaemon
from tests.rdagentctl.conftest import CTL, environment

Live = Callable[..., subprocess.CompletedProcess[str]]

TICKS = "i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo tick $i; sleep 0.02; done"


@pytest.fixture
def live(daemon: LiveDaemon, tmp_path: Path) -> Live:
    """Runs rdagentctl against a real daemon."""
    daemon.start()

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CTL, "--socket", str(daemon.socket), *words],
            input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=environment(),
        )  # fmt: skip

    return run


def rows(live: Live, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(live("status", "--json", *names).stdout)
    return found


def test_submit_with_nothing_else(live: Live, tmp_path: Path) -> None:
    done = live("submit", "--", "sh", "-c", 'pwd; echo "$PATH"; env | sort')
    assert (done.returncode, done.stderr) == (0, "")
    name = done.stdout.partition(":")[0]
    assert live("wait", name).returncode == 0
    directory, path, *variables = live("logs", name).stdout.splitlines()
    assert (directory, path) == (str(tmp_path), environment()["PATH"])
    assert not [line for line in variables if line.startswith(("PYTHONPATH=", "LC_ALL=", "TZ="))]
    row = rows(live, name)[0]
    assert {"name", "state", "want", "health", "reason", "attempt", "restarts", "run", "exit"} <= row.keys()
    assert (row["state"], row["exit"]["kind"], row["exit"]["code"]) == ("completed", "code", 0)
    assert live("status", name).returncode == 3


def test_run_passes_output_and_code_through(live: Live) -> None:
    done = live("run", "--name", "five", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\nerr\n", "")
    done = live("run", "--log-separate", "--", "sh", "-c", "echo out; echo err >&2; kill -9 $$")
    assert (done.returncode, done.stdout) == (137, "out\n")
    assert done.stderr.startswith("err\n")
    assert live("run", "--name", "five", "--", "true").returncode == 1  # the name is taken
    done = live("run", "--", "/no/such/program")
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr


def test_the_life_of_a_worker(live: Live) -> None:
    live(
        "submit",
        "--name",
        "w",
        "--label",
        "team=a",
        "--limit",
        "nofile=64",
        "--set",
        'restart="always"',
        "--",
        "sleep",
        "1000",
    )
    assert live("wait", "w", "--for", "running").stdout == "w: running\n"
    assert live("pause", "w").stdout.startswith("w: paused")
    assert "paused" in live("why", "w").stdout
    assert live("resume", "w").stdout.startswith("w: running")
    assert live("signal", "CONT", "w").returncode == 0
    assert live("restart", "--label", "team=a", "--wait").stdout.startswith("w: running")
    assert "limits.nofile = {soft = 64, hard = 64}" in live("show", "w").stdout
    assert live("stop", "w*", "--wait").stdout.startswith("w: stopped")
    assert live("pause", "w").returncode == 1
    assert live("start", "w", "--wait").stdout.startswith("w: running")
    assert live("kill", "w", "--wait").returncode == 0
    assert live("remove", "w").stdout == "w: removed\n"
    assert live("status", "w").returncode == 4
    assert "started as process" in live("events", "-n", "100").stdout
    assert live("ping").returncode == live("version").returncode == live("reload").returncode == 0


def test_apply_shows_what_changes(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    text = '[worker.w]\ncommand = ["sleep", "1000"]\ndirectory = "."\n'
    file.write_text(text)
    assert live("apply", "--dry-run", "w.toml").stdout.startswith("+ w is new\n")
    assert rows(live) == []
    assert live("apply", "w.toml").returncode == 0
    assert live("apply", "w.toml").stdout == "0 changes, 1 worker unchanged\n"
    file.write_text(text + 'timeout = "1h"\n')
    assert "    timeout: - → 3600\n" in live("apply", "w.toml").stdout
    file.write_text(text + "comand = 1\n")
    done = live("apply", "w.toml")
    assert (done.returncode, "w.toml" in done.stderr, "command" in done.stderr) == (2, True, True)
    other = live("apply", "-", "--prune", stdin=text.replace("worker.w", "worker.other"))
    assert other.stdout == "+ other is new\n- w is removed\n2 changes, 0 workers unchanged\n"


def test_lines_of_several_workers_survive_the_daemon_too(live: Live, daemon: LiveDaemon) -> None:
    for name in ("m-1", "m-2"):
        live("submit", "--name", name, "--", "sh", "-c", f"{TICKS.format(count=100)}; echo ERROR at the end; sleep 0.1")
    follower = subprocess.Popen(
        [*CTL, "--socket", str(daemon.socket), "logs", "m-*", "-f", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    begun = follower.stdout.readline()
    daemon.kill()
    daemon.start()
    # communicate() would lose what readline() has read ahead.
    told = [json.loads(line) for line in (begun, *follower.stdout)]
    assert follower.wait(60) == 0
    for row in rows(live, "m-*"):
        mine = [line for line in told if line["worker"] == row["name"]]
        assert [line["text"] for line in mine] == [*(f"tick {n}" for n in range(1, 101)), "ERROR at the end"]
        assert {(line["run"], line["stream"]) for line in mine} == {(row["run"]["id"], "out")}
        assert [line["offset"] for line in mine] == sorted({line["offset"] for line in mine})
    done = live("logs", "analyse", "m-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (report,) = json.loads(done.stdout)
    assert (report["lines"], report["errors"]["count"], sum(report["rates"]["lines"])) == (101, 1, 101)


def test_following_events_survives_the_daemon(live: Live, daemon: LiveDaemon) -> None:
    live("submit", "--name", "w-0", "--", "true")
    live("wait", "w-0")
    follower = subprocess.Popen(
        [*CTL, "--socket", str(daemon.socket), "events", "w-*", "-f", "--json", "--kind", "submitted", "--kind", "exited"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    told = [json.loads(follower.stdout.readline()) for _ in range(2)]
    for number in range(1, 4):
        daemon.kill()
        client = daemon.start()
        assert client is not None
        client.submit(f"w-{number}", "/bin/true")
        client.submit(f"other-{number}", "/bin/true")
        client.wait(f"w-{number}")
        told += [json.loads(follower.stdout.readline()) for _ in range(2)]
    follower.kill()
    follower.communicate()
    assert [(item["worker"], item["kind"]) for item in told] == [
        (f"w-{number}", kind) for number in range(4) for kind in ("submitted", "exited")
    ]
    assert [item["seq"] for item in told] == sorted({item["seq"] for item in told})


def test_following_survives_the_daemon(live: Live, daemon: LiveDaemon, tmp_path: Path) -> None:
    back = tmp_path / "back"
    lasts = f"until [ -e {back} ]; do sleep 0.02; done"  # how it ended is asked once, of a daemon that must be there
    live("submit", "--name", "ticker", "--", "sh", "-c", TICKS.format(count=150))
    follower = subprocess.Popen(
        [*CTL, "--socket", str(daemon.socket), "logs", "-f", "ticker"],
        bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    waiter = subprocess.Popen(
        [*CTL, "--socket", str(daemon.socket), "run", "--", "sh", "-c", f"{TICKS.format(count=100)}; {lasts}; exit 9"],
        bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert follower.stdout is not None and waiter.stdout is not None
    begun = follower.stdout.read(1), waiter.stdout.read(1)
    daemon.kill()
    daemon.start()
    back.touch()
    out, _ = follower.communicate(timeout=60)
    assert (begun[0] + out).decode().splitlines() == [f"tick {n}" for n in range(1, 151)]
    assert follower.returncode == 0
    out, _ = waiter.communicate(timeout=60)
    assert (begun[1] + out).decode().splitlines() == [f"tick {n}" for n in range(1, 101)]
    assert waiter.returncode == 9


def test_metrics_are_what_a_reader_of_prometheus_takes(live: Live) -> None:
    live("run", "--name", "w", "--", "sh", "-c", "exit 3")
    live("wait", "w")  # what is counted is on disk
    families = list(text_string_to_metric_families(live("metrics").stdout))
    told = {(sample.name, *sample.labels.values()): sample.value for one in families for sample in one.samples}
    assert told["rdagentd_exits_total", "code"] == told["rdagentd_worker_state", "w", "default", "failed"] == 1
    assert told["rdagentd_request_duration_seconds_count", "submit"] == 1
    as_json = json.loads(live("metrics", "--json").stdout)
    assert len(as_json["families"]) == len(families)


def test_an_interrupt_of_run_stops_the_worker(live: Live, daemon: LiveDaemon) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done"
    client = subprocess.Popen(
        [*CTL, "--socket", str(daemon.socket), "run", "--name", "w", "--", "sh", "-c", script],
        bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert client.stdout is not None
    assert client.stdout.read(6) == b"hello\n"
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=60)
    assert (out, client.returncode) == (b"bye\n", 0), err
    assert rows(live, "w")[0]["state"] == "stopped"
