"""As whom runs may happen: the executor's own answer, from a file that only root can change. It does not trust the daemon."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import tomllib
from typing import Any, NamedTuple

MAX_FILE = 1 << 16
"""Largest policy file, in bytes."""

BUILT_IN = "the built-in policy (no --policy)"


class PolicyError(OSError):
    """This run must not happen as that user, for a reason that names the user and the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)


class Policy(NamedTuple):
    """Users are names or numbers. allow_users: nobody else, then whatever their uid, yet root only with allow_root.

    deny_users wins over all. minimum_uid counts while allow_users is empty, and not for root, for whom there is allow_root.
    """

    path: str = BUILT_IN
    minimum_uid: int = 1000
    allow_root: bool = False
    allow_users: tuple[str, ...] = ()
    deny_users: tuple[str, ...] = ()

    def judge(self, uid: int | None, gid: int | None) -> tuple[int, int, list[int]]:
        """uid, gid and groups for a run that is asked for with these; None: the executor's own user, that user's own group.

        The groups are those that the user has on this host, whatever was asked for. Raises PolicyError.
        """
        uid = os.geteuid() if uid is None else uid
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise PolicyError(f"uid {uid} is refused by {self.path}: no such user on this host") from None
        name = entry.pw_name
        problem = self._problem(uid, name)
        if problem:
            raise PolicyError(f"user {name} (uid {uid}) is refused by {self.path}: {problem}")
        groups = os.getgrouplist(name, entry.pw_gid)
        chosen = entry.pw_gid if gid is None else gid
        if chosen not in groups:
            raise PolicyError(f"group {gid} is refused by {self.path}: user {name} (uid {uid}) is not a member of it")
        if 0 in groups and not self.allow_root:
            text = f"user {name} (uid {uid}) is refused by {self.path}: it is in group 0 and allow_root is false"
            raise PolicyError(text)
        return uid, chosen, groups

    def _problem(self, uid: int, name: str) -> str:
        called = {name, str(uid)}
        if not called.isdisjoint(self.deny_users):
            return "it is in deny_users"
        if uid == 0 and not self.allow_root:
            return "allow_root is false"
        if self.allow_users:
            return "it is not in allow_users" if called.isdisjoint(self.allow_users) else ""
        return f"minimum_uid is {self.minimum_uid}" if 0 != uid < self.minimum_uid else ""


def read_policy(path: str) -> Policy:
    """The policy in a TOML file that belongs to root (or to the executor's user) and that nobody else can write.

    Raises ValueError with a sentence that says what to do.
    """
    try:
        raw = tomllib.loads(_read(path))
    except OSError as error:
        raise ValueError(f"cannot read policy {path}: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"cannot read policy {path}: {error}") from None
    known = {key: default for key, default in Policy._field_defaults.items() if key != "path"}
    for key, value in raw.items():
        if key not in known:
            raise ValueError(f"cannot use policy {path}: {key}: unknown key; known are {', '.join(known)}")
        if not _CHECKS[type(known[key])](value):
            raise ValueError(f"cannot use policy {path}: {key} = {value!r}: must be {_SAYS[type(known[key])]}")
    values: dict[str, Any] = {
        key: tuple(map(str, value)) if type(value) is list else value for key, value in raw.items()
    }
    return Policy(path)._replace(**values)


_CHECKS = {
    int: lambda value: type(value) is int and 0 <= value < 2**32 - 1,
    bool: lambda value: type(value) is bool,
    tuple: lambda value: type(value) is list and all(type(user) in (int, str) for user in value),
}
_SAYS: dict[type[Any], str] = {
    int: "a uid",
    bool: "true or false",
    tuple: 'a list of users, such as ["alice", 1001]',
}


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a symbolic link could be put in its place
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if found.st_uid not in (0, os.geteuid()):
            raise ValueError(f"it belongs to uid {found.st_uid}; chown root it")
        if found.st_mode & 0o022:
            raise ValueError(f"others can write to it (mode {stat.S_IMODE(found.st_mode):04o}); chmod 0644 it")
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    return text.decode()
