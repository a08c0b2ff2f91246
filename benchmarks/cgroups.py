"""The cgroups of version 2 of this host: whether an executor can use them, and how they are hidden from one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.base import ROOT

_PROBE = "from rdagentd.executor import cgroup; cgroup.Cgroups(cgroup.settle(), None).close()"


def usable() -> bool:
    """Whether runs get cgroups of their own here, and there can be an executor without."""
    probe = subprocess.run([sys.executable, "-c", _PROBE], check=False, capture_output=True, cwd=ROOT)
    return os.geteuid() == 0 and probe.returncode == 0


def hidden() -> list[str]:
    """What to put before a command so that it finds no cgroups, and searches for the processes of its runs."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    hide = "".join(f"umount --lazy {mount} && " for mount in mounts)
    return ["unshare", "--mount", "sh", "-c", f'{hide}exec "$@"', "sh"]
