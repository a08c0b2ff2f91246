"""Agents from PyPI, each in an environment of its own in .cache/agents, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "agents"
_LONGEST = 1800


def installed(name: str) -> Path:
    """The directory of an environment with the packages that NAME.txt beside this file lists, each in one version.

    Where they cannot be had the test is skipped in words; on CI it fails.
    """
    place, packages = CACHE / name, Path(__file__).with_name(f"{name}.txt")
    ready = place / "ready"
    if ready.exists() and ready.read_text() == packages.read_text():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([sys.executable, "-m", "venv", place], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        pip = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        command = [*pip, "--no-deps", "--requirement", packages]  # the list is whole: there is nothing to be resolved
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
    if made.returncode != 0:
        unavailable(f"cannot install {name}: {made.stderr.strip()[-500:]}")
    shutil.copyfile(packages, ready)
    return place


def needed(program: str) -> None:
    """Skips the test where a program is missing; on CI it fails."""
    if shutil.which(program) is None:
        unavailable(f"cannot run it: {program} is not installed; make tools")


def unavailable(reason: str) -> None:
    """Ends the test: skipped on a machine of somebody's, failed on CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
