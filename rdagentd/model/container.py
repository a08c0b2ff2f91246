"""The container of a worker whose runs happen in Docker, as it was asked for."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class DriverName(StrEnum):
    """How the runs of a worker happen."""

    PROCESS = "process"
    DOCKER = "docker"


class Way(StrEnum):
    """What there must be for a run to begin: what is behind its driver, and for one with a Docker socket the proxy too."""

    PROCESS = "process"
    DOCKER = "docker"
    SOCKET = "socket"


class Pull(StrEnum):
    """When an image is fetched before a run begins."""

    NEVER = "never"
    MISSING = "missing"
    ALWAYS = "always"


class Network(StrEnum):
    """What a container may reach."""

    BRIDGE = "bridge"
    NONE = "none"
    HOST = "host"


@frozen
class Container:
    """What is particular to a run in Docker; what a process has too (command, limits, environment) stands in the spec itself.

    entrypoint None: the image's. user: as Docker has it, None: uid:gid of the worker's user. volumes: "HOST:CONTAINER:ro".
    ports: "8501/tcp", ports of the container that get a leased port of the host. shm: bytes, None: Docker's 64 MiB.
    cap_add: capabilities given back after all were taken.
    """

    image: str
    entrypoint: tuple[str, ...] | None = None
    pull: Pull = Pull.MISSING
    user: str | None = None
    volumes: tuple[str, ...] = ()
    network: Network = Network.BRIDGE
    ports: tuple[str, ...] = ()
    shm: int | None = None
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    no_new_privileges: bool = True
    init: bool = True
