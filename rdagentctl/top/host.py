"""What the host and our own programs use, read from /proc: proc(5). The daemon is on this host: its socket is."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Host:
    """Looks again and again; shares of CPU are those since the look before."""

    def __init__(self) -> None:
        self._busy: tuple[float, float] | None = None
        self._programs: dict[int, tuple[float, float]] = {}

    def look(self, programs: dict[str, int | None]) -> dict[str, Any]:
        """{cpu: share of all CPUs or None, cpus, memory: [used, all], load: […], programs: {name: {cpu: in CPUs, memory}}}.

        programs: name → pid. What cannot be read is None; so is a share at the first look.
        """
        busy = _read("/proc/stat", cpu_ticks)
        cpu = None
        if busy and self._busy and busy[1] > self._busy[1]:
            cpu = max(0.0, busy[0] - self._busy[0]) / (busy[1] - self._busy[1])
        self._busy = busy
        pids = {name: pid for name, pid in programs.items() if pid}
        told = {name: self._program(pid) for name, pid in pids.items()}
        self._programs = {pid: found for pid, found in self._programs.items() if pid in pids.values()}
        return {
            "cpu": cpu,
            "cpus": os.cpu_count(),
            "memory": _read("/proc/meminfo", memory),
            "load": list(os.getloadavg()),
            "programs": told,
        }

    def _program(self, pid: int) -> dict[str, float | None]:
        found = _read(f"/proc/{pid}/stat", program)
        if found is None:
            return {"cpu": None, "memory": None}
        now, before = time.monotonic(), self._programs.get(pid)
        self._programs[pid] = (now, found[0])
        cpu = (found[0] - before[1]) / (now - before[0]) if before and now > before[0] else None
        return {"cpu": cpu, "memory": found[1]}


def cpu_ticks(text: str) -> tuple[float, float]:
    """(busy, all) ticks since boot from /proc/stat; guests are in user already, what was stolen is neither."""
    user, nice, system, idle, wait, irq, soft = map(int, text.split("\n", 1)[0].split()[1:8])
    busy = user + nice + system + irq + soft
    return busy, busy + idle + wait


def memory(text: str) -> tuple[int, int]:
    """(used, all) bytes from /proc/meminfo; used is what could not be given to a new program."""
    lines = dict(line.split(":") for line in text.splitlines())
    total, available = (int(lines[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    return total - available, total


def program(text: str) -> tuple[float, int]:
    """(CPU seconds, resident bytes) from /proc/PID/stat; the name in it may hold anything."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE


def _read(path: str, take: Any) -> Any:
    try:
        with open(path) as file:
            return take(file.read())
    except (OSError, ValueError, LookupError):
        return None
