"""Ralph: its installation into a venv of its own, and a workspace in which it works without network or model."""

# ruff: noqa: S603, S607, T201 -- a demo runs commands and prints

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.2.3"
AGENT = Path(__file__).with_name("agent")

# `claude: false` is a must: Ralph's dependencies bundle that command line, and it would be tried as a fallback.
CONFIG = """\
agent: auto
prompt_file: PROMPT.md
checkpoint_interval: 2
output_format: plain
adapters: {claude: false, kiro: false, gemini: false, acp: false, qchat: true}
"""
PROMPT = "# Task\n\nWrite a shell script that prints the primes below fifty.\n"


@dataclass(frozen=True)
class Workspace:
    """Where Ralph works, the file in which the agent notes what it printed, and the environment for both."""

    directory: Path
    witness: Path
    environment: dict[str, str]


def installed(venv: Path) -> bool:
    """Whether this venv has Ralph in the right version."""
    question = "import importlib.metadata as m; print(m.version('ralph-orchestrator'))"
    try:
        answer = subprocess.check_output([venv / "bin/python", "-c", question], stderr=subprocess.DEVNULL, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.decode().strip() == VERSION


def install(venv: Path, log: Path) -> None:
    """Installs Ralph from PyPI unless it is there, telling the time that passes; pip's output goes to `log`.

    Raises RuntimeError if pip fails.
    """
    if installed(venv):
        print(f"    Ralph {VERSION} is installed already in {venv.name}")
        return
    with log.open("wb") as output:
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], stdout=output, stderr=output, check=True)
        command = [venv / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--prefer-binary"]
        pip = subprocess.Popen([*command, f"ralph-orchestrator=={VERSION}"], stdout=output, stderr=output)
        try:
            _watch(pip)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    if pip.returncode != 0:
        tail = log.read_text(errors="replace").splitlines()[-5:]
        raise RuntimeError("cannot install ralph-orchestrator: pip failed:\n" + "\n".join(tail))


def make_workspace(root: Path) -> Workspace:
    """A git repository with a prompt and Ralph's configuration, below `root`."""
    directory = root / "workspace"
    directory.mkdir()
    (directory / "ralph.yml").write_text(CONFIG)
    (directory / "PROMPT.md").write_text(PROMPT)
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _PERSON}
    environment = {
        "HOME": str(root),
        "RALPH_QCHAT_COMMAND": str(AGENT),
        "DEMO_WITNESS": str(root / "witness"),
        "PYTHONUNBUFFERED": "1",
        **who,
    }
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run(["git", *arguments], cwd=directory, env={"PATH": _PATH, **environment}, check=True)
    return Workspace(directory, root / "witness", environment)


_PERSON = (("NAME", "Demo"), ("EMAIL", "demo@example.org"))
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _watch(pip: subprocess.Popen[bytes]) -> None:
    begin = time.monotonic()
    while pip.poll() is None and time.monotonic() - begin < 1800:
        if sys.stdout.isatty():
            print(f"\r    installing from PyPI, once: {time.monotonic() - begin:.0f} s …", end="", flush=True)
        try:
            pip.wait(1)
        except subprocess.TimeoutExpired:
            continue
    end = "\r" if sys.stdout.isatty() else ""
    print(f"{end}    installed from PyPI in {time.monotonic() - begin:.0f} s; kept for the next time")
