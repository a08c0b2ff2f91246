"""What a person may have Docker do. Who may use an engine freely is root on its host, so all is refused that is not granted.

Who is no administrator runs containers only if `docker.users` says so; inside they have the uid and gid that they have outside,
no capabilities and no way to new privileges, so that a mounted directory gives them nothing that they could not reach without
Docker. That holds for symbolic links below a granted directory too: what they lead to is judged by that uid and gid.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from rdagentd.config.docker import Docker
from rdagentd.model.container import Container, Network
from rdagentd.model.spec import Spec

_FOR_ADMINS: dict[str, Callable[[Container, Docker], bool]] = {
    "container.user": lambda container, docker: container.user is not None,
    "container.cap_add": lambda container, docker: bool(container.cap_add),
    "container.no_new_privileges = false": lambda container, docker: not container.no_new_privileges,
    'container.network = "host" (docker.host_network is false)': lambda container, docker: (
        container.network is Network.HOST and not docker.host_network
    ),
}


def may_not(spec: Spec, docker: Docker, uid: int) -> str | None:
    """Why a person who is no administrator may not have this spec, as the end of a sentence; None if they may."""
    container = spec.container
    if container is None and not spec.docker_socket:
        return None
    if not _is_one_of(uid, docker.users):
        return "only administrators and docker.users may run containers; ask an administrator to add you there"
    if container is None:
        return None  # what its containers may do is told to the proxy
    chosen = [key for key, is_chosen in _FOR_ADMINS.items() if is_chosen(container, docker)]
    if chosen:
        return f"only administrators may set {', '.join(chosen)}; leave that out"
    outside = [source for source in _sources(container) if not _is_below(source, docker.directories)]
    if outside:
        return f"volume {outside[0]} does not lie below one of docker.directories ({', '.join(docker.directories) or 'none'})"
    return None


def _sources(container: Container) -> list[str]:
    return [volume.split(":")[0] for volume in container.volumes]


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(directory) for directory in directories)


def _is_one_of(uid: int, names: Iterable[str]) -> bool:
    """Whether a person is named, or is in a group that is; what this host does not know names nobody."""
    try:
        entry = pwd.getpwuid(uid)
        user, gids = entry.pw_name, set(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except KeyError:
        user, gids = str(uid), set()
    return any(_gid(name[1:]) in gids if name.startswith("@") else name in (user, str(uid)) for name in names)


def _gid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        return -1
