"""What the Docker engine is asked to create for a run: a spec in the words of the Engine API (v1.41). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rdagentd.drivers.limits import Unmet
from rdagentd.drivers.watchdog import watchdog_variables
from rdagentd.model.container import Container, Network
from rdagentd.model.requests import Requests
from rdagentd.model.spec import Limits, Log, Rlimit, Spec, Stop
from rdagentd.model.worker import Worker
from rdagentd.protocol import labels
from rdagentd.protocol.keys import guessed

HOST = labels.PREFIX + "host"
"""Label: the identity of the daemon that made it. Two daemons on one engine leave each other's containers alone."""

LOG = labels.PREFIX + "log"
"""Label: how its output is kept, as "cap:segment:separate"."""

REDACT = labels.PREFIX + "redact"
"""Label: variables whose values are taken out of its output, with "=" between them; not there if nothing is taken out."""

PORTS = labels.PREFIX + "ports"
"""Label: the ports of the host that it has on lease, as "19899,19900"."""

LOOPBACK = "127.0.0.1"

ULIMITS = (
    "core", "cpu_time", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
_CALLED = {"cpu_time": "cpu"}
"""Limits whose name differs from the engine's."""

_LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "100m", "max-file": "3"}}

NOTIFY = "/run/rdagentd/notify"
"""Directory in a container in which the socket is on which it tells of itself."""

CAPABLE = {
    "memory": "MemoryLimit",
    "swap": "SwapLimit",
    "cpu": "CpuCfsQuota",
    "cpu_weight": "CPUShares",
    "cpuset": "CPUSet",
    "tasks": "PidsLimit",
}
"""Limit → what the engine's /info says about being able to enforce it."""


def container_name(identity: str, run: str) -> str:
    """The name by which the engine itself refuses to make a second container for a run."""
    return f"rdagentd-{identity}-{run}"


def unmet(limits: Limits, facts: Mapping[str, Any]) -> list[Unmet]:
    """Limits that were asked for and that this engine, by what its /info says, cannot enforce."""
    found = []
    for name, able in CAPABLE.items():
        if getattr(limits, name) is not None and not facts.get(able, False):
            required = limits.require if limits.require is not None else name == "memory"
            follows = (
                "no run is started; set limits.require = false to go without it" if required else "runs go without"
            )
            text = f"limits.{name} cannot be enforced: this Docker engine has no {able} (docker info); {follows}"
            found.append(Unmet(name, required, text))
    return found


def container_config(  # noqa: PLR0913, PLR0917
    worker: Worker,
    user: str,
    identity: str,
    facts: Mapping[str, Any],
    ports: Sequence[int],
    channel: str | None = None,
) -> dict[str, Any]:
    """The body of POST /containers/create. user: as it is to be inside; ports: of the host, one for each port of the spec.
    channel: directory of the host with its NOTIFY_SOCKET, None if it gets none.

    Of its ports a run is told by variables: RDAGENTD_PORT_8501 is the port of the host by which its own 8501 is reached.
    """
    spec, run, container = worker.spec, worker.run, worker.spec.container
    assert run is not None
    assert container is not None
    leased = {
        f"RDAGENTD_PORT_{port.partition('/')[0]}": str(number)
        for port, number in zip(container.ports, ports, strict=True)
    }
    environment = {**spec.environment, "RDAGENTD_WORKER": worker.name, "RDAGENTD_RUN": run.id, **leased}
    environment |= watchdog_variables(spec)
    if channel is not None:
        environment["NOTIFY_SOCKET"] = f"{NOTIFY}/socket"
    config: dict[str, Any] = {
        "Image": container.image,
        "User": container.user if container.user is not None else user,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {
            HOST: identity,
            labels.WORKER: worker.name,
            labels.RUN: run.id,
            LOG: _log_words(spec.log),
            PORTS: ",".join(map(str, ports)),
            **({REDACT: "=".join(name for name, _ in secrets_in(spec))} if spec.log.redact else {}),
        },
        "HostConfig": _host_config(container, spec.limits, facts, ports, channel) | _gpus(run.holds),
        **_stop(spec.stop),
        "ExposedPorts": {port: {} for port in container.ports},
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
    }
    if spec.command:
        config["Cmd"] = list(spec.command)
    if container.entrypoint is not None:
        config["Entrypoint"] = list(container.entrypoint)
    if spec.directory is not None:
        config["WorkingDir"] = spec.directory
    return config


