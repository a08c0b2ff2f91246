"""How busy and how full the host is, in per cent."""

from __future__ import annotations

import time

from attrs import frozen

_SHORTEST = 1.0
"""Seconds between two readings of the CPUs: the kernel counts in hundredths of a second."""


@frozen
class Load:
    """Per cent of all CPUs, of memory, of the file system of the state directory; None: cannot be known."""

    cpu: float | None = None
    memory: float | None = None
    disk: float | None = None


class LoadMeter:
    """Reads it: of the CPUs the average since the reading before; the first one is since boot, as vmstat's is."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._read_at = float("-inf")
        self._before = (0.0, 0.0)
        self._cpu = 0.0

    def read(self) -> Load:
        """Now. What cannot be read is None."""
        import psutil  # 11 ms, once, and only where somebody asks

        try:
            self._read_cpus(psutil.cpu_times())
            return Load(self._cpu, psutil.virtual_memory().percent, psutil.disk_usage(self._directory).percent)
        except OSError:
            return Load()

    def _read_cpus(self, times: object) -> None:
        """times: as psutil has them; those of guests are in those of user programs once more."""
        now = time.monotonic()
        if now - self._read_at < _SHORTEST:
            return
        counted = {name: getattr(times, name, 0.0) for name in _COUNTED}
        total, idle = sum(counted.values()), counted["idle"] + counted["iowait"]
        passed = total - self._before[0]
        if passed > 0:
            self._cpu = min(100.0, max(0.0, 100.0 * (1 - (idle - self._before[1]) / passed)))
        self._before, self._read_at = (total, idle), now


_COUNTED = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
