"""What the host has to give away: what the configuration says, else what is found; less what is kept for the system."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rdagentd.config.host import Host
from rdagentd.model.requests import Capacity, Gpu

log = logging.getLogger(__name__)

DRIVER = Path("/proc/driver/nvidia/gpus")
"""A directory for each GPU, named by its PCI bus: the driver's README, "proc interface". Needs no device, unlike nvidia-smi."""

_PATIENCE = 10.0
"""Seconds for nvidia-smi: a driver that is broken lets it hang."""

_UUID = re.compile(r"GPU UUID:\s*(GPU-[0-9a-f-]+)")
_LISTED = re.compile(r"GPU ([0-9]+): .*\(UUID: (\S+)\)")


def capacity(host: Host, directory: str) -> Capacity:
    """Blocks. directory: where workers keep what they write."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if host.memory is None else host.memory
    cpu = float(os.cpu_count() or 1) if host.cpu is None else host.cpu
    disk = shutil.disk_usage(directory).total if host.disk is None else host.disk
    kept = host.reserve
    return Capacity(max(0, memory - kept.memory), max(0.0, cpu - kept.cpu), max(0, disk - kept.disk), _gpus(host.gpus))


def _gpus(chosen: tuple[str, ...] | None) -> tuple[Gpu, ...]:
    """Those that are found, or those of them that are chosen; of what is not found, the name is all that is known."""
    if chosen == ():
        return ()
    found = tuple(_by_driver() or _by_program())
    if chosen is None:
        return found
    names = {name: gpu for gpu in found for name in (gpu.uuid, gpu.id)}
    return tuple({gpu.id: gpu for gpu in (names.get(name, Gpu(name)) for name in chosen)}.values())


def _by_driver() -> list[Gpu]:
    try:
        places = sorted(DRIVER.iterdir())  # 0000:65:00.0: in the order of the bus
        told = [_UUID.search((place / "information").read_text()) for place in places]
    except OSError:
        return []
    return [Gpu(str(index), uuid[1] if uuid else "") for index, uuid in enumerate(told)]


def _by_program() -> Iterator[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no GPU is leased: cannot ask %s: %s; name them in [host] gpus", program, error)
        return
    yield from (Gpu(index, uuid) for index, uuid in _LISTED.findall(done.stdout))
