"""What may be asked of a container: the fields of create, update and exec, as tables, and what is put in afterwards."""

from __future__ import annotations

import os
import re
from typing import Any

from rdagentd.dockerproxy import binds, document, fields, gpus
from rdagentd.dockerproxy.ask import Ask, Scope
from rdagentd.dockerproxy.fields import (
    clean,
    flag,
    listed,
    names,
    nested,
    number,
    one_of,
    text,
    texts,
    word_or_words,
    words,
)
from rdagentd.dockerproxy.refusal import forbidden, invalid
from rdagentd.dockerproxy.rules import Rules
from rdagentd.protocol import labels

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
_BIND_OPTIONS = frozenset({"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated"})
_ULIMITS = ("as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "rss", "stack")
SHM_DEFAULT = 64 << 20
"""What the engine gives where nothing is asked for, in bytes."""

# --- single values ----------------------------------------------------------------------------------------------------


def _bind(value: Any, where: str, scope: Scope) -> str:
    source, _, rest = text(value, where, scope).partition(":")
    target, _, options = rest.partition(":")
    asked = [one for one in options.split(",") if one]
    if not target or not set(asked) <= _BIND_OPTIONS:
        raise forbidden(f"cannot set {where} to {value!r:.120}: SOURCE:TARGET or SOURCE:TARGET:ro is expected")
    volume = scope.binds.volume(source, "ro" in asked) if source.startswith("/") else own_volume(source, scope)
    kept = [one for one in asked if one in ("ro", "nocopy")]
    if source.startswith("/") and "nocopy" not in kept:
        kept.append("nocopy")  # the engine fills empty volumes from the image; a bound directory is nobody's to fill
    return ":".join((volume, target, ",".join(kept))) if kept else f"{volume}:{target}"


def own_volume(name: str, scope: Scope) -> str:
    """A volume of the run's own by that name, made if there is none. Raises RefusedError."""
    if _VOLUME.fullmatch(name) is None or name.startswith(binds.PREFIX):
        raise forbidden(f"cannot use volume {name!r:.80}: not a name for a volume of this run")
    asked = {"Name": name, "Driver": "local", "Labels": scope.labels}
    made = scope.engine.ask("POST", "/volumes/create", document.write(asked))
    if not scope.labels.items() <= (made.get("Labels") or {}).items() or made.get("Options"):
        raise forbidden(f"cannot use volume {name}: it does not belong to this run")
    return name


def _mount(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    mount = clean(_MOUNT, value, where, scope)
    kind = mount.get("Type")
    if kind == "tmpfs":
        return mount
    source = mount.get("Source", "")
    mount["Type"] = "volume"
    mount.pop("BindOptions", None)
    if kind == "bind":
        volume = scope.binds.volume(source, mount.get("ReadOnly", False))
        return {**mount, "Source": volume, "VolumeOptions": {"NoCopy": True}}
    return {**mount, "Source": own_volume(source, scope)} if source else mount


def _other(value: Any, where: str, scope: Scope) -> str:
    """`container:NAME` of an own container, by its full id."""
    return "container:" + str(scope.belongings.container(value.partition(":")[2])["Id"])


def _namespace(*allowed: str) -> fields.Kind:
    plain = one_of("", *allowed)

    def check(value: Any, where: str, scope: Scope) -> str:
        shared = isinstance(value, str) and value.startswith("container:")
        return _other(value, where, scope) if shared else str(plain(value, where, scope))

    return check


def _network(value: Any, where: str, scope: Scope) -> str:
    if isinstance(value, str) and value.startswith("container:"):
        return _other(value, where, scope)
    return network(text(value, where, scope), where, scope.rules)


def network(name: str, where: str, rules: Rules) -> str:
    """A network that the run may use; "default" and nothing are the engine's bridge, or none where that is not allowed."""
    if name in ("", "default"):
        return "default" if "bridge" in rules.networks else "none"
    if name not in rules.networks:
        raise forbidden(f"cannot set {where} to {name!r:.80}: allowed is {', '.join(rules.networks)}")
    return name


def _endpoints(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"cannot set {where}: an object is expected")
    return {
        network(name, where, scope.rules): clean({"Aliases": words}, settings, f"{where}.{name}", scope)
        for name, settings in value.items()
    }


def _volumes_from(value: Any, where: str, scope: Scope) -> list[str]:
    found = []
    for one in words(value, where, scope):
        name, _, mode = one.partition(":")
        if mode not in ("", "ro", "rw"):
            raise forbidden(f"cannot set {where} to {one!r:.80}: CONTAINER or CONTAINER:ro is expected")
        found.append(scope.belongings.container(name)["Id"] + (f":{mode}" if mode else ""))
    return found


def _volumes(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    if any(not one.startswith("/") or ":" in one for one in names(value, where, scope)):
        raise forbidden(f"cannot set {where}: paths in the container are expected")
    return {key: {} for key in value}


def _ports(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"cannot set {where}: an object is expected")
    bound: dict[str, Any] = {}
    for inside, outside in value.items():
        for one in listed(nested({"HostIp": text, "HostPort": text}))(outside or [], f"{where}.{inside}", scope):
            if one.get("HostPort") not in map(str, scope.rules.ports) or one.get("HostIp", "") not in ("", "127.0.0.1"):
                allowed = ", ".join(map(str, scope.rules.ports)) or "none"
                raise forbidden(f"cannot publish {inside} as {one}: allowed ports are {allowed}, on 127.0.0.1")
            bound.setdefault(inside, []).append({"HostIp": "127.0.0.1", "HostPort": one["HostPort"]})
    return bound


def _ulimit(value: Any, where: str, scope: Scope) -> dict[str, Any]:
    return clean({"Name": one_of(*_ULIMITS), "Soft": number, "Hard": number}, value, where, scope)


def _not_privileged(value: Any, where: str, _: Scope) -> bool:
    if flag(value, where, _):
        raise forbidden(f"cannot set {where}: not allowed for what a run starts")
    return False


def ulimits(value: Any, where: str, scope: Scope) -> list[dict[str, Any]]:
    """A list of limits, as in HostConfig and in the query of a build."""
    return list(listed(_ulimit)(value or [], where, scope))


# --- the tables -------------------------------------------------------------------------------------------------------

_MOUNT: fields.Table = {
    "Type": one_of("bind", "volume", "tmpfs"),
    "Source": text,
    "Target": text,
    "ReadOnly": flag,
    "Consistency": text,
    "BindOptions": nested({"Propagation": one_of("", "private", "rprivate"), "CreateMountpoint": flag}),
    "VolumeOptions": nested({"NoCopy": flag}),
    "TmpfsOptions": nested({"SizeBytes": number, "Mode": number}),
}

_HEALTH: fields.Table = {
    "Test": words,
    "Interval": number,
    "Timeout": number,
    "StartPeriod": number,
    "StartInterval": number,
    "Retries": number,
}

_RESOURCES: fields.Table = {
    "Memory": number,
    "MemorySwap": number,
    "MemoryReservation": number,
    "NanoCpus": number,
    "CpuCount": number,
    "CpuPeriod": number,
    "CpuQuota": number,
    "CpuShares": number,
    "CpusetCpus": text,
    "CpusetMems": text,
    "PidsLimit": number,
    "BlkioWeight": number,
}

UPDATE: fields.Table = {**_RESOURCES, "RestartPolicy": nested({"Name": one_of("", "no"), "MaximumRetryCount": number})}

HOST: fields.Table = {
    **UPDATE,
    "AutoRemove": flag,
    "Binds": listed(_bind),
    "CapDrop": words,
    "CgroupnsMode": one_of("", "private"),
    "ConsoleSize": listed(number),
    "ContainerIDFile": lambda value, where, scope: "",  # the client's own file
    "DeviceRequests": gpus.device_requests,
    "Dns": words,
    "DnsOptions": words,
    "DnsSearch": words,
    "ExtraHosts": words,
    "GroupAdd": words,
    "Init": flag,
    "IpcMode": _namespace("none", "private", "shareable"),
    "Isolation": one_of("", "default"),
    "LogConfig": lambda value, where, scope: {},  # the run's own is put in
    "MemorySwappiness": fields.at_least(-1),
    "Mounts": listed(_mount),
    "NetworkMode": _network,
    "OomScoreAdj": fields.at_least(0),
    "PidMode": _namespace(),
    "PortBindings": _ports,
    "Privileged": _not_privileged,
    "ReadonlyRootfs": flag,
    "Runtime": one_of(""),
    "SecurityOpt": listed(one_of("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")),
    "ShmSize": number,
    "Tmpfs": texts,
    "UTSMode": one_of(""),
    "Ulimits": listed(_ulimit),
    "UsernsMode": one_of(""),
    "VolumesFrom": _volumes_from,
}

CREATE: fields.Table = {
    "ArgsEscaped": flag,
    "AttachStderr": flag,
    "AttachStdin": flag,
    "AttachStdout": flag,
    "Cmd": word_or_words,
    "Domainname": text,
    "Entrypoint": word_or_words,
    "Env": words,
    "ExposedPorts": names,
    "Healthcheck": nested(_HEALTH),
    "HostConfig": nested(HOST),
    "Hostname": text,
    "Image": text,
    "Labels": texts,
    "NetworkDisabled": flag,
    "NetworkingConfig": nested({"EndpointsConfig": _endpoints}),
    "OpenStdin": flag,
    "Shell": words,
    "StdinOnce": flag,
    "StopSignal": text,
    "StopTimeout": number,
    "Tty": flag,
    "User": text,
    "Volumes": _volumes,
    "WorkingDir": text,
}

EXEC: fields.Table = {
    "AttachStderr": flag,
    "AttachStdin": flag,
    "AttachStdout": flag,
    "Cmd": words,
    "ConsoleSize": listed(number),
    "Container": lambda value, where, scope: "",  # docker-py says here too what stands in the path
    "DetachKeys": text,
    "Env": words,
    "Privileged": _not_privileged,
    "Tty": flag,
    "User": text,
    "WorkingDir": text,
}

EXEC_START: fields.Table = {"Detach": flag, "Tty": flag, "ConsoleSize": listed(number)}

# --- decisions --------------------------------------------------------------------------------------------------------


def marked(given: dict[str, str], scope: Scope) -> dict[str, str]:
    """Labels with the run's own among them. Raises RefusedError for one that only we may give."""
    for name in given:
        if name.startswith(labels.PREFIX):
            raise forbidden(f"cannot set label {name!r:.80}: labels that begin with {labels.PREFIX} are the daemon's")
    return {**given, **scope.labels}


def create(ask: Ask) -> None:
    """POST /containers/create."""
    scope = ask.scope
    asked = clean(CREATE, ask.document, "", scope)
    host = {"NetworkMode": network("", "NetworkMode", scope.rules), **asked.get("HostConfig", {})}
    asked["Labels"] = marked(asked.get("Labels", {}), scope)
    asked["Env"] = gpus.visible(asked.get("Env", []), host.get("DeviceRequests", []), scope)
    asked["HostConfig"] = {**_capped(host, scope.rules, everything=True), **_forced(host, scope.rules)}
    ask.document = asked


def update(ask: Ask) -> None:
    """POST /containers/{container}/update: what is left out stays as it is."""
    asked = clean(UPDATE, ask.document, "", ask.scope)
    ask.document = _capped(asked, ask.scope.rules, everything=False)


def new_exec(ask: Ask) -> None:
    """POST /containers/{container}/exec."""
    ask.document = clean(EXEC, ask.document, "", ask.scope)


def start_exec(ask: Ask) -> None:
    """POST /exec/{exec}/start."""
    ask.document = clean(EXEC_START, ask.document, "", ask.scope)


def _forced(host: dict[str, Any], rules: Rules) -> dict[str, Any]:
    log = {"Type": rules.log_type, "Config": dict(rules.log_options)}
    # A device node that is made in a bound directory is one on the host, where no device cgroup holds the agent back.
    dropped = sorted({*host.get("CapDrop", []), "MKNOD"})
    forced: dict[str, Any] = {"LogConfig": log, "CgroupParent": rules.cgroup_parent, "CapDrop": dropped}
    if rules.shm is not None:
        forced["ShmSize"] = least(host.get("ShmSize", 0) or SHM_DEFAULT, rules.shm)
    return forced


def _capped(asked: dict[str, Any], rules: Rules, *, everything: bool) -> dict[str, Any]:
    """`asked` with the run's bounds on its resources; everything: also on those that were not asked for."""
    asked = dict(asked)
    count = asked.pop("CpuCount", 0)  # of Windows, where the engine ignores it elsewhere; RD-Agent means it
    if count > 0 and not asked.get("NanoCpus") and not asked.get("CpuQuota"):
        asked["NanoCpus"] = min(count, os.cpu_count() or count) * 1_000_000_000  # more than there are is refused
    capped = dict(asked)
    if rules.memory is not None and (everything or asked.get("Memory")):
        capped["Memory"] = least(asked.get("Memory", 0), rules.memory)
    if rules.memory is not None and rules.swap is not None and ("Memory" in capped or asked.get("MemorySwap")):
        capped["MemorySwap"] = least(asked.get("MemorySwap", 0), (capped.get("Memory") or rules.memory) + rules.swap)
    if rules.pids is not None and (everything or "PidsLimit" in asked):  # in an update too 0 is "no bound"
        capped["PidsLimit"] = least(asked.get("PidsLimit", 0), rules.pids)
    if rules.cpus is not None:
        for name in ("CpuQuota", "CpuPeriod"):  # the same in other words, which may not stand beside NanoCpus
            capped.pop(name, None)
        if everything or asked.get("NanoCpus") or asked.get("CpuQuota"):
            capped["NanoCpus"] = least(cpus(asked), rules.cpus)
    return capped


def least(wanted: int, bound: int) -> int:
    """What is given: what was wanted, at most the bound; no wish and "unlimited" get the bound."""
    return min(wanted, bound) if wanted > 0 else bound


def cpus(asked: dict[str, Any]) -> int:
    """CPU time that was asked for, in billionths of a CPU; 0: none was."""
    quota: int = asked.get("CpuQuota", 0)
    if quota > 0:
        return quota * 1_000_000_000 // (asked.get("CpuPeriod", 0) or 100_000)
    return int(asked.get("NanoCpus", 0))


def remove(ask: Ask) -> None:
    """DELETE /containers/{container}: the container, not a link."""
    if ask.query.pop("link", "").lower() not in ("", "0", "no", "false", "none"):
        raise forbidden("cannot remove a link: links are not allowed for a run")


def top(ask: Ask) -> None:
    """GET /containers/{container}/top: `ps` runs on the host, as root, and gets these words."""
    if re.fullmatch(r"-?[A-Za-z]*|-e?o [A-Za-z,]+", ask.query.get("ps_args", "")) is None:
        raise forbidden(f"cannot call ps with {ask.query['ps_args']!r:.80}: flags, or -o with columns, are expected")
