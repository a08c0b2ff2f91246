"""The two ways in which an executor can know its processes, for tests that have to hold for both."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = ("cgroup", "search")

_PROBE = """
import select
from rdagentd.executor import cgroup
home = cgroup.settle()
found = cgroup.Cgroups(home, select.epoll())
print(*found.enforces()["files"])
found.close()
"""


@functools.cache
def enforced() -> frozenset[str]:
    """Files that a run's cgroup has on this host; skips the test if there can be no cgroup."""
    done = subprocess.run([sys.executable, "-c", _PROBE], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no cgroups for tests here: {done.stderr.strip().splitlines()[-1]}")
    return frozenset(done.stdout.split())


def prefix(way: str) -> list[str]:
    """What to put before a command so that an executor in it goes this way: cgroups are hidden from it, or they are not."""
    if way == "cgroup":
        enforced()
        return []
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    if os.geteuid() != 0 and mounts:
        pytest.skip("needs root: hides the cgroups of this host from the executor")
    hide = "".join(f"umount --lazy {mount} && " for mount in mounts)
    return ["unshare", "--mount", "sh", "-c", f'{hide}exec "$@"', "sh"]


def is_frozen(pid: int) -> bool:
    """By signal, or by the cgroup that it is in. One that has ended is not."""
    try:
        own = Path(f"/proc/{pid}/cgroup").read_text().partition("0::")[2].strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    events = [path for mount in mounts if (path := Path(f"{mount}{own}/cgroup.events")).exists()]
    return state == "T" or any("frozen 1" in path.read_text() for path in events)
