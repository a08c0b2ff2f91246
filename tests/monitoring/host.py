"""A host whose CPU and memory are as a test says: /proc/stat and /proc/meminfo of its own, put over the kernel's."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

_SHOWN = ("stat", "meminfo")
_TICKS = 20
"""Hundredths of a second that are added at a time; all CPUs together."""


class Shown:
    """cpu: share of the time that all CPUs are busy. Its programs are started behind `prefix`, and see these files."""

    def __init__(self, directory: Path) -> None:
        self.cpu = 0.1
        self._busy = self._idle = 0
        files = {name: directory / name for name in _SHOWN}
        stat = Path("/proc/stat").read_text().partition("\n")[2]
        files["stat"].write_text(self._cpus() + stat)
        files["meminfo"].write_text(Path("/proc/meminfo").read_text())
        mounts = "".join(f"mount --bind '{file}' /proc/{name} && " for name, file in files.items())
        self.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts}exec "$@"', "sh"]
        self._stat, self._meminfo = (os.open(files[name], os.O_WRONLY) for name in _SHOWN)
        self.memory(40)  # what the host has just now may be little, and would stay so
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def unavailable(self) -> str | None:
        """Why no program can be shown these, in one line; None if one can."""
        done = subprocess.run([*self.prefix, "true"], capture_output=True, text=True, check=False)
        return f"cannot put files over /proc: {done.stderr.strip()}" if done.returncode else None

    def memory(self, used: float) -> None:
        """So many per cent of the memory are not available."""
        text = Path("/proc/meminfo").read_text()
        total = int(re.search(r"^MemTotal: +(\d+)", text, re.M)[1])  # type: ignore[index]
        available = re.search(r"^MemAvailable: +\d+", text, re.M)
        assert available is not None
        line = f"MemAvailable:{int(total * (1 - used / 100)):>{len(available[0]) - len('MemAvailable:')}}"
        os.pwrite(self._meminfo, line.encode(), available.start())

    def _cpus(self) -> str:
        """As long as ever, so that whoever reads while it is written finds a whole line."""
        return f"cpu  {self._busy:012} 0 0 {self._idle:012} 0 0 0 0 0 0\n"

    def _go_on(self) -> None:
        while not self._over.wait(_TICKS / 100):
            busy = round(_TICKS * self.cpu)
            self._busy, self._idle = self._busy + busy, self._idle + _TICKS - busy
            os.pwrite(self._stat, self._cpus().encode(), 0)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._stat)
        os.close(self._meminfo)
