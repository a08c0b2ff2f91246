"""The cgroup that the containers of a run share: named as the engine's driver wants it, and removed after the last of them.

It lies beside the cgroup of the run itself, not in it: that is delegated to the executor, and a delegated tree has one writer
(https://systemd.io/CGROUP_DELEGATION); with systemd's driver it has to be a slice anyway; and a cgroup in which the run's own
processes are can give no controllers to others below it (cgroups(7), "no internal processes").
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
PATIENCE = 30
"""Seconds that systemd may take to stop a slice in which nothing is left."""


def parent(facts: dict[str, Any], run: str) -> str:
    """The cgroup parent of a run. facts: the engine's /info."""
    return f"rdagentd-{run}.slice" if facts.get("CgroupDriver") == "systemd" else f"/rdagentd/{run}"


def remove(name: str) -> None:
    """Removes a parent whose containers are gone: neither the engine nor systemd does. One that cannot go is no harm."""
    if not name.startswith("/"):
        _stop(name)
        return
    below = name.lstrip("/")
    for path in (ROOT / below, *ROOT.glob(f"*/{below}")):  # version 2; each controller of version 1
        with contextlib.suppress(OSError):
            path.rmdir()


def _stop(unit: str) -> None:
    try:
        subprocess.run(["/usr/bin/systemctl", "stop", unit], check=True, capture_output=True, timeout=PATIENCE)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("cannot stop %s: %s", unit, error)
