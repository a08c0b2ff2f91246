"""The machine on which was measured, without its name."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

from benchmarks.peers.base import ROOT


def describe() -> str:
    """Cores, memory, kernel, interpreters, file system: what the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    daemon = subprocess.check_output([ROOT / ".venv/bin/python", "-V"], text=True).strip()
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]} "
        f"{platform.machine()}; daemon on {daemon}, clients and peers on Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; all state below {_file_system()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _file_system() -> str:
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", "/tmp"], text=True).strip()
    return f"/tmp ({kind})"