def _host_config(
    container: Container, limits: Limits, facts: Mapping[str, Any], ports: Sequence[int], channel: str | None
) -> dict[str, Any]:
    mounts = [_mount(volume) for volume in container.volumes]
    mounts += [] if channel is None else [{"Type": "bind", "Source": channel, "Target": NOTIFY, "ReadOnly": True}]
    config: dict[str, Any] = {
        "NetworkMode": container.network.value,
        "RestartPolicy": {"Name": "no"},  # we restart
        "LogConfig": _LOG_CONFIG,
        "CapDrop": ["ALL"],
        "CapAdd": list(container.cap_add),
        "SecurityOpt": ["no-new-privileges"] if container.no_new_privileges else [],
        "ReadonlyRootfs": container.read_only,
        "Init": container.init,
        "Mounts": mounts,
        "Ulimits": _ulimits(limits),
        **_cgroup(limits, facts),
    }
    if container.shm is not None:
        config["ShmSize"] = container.shm
    if container.network is Network.BRIDGE:
        config["PortBindings"] = {
            port: [{"HostIp": LOOPBACK, "HostPort": str(leased)}]
            for port, leased in zip(container.ports, ports, strict=True)
        }
    return config


def _stop(stop: Stop) -> dict[str, Any]:
    """How the engine ends it, if it does so by itself: one that leaves in order takes its containers along."""
    patience = stop.interval * (len(stop.signals) - 1) + stop.grace
    return {"StopSignal": stop.signals[0], "StopTimeout": math.ceil(patience)} if stop.signals else {"StopTimeout": 0}


def _mount(volume: str) -> dict[str, Any]:
    source, target, mode = volume.split(":")
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": mode == "ro"}


def _ulimits(limits: Limits) -> list[dict[str, Any]]:
    chosen: list[dict[str, Any]] = []
    for field in ULIMITS:
        limit: Rlimit | None = getattr(limits, field)
        if limit is not None:
            soft, hard = (-1 if bound is None else bound for bound in (limit.soft, limit.hard))
            chosen.append({"Name": _CALLED.get(field, field), "Soft": soft, "Hard": hard})
    return chosen


def _cgroup(limits: Limits, facts: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if limits.memory is not None:
        config["Memory"] = limits.memory
        config["MemorySwap"] = (
            -1 if limits.swap is None else limits.memory + limits.swap
        )  # the engine counts them together
    if limits.cpu is not None:
        config["NanoCpus"] = round(limits.cpu * 1e9)
    if limits.cpu_weight is not None:
        config["CpuShares"] = _shares(limits.cpu_weight, str(facts.get("CgroupVersion", "1")))
    if limits.cpuset is not None:
        config["CpusetCpus"] = limits.cpuset
    if limits.tasks is not None:
        config["PidsLimit"] = limits.tasks
    return config


def _shares(weight: int, cgroup_version: str) -> int:
    """The cpu.shares that mean this cpu.weight. For version 2, the inverse of what runc makes of them."""
    if cgroup_version == "2":
        return max(2, min(262_144, 2 + (weight - 1) * 262_142 // 9999))
    return max(2, weight * 1024 // 100)


def _gpus(holds: Requests) -> dict[str, Any]:
    """Those that it has on lease; inside they are numbered anew."""
    if isinstance(holds.gpus, int):
        return {}
    return {"DeviceRequests": [{"Capabilities": [["gpu"]], "DeviceIDs": list(holds.gpus)}]}


def secrets_in(spec: Spec) -> list[tuple[str, bytes]]:
    """Variables of a spec whose values are taken out of the output."""
    return sorted(guessed({name.encode(): value.encode() for name, value in spec.environment.items()}))


def secrets_of(redact: str, environment: Sequence[str]) -> list[tuple[str, bytes]]:
    """The same, from the label `REDACT` and the environment as the engine tells it."""
    pairs = (variable.partition("=") for variable in environment)
    return sorted((name, value.encode()) for name, _, value in pairs if name in redact.split("="))


def _log_words(log: Log) -> str:
    return f"{log.cap}:{log.segment}:{int(log.separate)}"


def log_of(words: str) -> Log:
    """The reverse of the label `LOG`; the defaults for what somebody else wrote there."""
    try:
        cap, segment, separate = words.split(":")
        return Log(int(cap), int(segment), separate == "1")
    except ValueError:
        return Log()
