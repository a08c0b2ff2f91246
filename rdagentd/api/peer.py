"""Who asks: identity as the kernel vouches for it (SO_PEERCRED, unix(7)), and what that person may do."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

from attrs import frozen

from rdagentd.config.access import Grants

log = logging.getLogger(__name__)

_UCRED = struct.Struct("3i")

_SO_PEERGROUPS = getattr(socket, "SO_PEERGROUPS", 59)
"""The supplementary groups of the process that connected, since Linux 4.13; 59 on all machines but sparc and parisc."""

_MOST_GROUPS = 1024
"""Bytes that Python asks the kernel for at most: 256 groups."""


class Access(IntEnum):
    """What an operation takes. VIEW: to look. OPERATE: on one's own workers. ADMIN: the daemon itself, and all workers."""

    NONE = 0
    VIEW = 1
    OPERATE = 2
    ADMIN = 3


@frozen
class Peer:
    """A client: pid, uid, gid of its process, and its role."""

    pid: int
    uid: int
    gid: int
    role: Access

    def owns(self, owner: int) -> bool:
        """Whether this person may operate a worker of `owner`."""
        return self.role is Access.ADMIN or self.uid == owner


@frozen
class Roles:
    """Roles by uid and by gid. how: what a person without a role is told to do."""

    users: Mapping[int, Access]
    groups: Mapping[int, Access]
    how: str

    def of(self, uid: int, gids: Iterable[int]) -> Access:
        """The highest role that one of these gives."""
        found = [self.groups.get(gid, Access.NONE) for gid in gids]
        return max(self.users.get(uid, Access.NONE), *found, Access.NONE)


def roles_of(grants: Grants) -> Roles:
    """The grants with numbers for names. Root and the daemon's own user are administrators always.

    A name that this host does not know gives nobody anything; it is logged unless it is one of the defaults.
    """
    users = {0: Access.ADMIN, os.geteuid(): Access.ADMIN}
    groups: dict[int, Access] = {}
    for names, access in (
        (grants.admins, Access.ADMIN),
        (grants.operators, Access.OPERATE),
        (grants.viewers, Access.VIEW),
    ):
        for name in names:
            table, number = (groups, _number(_gid, name[1:])) if name.startswith("@") else (users, _number(_uid, name))
            if number is not None:
                table[number] = max(table.get(number, Access.NONE), access)
            elif name not in _DEFAULT:
                log.warning("access: %s is not known on this host; it counts from the next reload after it is", name)
    join = next((name[1:] for name in grants.operators if name.startswith("@")), None)
    return Roles(users, groups, f"join group {join} and log in again, or ask an administrator" if join else _ASK)


_ASK = "ask an administrator"
_DEFAULT = {*Grants().admins, *Grants().operators}


def _number(find: Callable[[str], int], name: str) -> int | None:
    try:
        return int(name) if name.isdecimal() else find(name)
    except KeyError:
        return None


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def peer_of(connection: socket.socket, roles: Roles) -> Peer:
    """The client at the other end of a Unix socket."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, gid, roles.of(uid, {gid, *_groups(connection, uid, gid)}))


def _groups(connection: socket.socket, uid: int, gid: int) -> Iterable[int]:
    """As the process had them when it connected; where the kernel does not tell, as the host's database has them."""
    try:
        numbers = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS)
        return memoryview(numbers).cast("I")
    except OSError:  # an old kernel, or more groups than there is room for
        try:
            return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return ()
