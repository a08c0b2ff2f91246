"""The Docker engine, and who may have it run what, as the configuration grants it."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from rdagentd.config.access import PRINCIPALS
from rdagentd.config.kinds import FLAG, Kind, each
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.section import Section
from rdagentd.config.texts import NAME, PATH

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@frozen
class Docker:
    """Where the engine is, and what it may be used for. users, host_network and directories: for who is no administrator.

    ports: first and last port of the host that containers may lease. proxy: where `rdagentd docker-proxy` listens for us;
    networks: those that may be joined through it. directories count there for everybody.
    """

    socket: str = "/var/run/docker.sock"
    users: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    host_network: bool = False
    ports: str = "19899-19909"
    proxy: str = "/run/rdagentd/docker-proxy.sock"
    networks: tuple[str, ...] = ("bridge", "none")

    @property
    def range(self) -> range:
        """The ports."""
        first, _, last = self.ports.partition("-")
        return range(int(first), int(last or first) + 1)


def _ports(value: Any) -> str:
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise wrong_type("a range of ports", value, 'write "19899-19909"')
    found = _RANGE.fullmatch(value)
    if found is None or not 0 < int(found[1]) <= int(found[2] or found[1]) < 65536:
        raise refused(f"{show(value)} is not a range of ports", 'write "19899-19909"', value)
    return value


def _network(value: Any) -> str:
    name: str = NAME.parse(value)
    if name == "host" or name.startswith("container:"):
        raise refused(f"{show(value)} is no network of its own", "leave it out", value)
    return name


NETWORKS = Kind("list of names", each(Kind("name", _network), 64).parse)

DOCKER = Section(
    Docker,
    {
        "socket": (PATH, "Unix socket of the engine. rdagentd's own user must be able to use it (group docker)."),
        "users": (
            PRINCIPALS,
            "Who may run containers and set docker_socket, besides administrators; in a [container] they are who they are "
            "outside, in containers of docker_socket whom they like.",
        ),
        "directories": (
            each(PATH, 64),
            "Directories of the host below which volumes of `users` may lie; by docker_socket read-only unless they own them.",
        ),
        "host_network": (FLAG, "Whether `users` may run containers in the network of the host."),
        "ports": (Kind('range of ports, as "19899-19909"', _ports), "Ports of the host that containers can lease."),
        "proxy": (PATH, "Unix socket of rdagentd-docker-proxy.service, for workers with docker_socket."),
        "networks": (NETWORKS, "Networks that containers of workers with docker_socket may join; never `host`."),
    },
)
