"""What workers tell on their NOTIFY_SOCKET, from real programs to the rows that people see."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, LiveDaemon, eventually

DOCS = Path(__file__).parents[2] / "docs" / "side-channel.md"

TELL = """
import os, signal, socket, sys
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def tell(text): channel.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""


def example(language: str) -> str:
    """The example of that language in the documentation."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return str(text)


def python(client: Client, name: str, text: str, **spec: Any) -> None:
    client.submit(name, sys.executable, "-c", TELL + text, **spec)


def row(client: Client, name: str, **fields: Any) -> dict[str, Any]:
    """The row of a worker, once it has these fields."""

    def found() -> dict[str, Any] | None:
        seen = client.worker(name)
        return seen if all(seen[key] == value for key, value in fields.items()) else None

    seen: dict[str, Any] = eventually(found, f"{name} to have {fields}")
    return seen


def measures(client: Client, name: str) -> dict[str, Any]:
    seen = client.worker(name)
    return {key: seen[key] for key in ("status", "iteration", "progress", "cost_usd")}


@pytest.mark.skipif(not shutil.which("systemd-notify"), reason="needs systemd-notify")
def test_the_shell_example_of_the_documentation(client: Client, tmp_path: Path) -> None:
    (tmp_path / "agent").write_text(example("sh"))
    client.submit("w", "/bin/sh", str(tmp_path / "agent"))
    (ended,) = client.wait("w")
    assert ended["exit"]["code"] == 0, client.log("w")
    assert measures(client, "w") == {"status": "iteration 3 of 3", "iteration": 3, "progress": 1.0, "cost_usd": None}


def test_the_python_example_of_the_documentation(client: Client) -> None:
    client.submit("w", sys.executable, "-c", example("python"), watchdog="1h")
    (ended,) = client.wait("w")
    assert ended["exit"]["code"] == 0, client.log("w")
    assert measures(client, "w") == {"status": "iteration 3 of 3", "iteration": 3, "progress": 1.0, "cost_usd": 0.06}


def test_a_run_that_falls_silent_is_ended_as_unhealthy(client: Client) -> None:
    client.submit("told", "sh", "-c", "echo $WATCHDOG_USEC", watchdog="1h")
    client.submit("silent", "sleep", "1000", watchdog="500ms", stop={"grace": "100ms"})
    (ended,) = client.wait("silent")
    assert (ended["exit"]["kind"], ended["state"]) == ("unhealthy", "failed")
    assert ended["exit"]["reason"].startswith("gave no sign of life for 0.5 s")
    client.wait("told")
    assert client.log("told") == b"3600000000\n"


def test_who_says_that_it_is_not_well_is_ended_though_its_time_is_not_over(client: Client) -> None:
    python(client, "w", "tell('WATCHDOG=1'); tell('WATCHDOG=trigger'); signal.pause()", watchdog="1h")
    (ended,) = client.wait("w")
    assert (ended["exit"]["kind"], ended["exit"]["signal"]) == ("unhealthy", "SIGTERM")


def test_who_needs_more_time_to_end_gets_it(client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    text = f"""
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # pause() may miss one that came just before
tell('STATUS=ready')
signal.sigwait([signal.SIGTERM])
tell('EXTEND_TIMEOUT_USEC=3600000000')
open({str(tmp_path / "go")!r}).read()
sys.exit(5)
"""
    python(client, "w", text, stop={"grace": "60s"})
    row(client, "w", status="ready")
    client.verb("stop", "w")
    eventually(lambda: (client.worker("w")["due_in"] or 0) > 3000, "the grace to be prolonged")
    (tmp_path / "go").write_text("")
    (ended,) = client.wait("w")
    assert (ended["state"], ended["exit"]["code"]) == ("stopped", 5)


def test_what_was_told_while_the_daemon_was_dead_is_there_afterwards(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    text = """
tell('X_RDAGENT_TOKENS=1\\nSTATUS=before')
for fifo in sys.argv[1:]:
    tell(f'X_RDAGENT_TOKENS={open(fifo).read()}\\nX_RDAGENT_COST_USD=0.5\\nSTATUS=after')
"""
    fifos = {name: [tmp_path / f"{name}{number}" for number in range(2)] for name in ("runs", "ends")}
    for name, paths in fifos.items():
        for path in paths:
            os.mkfifo(path)
        client.submit(name, sys.executable, "-c", TELL + text, *map(str, paths), watchdog="1h")
        row(client, name, tokens=1, status="before")
    daemon.kill()
    for path, tokens in ((fifos["runs"][0], "7"), (fifos["ends"][0], "7"), (fifos["ends"][1], "9")):
        path.write_text(tokens)
    again = daemon.start()
    assert again is not None
    assert row(again, "runs", tokens=7)["status"] == "after"
    (ended,) = again.wait("ends")
    assert (ended["state"], ended["tokens"], ended["cost_usd"]) == ("completed", 9, 0.5)
    fifos["runs"][1].write_text("9")
    (ended,) = again.wait("runs")
    assert (ended["state"], ended["tokens"], ended["cost_usd"]) == ("completed", 9, 0.5)


@pytest.mark.timeout(400)
def test_a_flood_of_a_hundred_thousand_messages_bothers_nobody(daemon: LiveDaemon, client: Client) -> None:
    """Others are heard meanwhile; the daemon hears some ten a second; its memory stays as it is, and all ends with the last."""
    assert daemon.process is not None
    text = "for n in range(100_000): tell(f'X_RDAGENT_ITERATION={n}\\nSTATUS=step {n}\\nX_RDAGENT_STEP={n}')"
    before = memory(daemon.process.pid)
    python(client, "flood", text)
    eventually(lambda: client.worker("flood")["iteration"], "the flood to begin")
    for number in range(3):
        python(client, f"quiet{number}", f"tell('STATUS={number}')")
        client.wait(f"quiet{number}")
        assert client.worker(f"quiet{number}")["status"] == str(number)
    client.socket.settimeout(300)
    (ended,) = client.answer(client.send("wait", select={"names": ["flood"]}, until="rest"))
    assert (ended["iteration"], ended["status"], ended["step"]) == (99_999, "step 99999", "99999")
    events = list(client.stream("events", select={"names": ["flood"]}))
    assert len(events) < 10, events
    assert memory(daemon.process.pid) - before < 20 << 20


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_what_was_refused_stands_in_the_story(client: Client) -> None:
    python(client, "w", "tell('FDSTORE=1'); tell('STATUS=' + 'x' * 5000)")
    client.wait("w")
    texts = [event["text"] for event in client.stream("events", select={"names": ["w"]}) if event["kind"] == "notice"]
    assert texts and "descriptors are not stored" in texts[0]


@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_it_works_from_inside_the_strictest_isolation(daemon: LiveDaemon, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: runs as another user")
    started = daemon.start(env={"RUNTIME_DIRECTORY": str(tmp_path)})
    assert started is not None
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    command = ("systemd-notify", "STATUS=within", "WATCHDOG=1")
    started.submit("w", *command, user="nobody", isolation="strict", watchdog="1h")
    (ended,) = started.wait("w")
    assert (ended["exit"]["code"], ended["status"]) == (0, "within"), started.log("w")
