"""As whom a run happens: uid, gid, supplementary groups, and the environment that a login of that person begins with."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping

from attrs import frozen

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class UnknownUserError(LookupError):
    """A user or group that this host does not know."""


@frozen
class Identity:
    """uid, gid and groups are None where the run happens as the executor's own user."""

    uid: int | None
    gid: int | None
    groups: list[int] | None
    environment: Mapping[str, str]


def identify(user: str | None, group: str | None, owner: int, own: int) -> Identity:
    """Who `user` is (a name or a number; None: the owner), `group` replacing the login group. Raises UnknownUserError.

    own: uid of the executor, which runs as itself what belongs to that user.
    """
    entry = _user(user) if user is not None else _owner(owner)
    environment = {
        "PATH": _PATH,
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell or "/bin/sh",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
    if entry.pw_uid == own and user is None and group is None:
        return Identity(None, None, None, environment)
    gid = _group(group) if group is not None else entry.pw_gid
    groups = os.getgrouplist(entry.pw_name, gid)
    return Identity(entry.pw_uid, gid, groups, environment)


def login_group(uid: int) -> int:
    """The group that a user logs in with; one whom this host does not know has the group of the same number."""
    return _owner(uid).pw_gid


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise UnknownUserError(f"cannot find user {name!r}: no such user on this host") from None


def _owner(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a container or a directory service that is away: a number is enough to run as
        return pwd.struct_passwd((str(uid), "x", uid, uid, "", "/", "/bin/sh"))


def _group(name: str) -> int:
    try:
        return grp.getgrgid(int(name)).gr_gid if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise UnknownUserError(f"cannot find group {name!r}: no such group on this host") from None
