"""However top ends or rests, the terminal is as it was before."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys

import pytest

from tests.harness import Client, LiveDaemon
from tests.rdagentctl.conftest import CTL, environment
from tests.rdagentctl.top.conftest import Top
from tests.terminal import ALTERNATE, CURSOR, WRAP, Terminal


def taken(seen: Terminal) -> bool:
    """Whether the screen is ours: another one, no cursor, no wrapping."""
    return seen.shows(ALTERNATE) and not seen.shows(CURSOR) and not seen.shows(WRAP)


@pytest.fixture
def worker(client: Client) -> Client:
    client.submit("idle", "sleep", "1000")
    client.wait("idle", until="running")
    return client


LEAVING = {
    "q": ("q", None, 0),
    "q while a log is shown": ("\x1b[Blqq", None, 0),
    "ctrl-C": ("\x03", None, 130),
    "ctrl-backslash": ("\x1c", None, -signal.SIGQUIT),
    "SIGTERM": ("", signal.SIGTERM, -signal.SIGTERM),
    "SIGHUP": ("", signal.SIGHUP, -signal.SIGHUP),
    "SIGINT": ("", signal.SIGINT, 130),
}


@pytest.mark.parametrize("way", LEAVING)
def test_as_before_after(worker: Client, top: Top, way: str) -> None:
    keys, number, code = LEAVING[way]
    seen = top()
    seen.see("idle")
    assert taken(seen)
    assert seen.modes() != seen.modes_before
    seen.type(keys)
    if number is not None:
        os.kill(seen.process.pid, number)
    assert seen.end() == code
    assert seen.modes() == seen.modes_before


def test_as_before_after_a_start_without_a_daemon(daemon: LiveDaemon, top: Top) -> None:
    seen = top()
    assert seen.end() == 69
    assert seen.modes() == seen.modes_before
    assert "cannot reach rdagentd at" in seen.text


def test_a_terminal_that_is_gone_ends_it(worker: Client, top: Top) -> None:
    seen = top()
    seen.see("idle")
    seen.hang_up()
    assert seen.process.wait(60) in (-signal.SIGHUP, 128 + signal.SIGHUP)


def test_ctrl_z_gives_the_terminal_back_to_the_shell_and_fg_takes_it_again(worker: Client, daemon: LiveDaemon) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    command = shlex.join([*CTL, "--socket", str(daemon.socket), "top", "--interval", "0.3"])
    shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    with Terminal(shell, 100, 24, **environment(PS1="ready> ", TERM="xterm-256color")) as seen:
        seen.see("ready>")
        before = seen.modes()
        seen.type(f"{command}\n")
        seen.until(lambda: taken(seen) and "idle" in seen.text, "top")
        for _ in range(2):
            seen.type("\x1a")
            seen.until(
                lambda: not seen.shows(ALTERNATE) and seen.shows(CURSOR) and seen.shows(WRAP), "the shell's screen"
            )
            seen.see("Stopped")
            seen.until(lambda: seen.modes() == before, "the shell's modes")
            seen.screen.reset()
            seen.resize(90, 20)
            seen.type("fg\n")
            seen.until(lambda: taken(seen) and "idle" in seen.text, "top again, in a window of another size")
            seen.until(lambda: seen.lines[-1].startswith("↑ ↓"), "the last line in its place")
        seen.type("q")
        seen.until(lambda: seen.modes() == before, "the shell's modes")
        seen.type("exit\n")
        assert seen.end() == 0


def test_after_a_stop_that_cannot_be_noticed_everything_is_drawn_anew(worker: Client, top: Top) -> None:
    seen = top()
    seen.see("idle")
    os.kill(seen.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, seen.process.pid, os.WSTOPPED | os.WNOWAIT)
    seen.screen.reset()  # as a shell, or somebody else, left it
    os.kill(seen.process.pid, signal.SIGCONT)
    seen.until(lambda: taken(seen) and "idle" in seen.text, "top")
    seen.type("q")
    assert seen.end() == 0


def test_a_second_signal_does_not_wait_for_the_first() -> None:
    """The loop may hang in a write to a terminal that takes nothing."""
    code = (
        "import os, signal; from rdagentctl.top.signals import Signals\n"
        "with Signals(): os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM); print('on')"
    )
    assert os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], environment()) == -signal.SIGTERM
