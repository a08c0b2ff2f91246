"""The cgroup that the containers of a run share: named as the engine's driver wants it, bounded, and removed after the last.

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

from rdagentd.dockerproxy.rules import Rules

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
SYSTEMCTL = "/usr/bin/systemctl"
PATIENCE = 30
"""Seconds that systemd may take to stop a slice in which nothing is left."""

_PERIOD = 100_000
"""Microseconds in which a share of the CPUs is counted: the kernel's own choice, and systemd's."""


def parent(facts: dict[str, Any], run: str) -> str:
    """The cgroup parent of a run. facts: the engine's /info."""
    return f"rdagentd-{run}.slice" if facts.get("CgroupDriver") == "systemd" else f"/rdagentd/{run}"


def bound(name: str, rules: Rules) -> None:
    """All containers of a run together may use what each of them may; `name`: of the parent. Can be said twice.

    Not with cgroups of version 1 without systemd. What cannot be set is told in the log: each has its own bounds all the same.
    """
    try:
        if name.startswith("/"):
            _write(ROOT / name.lstrip("/"), rules)
        else:
            _systemctl("set-property", "--runtime", name, *_properties(rules))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("cannot bound what the containers in %s use together: %s", name, error)


def remove(name: str) -> None:
    """Removes a parent whose containers are gone: neither the engine nor systemd does. One that cannot go is no harm."""
    if not name.startswith("/"):
        _stop(name)
        return
    below = name.lstrip("/")
    for path in (ROOT / below, *ROOT.glob(f"*/{below}")):  # version 2; each controller of version 1
        with contextlib.suppress(OSError):
            path.rmdir()


def _properties(rules: Rules) -> list[str]:
    """See systemd.resource-control(5)."""
    values = {
        "MemoryMax": rules.memory,
        "MemorySwapMax": rules.swap,
        "TasksMax": rules.pids,
        "CPUQuota": None if rules.cpus is None else f"{max(1, rules.cpus // 10_000_000)}%",
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _write(place: Path, rules: Rules) -> None:
    """See Documentation/admin-guide/cgroup-v2.rst."""
    if not (ROOT / "cgroup.controllers").exists():
        raise OSError("there are no cgroups of version 2")
    place.mkdir(parents=True, exist_ok=True)
    for above in reversed([path for path in place.parents if path.is_relative_to(ROOT)]):
        for controller in ("cpu", "memory", "pids"):
            with contextlib.suppress(OSError):  # what is missing shows below
                (above / "cgroup.subtree_control").write_text(f"+{controller}")
    values = {
        "memory.max": rules.memory,
        "memory.swap.max": rules.swap,
        "pids.max": rules.pids,
        "cpu.max": None if rules.cpus is None else f"{rules.cpus * _PERIOD // 10**9} {_PERIOD}",
    }
    problems = []
    for file, value in values.items():
        try:
            if value is not None:
                (place / file).write_text(str(value))
        except OSError as error:
            problems.append(f"{file}: {error.strerror}")
    if problems:
        raise OSError("; ".join(problems))


def _stop(unit: str) -> None:
    """`revert` takes back what was set; without a reload, which would be one of all units."""
    try:
        _systemctl("stop", unit)
        _systemctl("--no-reload", "revert", unit)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("cannot stop %s: %s", unit, error)


def _systemctl(*words: str) -> None:
    subprocess.run([SYSTEMCTL, *words], check=True, capture_output=True, timeout=PATIENCE)  # noqa: S603
