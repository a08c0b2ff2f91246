"""A fake daemon and the real client, run as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rdagentctl.fake import FakeDaemon

ROOT = str(Path(__file__).parents[2])
CTL = [sys.executable, "-m", "rdagentctl"]

Ctl = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """A small one, so that nothing of the tester's own leaks in."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A fake daemon without answers."""
    with FakeDaemon(str(tmp_path / "sock")) as daemon:
        yield daemon


@pytest.fixture
def ctl(tmp_path: Path) -> Ctl:
    """Runs rdagentctl against tmp_path/sock in tmp_path."""

    def run(*words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CTL, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            cwd=tmp_path,
            env=environment(**{"RDAGENTD_SOCKET": str(tmp_path / "sock"), **more}),
        )

    return run
