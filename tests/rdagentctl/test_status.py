"""The table of `status`, at all sizes."""

from __future__ import annotations

import os
import pty
import subprocess
import time

from rdagentctl.commands import show
from rdagentctl.commands.status import text
from rdagentctl.render import width_of
from tests.rdagentctl.conftest import CTL, Ctl, environment
from tests.rdagentctl.fake import FakeDaemon, ended, row


def trouble() -> list[dict[str, object]]:
    now = time.time()
    over = {"id": "x", "pid": 7, "started_at": now - 8000, "ended_at": now - 7500}
    return [
        row("web", run={"id": "x", "pid": 42, "started_at": now - 7500, "ended_at": None}, restarts=3),
        row("done", "completed", run=over, exit=ended(0)),
        row("again", "backoff", run=over, reason={"code": "r", "text": "exit code 1; restarts after 10 s"}, due_in=7.2),
        row("broken", "failed", run=over, reason={"code": "r", "text": "exit code 3; gave up after 5 restarts"}),
        row("new", "queued", run=None, reason={"code": "slot", "text": "waits for a slot of group default"}),
    ]


def test_the_table(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: trouble()}
    assert ctl("status").stdout == (
        "5 workers: 1 failed, 1 backoff, 1 queued, 1 running, 1 completed\n"
        "\n"
        "NAME    STATE      TIME       PID  RESTARTS  DETAIL\n"
        "broken  failed     2h05m ago  -    0         exit code 3; gave up after 5 restarts\n"
        "again   backoff    in 8s      -    0         exit code 1; restarts after 10 s\n"
        "new     queued     -          -    0         waits for a slot of group default\n"
        "web     running    2h05m      42   3         sleep 1000\n"
        "done    completed  2h05m ago  -    0         exit code 0\n"
    )


def test_long_shows_what_each_uses(fake: FakeDaemon, ctl: Ctl) -> None:
    used = {
        "user": 61.0, "system": 4.5, "memory": 3 << 29, "memory_peak": None, "tasks": 12, "tasks_peak": None, "read": None,
        "written": 1 << 20, "log": 700,
    }  # fmt: skip
    fake.answers = {
        "status": lambda args: [row("a"), row("b", "queued")], "usage": lambda args: [{"name": "a", "usage": used}]
    }  # fmt: skip
    heading, first, second = [line.split() for line in ctl("status", "-l").stdout.splitlines()[2:]]
    assert heading[5:12] == ["CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "LOG", "BUDGET"]
    assert second[5:11] == ["1m05s", "1.5G", "12", "-", "1.0M", "700"]
    assert first[5:11] == ["-"] * 6


def test_how_long_it_runs_is_true_on_a_clock_that_was_set(fake: FakeDaemon, ctl: Ctl) -> None:
    began = time.clock_gettime(time.CLOCK_BOOTTIME) - 7500
    run = {"id": "x", "pid": 42, "started_at": time.time() + 86400, "ended_at": None, "since_boot": began}
    fake.answers = {"status": lambda args: [row("web", run=run)]}
    assert "web   running  2h05m" in ctl("status").stdout


def test_no_workers(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: []}
    done = ctl("status")
    assert (done.returncode, done.stdout) == (0, "no workers yet. Begin with: rdagentctl submit -- COMMAND\n")
    assert ctl("status", "--json").stdout == "[]\n"


def test_names_exit_with_3_when_one_is_not_running(fake: FakeDaemon, ctl: Ctl) -> None:
    rows = [row("a"), row("b", "paused")]
    fake.answers = {"status": lambda args: rows}
    assert ctl("status", "a").returncode == 0
    rows.append(row("c", "completed", exit=ended(0)))
    assert ctl("status", "*").returncode == 3
    assert ctl("status", "--label", "k=v", "--json").returncode == 3
    assert ctl("status").returncode == 0


def test_quiet_gives_names_alone(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: [row("a"), row("b")]}
    assert ctl("status", "-q").stdout == "a\nb\n"


def test_a_thousand_fit_a_screen_and_trouble_is_on_it() -> None:
    rows = [row(f"worker-{n:03}", "failed" if n % 200 == 7 else "running", command=["x" * 300]) for n in range(1000)]
    shown = text(rows, (80, 24), everything=False, colour=False).splitlines()
    assert len(shown) <= 24
    assert max(map(width_of, shown)) <= 80
    assert shown[0] == "1000 workers: 5 failed, 995 running"
    assert [line.split()[0] for line in shown[3:8]] == [f"worker-{n:03}" for n in (7, 207, 407, 607, 807)]
    assert shown[-1] == "… and 981 running; to see them: rdagentctl status --all"
    assert len(text(rows, (80, 24), everything=True, colour=False).splitlines()) == 1003


def test_trouble_is_never_cut() -> None:
    rows = [row(f"w{n}", "failed") for n in range(100)] + [row("ok")]
    shown = text(rows, (80, 24), everything=False, colour=False)
    assert shown.count("  failed  ") == 100
    assert "and 1 running" in shown


def test_ill_health_is_trouble_and_told() -> None:
    rows = [
        row("a", health="healthy", ready=True),
        row("b", health="healthy", ready=False),
        row("c", health="starting", ready=False),
        row("z", health="unhealthy", ready=False),
        row("old", health=None),
    ]
    lines = text(rows, None, everything=False, colour=False).splitlines()[3:]
    assert lines[0].split()[:3] == ["z", "running,", "unhealthy"]
    told = {line.split()[0]: line for line in lines}
    assert "running, not ready" in told["b"] and "running, starting" in told["c"]
    assert "running," not in told["a"] and "running," not in told["old"]
    many = [row(f"w{n:03}", health="unhealthy") for n in range(100)] + [row("ok")]
    assert text(many, (120, 24), everything=False, colour=False).count("running, unhealthy") == 100


def test_hostile_names_stay_on_their_line() -> None:
    shown = text([row("a\x1b[2J", "fail\ned", command=["b\r\n", "\x07"])], None, everything=True, colour=False)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert len(shown.splitlines()) == 4


def on_terminal(path: str, **more: str) -> str:
    """What `status` writes to a terminal."""
    ours, theirs = pty.openpty()
    client = subprocess.Popen(
        [*CTL, "--socket", path, "status"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm", **more),
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:  # EIO: the other end is closed
        pass
    assert client.wait(30) == 0
    os.close(ours)
    return written.decode()


def test_colour_is_for_terminals_without_no_color(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: trouble()}
    assert "\x1b[31m1 failed\x1b[0m" in on_terminal(fake.path)
    assert "\x1b" not in on_terminal(fake.path, NO_COLOR="1")
    assert "\x1b" not in ctl("status").stdout


def test_keys_that_are_not_bare_are_quoted_as_toml_has_them() -> None:
    spec = {"nice": 5, "preflight": {"programs": {"/usr/bin/x": "0.8"}}}
    assert list(show._fields("", spec)) == [("nice", "5"), ('preflight.programs."/usr/bin/x"', '"0.8"')]
