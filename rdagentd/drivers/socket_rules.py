"""What containers of a run with a Docker socket may have: the proxy's rules, from the worker's spec and the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rdagentd.drivers.identity import Identity, login_group
from rdagentd.model.isolation import Isolation
from rdagentd.model.requests import NOTHING
from rdagentd.model.worker import Worker

TASKS = 4096
"""Processes and threads of a container where the spec does not say: nothing else bounds them, unlike those of a user."""

SHM = 16 << 30
"""Bytes of /dev/shm where the spec gives no memory: what RD-Agent asks for. It counts as memory of the container."""

_ALONE = ("none",)


@frozen
class Granted:
    """What the configuration grants to all: directories that may be bound, networks that may be joined."""

    directories: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("bridge", "none")


def rules_of(worker: Worker, who: Identity, own: int, granted: Granted) -> Mapping[str, Any]:
    """For `open`. own: uid of the executor, which runs as itself who has no other.

    A container may have what the run may have, by `limits`; what is not limited there is not here, but for tasks and /dev/shm.
    GPUs are those that the run has on lease.
    More CPUs than there are would be refused by the engine. No network if its own is confined: a bridge would be a way round.
    """
    spec, limits = worker.spec, worker.spec.limits
    gpus = NOTHING.gpus if worker.run is None else worker.run.holds.gpus
    uid = own if who.uid is None else who.uid
    return {
        "worker": worker.name,
        "uid": uid,
        "gid": login_group(uid) if who.gid is None else who.gid,
        "memory": limits.memory,
        "swap": limits.swap,
        "cpus": None if limits.cpu is None else round(min(limits.cpu, os.cpu_count() or limits.cpu) * 1e9),
        "pids": TASKS if limits.tasks is None else limits.tasks,
        "shm": SHM if limits.memory is None else limits.memory,
        "binds": list(granted.directories),
        "owned": [] if spec.directory is None else [spec.directory],
        "gpus": [] if isinstance(gpus, int) else list(gpus),
        "networks": list(granted.networks if _at_large(spec.isolation) else _ALONE),
    }


def _at_large(isolation: Isolation) -> bool:
    return isolation.network and isolation.egress is None
