"""Completions: accepted by their shells, complete, and right in bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rdagentctl import complete, table
from tests.rdagentctl.conftest import Ctl

SCRIPTS = {"bash": complete.bash, "zsh": complete.zsh, "fish": complete.fish}


@pytest.mark.parametrize("shell", table.SHELLS)
def test_a_shell_accepts_it(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell](), text=True, check=True, timeout=30)


@pytest.mark.parametrize("shell", table.SHELLS)
def test_everything_is_in_it(ctl: Ctl, shell: str) -> None:
    script = ctl("completion", shell).stdout
    assert script == SCRIPTS[shell]()
    for command in table.COMMANDS:
        assert command.name in script
        for option in command.options:
            assert option.flag.removeprefix("--") in script


def test_another_shell_is_refused(ctl: Ctl) -> None:
    done = ctl("completion", "tcsh")
    assert (done.returncode, done.stderr) == (2, "cannot complete for tcsh: one of bash, zsh, fish is expected\n")


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("rdagentctl sta", ["status", "start"]),
        ("rdagentctl stop w", ["web", "worker"]),
        ("rdagentctl status --q", ["--quiet"]),
        ("rdagentctl submit --restart on", ["on-failure"]),
        ("rdagentctl submit --limit nof", ["nofile="]),
        ("rdagentctl signal H", ["HUP"]),
        ("rdagentctl --socket /s signal HUP we", ["web"]),
        ("rdagentctl completion z", ["zsh"]),
        ("rdagentctl logs --stream e", ["err"]),
    ],
)
def test_bash_offers(tmp_path: Path, line: str, offers: list[str]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    words = line.split()
    script = f"""rdagentctl() {{ printf 'web\\nworker\\nother\\n'; }}
{complete.bash()}
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _rdagentctl; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert sorted(done.stdout.split()) == sorted(offers)
    assert done.stderr == ""
