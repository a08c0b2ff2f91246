"""The container of a worker as people write it, and what does not go together with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rdagentd.config.kinds import FLAG, Kind, choice, each, whole
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.resources import optional
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import COMMAND, text
from rdagentd.config.units import parse_size
from rdagentd.model.container import Container, DriverName, Network, Pull
from rdagentd.model.spec import Limits, Spec

_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9_.:/@-]{0,254}")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")
_CAPABILITY = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?")


def _matching(pattern: re.Pattern[str], what: str, hint: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(what, value, "write it in quotes")
        if not pattern.fullmatch(value):
            raise refused(f"{show(value)} is not {what}", hint, value)
        return value

    return parse


def _volume(value: Any) -> str:
    """ "HOST:CONTAINER", with ":ro" or ":rw" after it; always with one of them when it is read."""
    parts = text(value, 8192).split(":")
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or mode not in ("ro", "rw"):
        raise refused(
            f"{show(value)} is not a volume", 'write "/on/the/host:/in/the/container", with ":rw" to write', value
        )
    for path in parts:
        if not path.startswith("/") or "/../" in f"{path}/":
            raise refused(f"{show(path)} is not a whole path without ..", "give both paths from /", value)
    return ":".join((*parts, mode))


def _port(value: Any) -> str:
    found = _PORT.fullmatch(str(value)) if type(value) in (int, str) else None
    if found is None or not 0 < int(found[1]) < 65536:
        raise refused(f"{show(value)} is not a port", '8501, or "53/udp": a port of the container', value)
    return f"{int(found[1])}/{found[2] or 'tcp'}"


def _entrypoint(value: Any) -> tuple[str, ...] | None:
    return None if value is None else COMMAND.parse(value)


def _user(value: Any) -> str | None:
    if value is None:
        return None
    parse = _matching(_USER, "a user", 'a name of the image, or "uid:gid"')
    return parse(str(value) if type(value) is int else value)


def _shm(value: Any) -> int | None:
    return parse_size(value) if value is None else whole(1, 1 << 50).parse(parse_size(value))


def _host_ports(container: Container) -> str:
    if container.network is Network.BRIDGE or not container.ports:
        return ""
    return f"ports are published on a bridge, and the network is {container.network.value}"


CONTAINER = Section(
    Container,
    {
        "image": (Kind("image", _matching(_IMAGE, "an image", 'such as "python:3.11"')), "Image to run."),
        "entrypoint": (
            Kind(COMMAND.says, _entrypoint),
            "Program that gets `command` as its arguments. Not given: the image's.",
        ),
        "pull": (choice(Pull), "When the image is fetched: not at all, when it is not there, or before every run."),
        "user": (
            Kind('name of the image, or "uid:gid"', _user),
            "User inside. Not given: uid and gid of the person as whom it runs. For administrators.",
        ),
        "volumes": (
            each(Kind('"HOST:CONTAINER", with ":rw" after it to write', _volume), 64),
            "Directories or files of the host that it sees. Nothing is made on the host: what is missing is an error.",
        ),
        "network": (choice(Network), "What it can reach; `host` is for administrators."),
        "ports": (
            each(Kind("port, or port/udp", _port), 16),
            "Ports of the container, each reachable at 127.0.0.1 through a port leased from `docker.ports`.",
        ),
        "shm": (optional(Kind("size", _shm)), "Size of /dev/shm. Not given: Docker's 64 MiB."),
        "read_only": (FLAG, "Whether its own root directory can only be read."),
        "cap_add": (
            each(Kind("capability", _matching(_CAPABILITY, "a capability", 'such as "NET_ADMIN"')), 64),
            "Capabilities that it keeps; all others are taken from it. For administrators.",
        ),
        "no_new_privileges": (
            FLAG,
            "Whether set-user-ID programs are without effect. Only administrators may say false.",
        ),
        "init": (FLAG, "Whether process 1 is a small init that forwards signals and reaps."),
    },
    hints={
        "command": "command stands beside container, not in it",
        "memory": "limits.memory stands beside container, not in it",
        "environment": "environment stands beside container, not in it",
        "workdir": "directory, beside container, is the directory inside",
        "mounts": "did you mean volumes?",
        "shm_size": "did you mean shm?",
        "network_mode": "did you mean network?",
        "gpus": "requests.gpus stands beside container, not in it",
        "privileged": "is never given; cap_add gives single capabilities",
    },
    conflicts=(Conflict("ports", ("ports", "network"), _host_ports),),
    optional=True,
)


# --- together with the rest of the spec -------------------------------------------------------------------------------


def derive_driver(values: dict[str, Any]) -> None:
    """A container says by itself that the driver is docker."""
    if values.get("container") is not None:
        values.setdefault("driver", DriverName.DOCKER)


def needs(raw: Mapping[Any, Any]) -> tuple[str, ...]:
    """A process needs a command; a container has one of its image."""
    docker = raw.get("container") is not None or raw.get("driver") == DriverName.DOCKER
    return () if docker else ("command",)


def _command(spec: Spec) -> str:
    return (
        "is empty (give the program and its arguments)"
        if spec.driver is DriverName.PROCESS and not spec.command
        else ""
    )


def _command_or_none(value: Any) -> tuple[str, ...]:
    return () if value in ([], ()) else COMMAND.parse(value)


COMMAND_OR_NONE = Kind(COMMAND.says, _command_or_none)


def _container(spec: Spec) -> str:
    if spec.driver is DriverName.DOCKER and spec.container is None:
        return 'missing: driver = "docker" needs a table [container] with an image'
    if spec.driver is DriverName.PROCESS and spec.container is not None:
        return 'stands beside driver = "process"'
    return ""


_IN_THE_IMAGE = "is not for containers; build it into the image, or mount it as a volume"
_NOT_IN_DOCKER = "cannot be enforced by Docker"

_FOREIGN: Mapping[str, tuple[Callable[[Spec], bool], str]] = {
    "docker_socket": (
        lambda spec: spec.docker_socket,
        "is not for containers, whose way to an engine would be a mount",
    ),
    "environment_file": (lambda spec: bool(spec.environment_file), f"{_IN_THE_IMAGE}; environment works"),
    "credentials": (lambda spec: bool(spec.credentials), _IN_THE_IMAGE),
    "secret_environment": (
        lambda spec: bool(spec.secret_environment),
        "is not for containers: docker inspect would show it; mount a file as a volume",
    ),
    "umask": (lambda spec: spec.umask != 0o022, "is not for containers"),
    "nice": (lambda spec: spec.nice != 0, "is not for containers; use limits.cpu_weight"),
    "limits.address_space": (
        lambda spec: spec.limits.address_space is not None,
        f"{_NOT_IN_DOCKER}; use limits.memory",
    ),
    "limits.memory_high": (lambda spec: spec.limits.memory_high is not None, _NOT_IN_DOCKER),
    "limits.io_weight": (lambda spec: spec.limits.io_weight is not None, _NOT_IN_DOCKER),
    "limits.io_max": (lambda spec: bool(spec.limits.io_max), _NOT_IN_DOCKER),
}


def _other_engine(spec: Spec) -> str:
    own = spec.docker_socket and "DOCKER_HOST" in spec.environment
    return "stands in environment too, which would lead elsewhere: leave one of them out" if own else ""


def _swap_alone(spec: Spec) -> str:
    return "Docker counts it beside limits.memory: give that too" if _has_swap_alone(spec.limits) else ""


def _has_swap_alone(limits: Limits) -> bool:
    return limits.swap is not None and limits.memory is None


def _foreign(is_set: Callable[[Spec], bool], reason: str) -> Callable[[Spec], str]:
    return lambda spec: reason if spec.driver is DriverName.DOCKER and is_set(spec) else ""


CONFLICTS = (
    Conflict("command", ("command", "driver", "container"), _command),
    Conflict("container", ("driver", "container"), _container),
    Conflict("docker_socket", ("docker_socket", "environment"), _other_engine),
    Conflict("limits.swap", ("limits",), lambda spec: _swap_alone(spec) if spec.driver is DriverName.DOCKER else ""),
    *(
        Conflict(key, (key.partition(".")[0], "driver", "container"), _foreign(is_set, reason))
        for key, (is_set, reason) in _FOREIGN.items()
    ),
)
"""What is wrong with a whole spec because of its driver."""
