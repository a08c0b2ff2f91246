"""Directories of the host in a container: opened by the proxy, so that nobody can exchange them afterwards.

The engine resolves the source of a bind mount when the container starts, long after anybody could check it, and an agent can
put a symbolic link in the place of a directory of its own. So the proxy walks to the directory without following links, keeps
it open, and gives the engine a volume (driver `local`, o=bind) whose device is `/proc/<proxy>/fd/<n>`: that directory and no
other. A bind mount of such a path would fail in the container's mount namespace; the volume is mounted by dockerd in its own,
which must be ours too (no Private*= and Protect*= in the unit).

Root in a container is root for the files of what is bound. So a run may write only to what belongs to its user; and what was
chosen by its user, not by an administrator, is bound if it belongs to that user, is reached without any link, and lies on one
mount. /proc/PID belongs to a user too, and its `root` leads to the host's: so nothing of the kernel's is bound.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path, PurePosixPath
from typing import Any, Self

from rdagentd.dockerproxy import document
from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.refusal import RefusedError, forbidden, invalid
from rdagentd.dockerproxy.rules import Rules

PREFIX = "rdagentd-"
"""How the names of these volumes begin; nobody else may use it."""

SWEEP_AT = 256
"""Directories held open by one run before those are looked for that no container needs any more."""

_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KERNELS = frozenset({"proc", "sysfs", "cgroup", "cgroup2"})
"""File systems whose files are not what they look like to root."""


class Binds:
    """The directories that one run's containers use, each held open, each with its volume."""

    def __init__(self, engine: Engine, run: str, rules: Rules) -> None:
        self._engine = engine
        self._run = run
        self._uid = rules.uid
        self._granted = [PurePosixPath(one) for one in rules.binds]
        self._owned = [PurePosixPath(one) for one in rules.owned]
        self._labels = rules.labels(run)
        self._held: dict[str, tuple[int, tuple[int, int]]] = {}

    def volume(self, path: str, read_only: bool = False) -> str:
        """The name of the volume that is this directory. Raises RefusedError."""
        opened = self._open(path, read_only)
        facts = os.fstat(opened)
        key = (facts.st_dev, facts.st_ino)
        for name, (_, known) in self._held.items():
            if known == key:
                os.close(opened)
                return name
        if len(self._held) >= SWEEP_AT:
            self.sweep()
        name = f"{PREFIX}{self._run}-{secrets.token_hex(8)}"
        try:
            self._create(name, opened)
        except BaseException:
            os.close(opened)
            raise
        self._held[name] = (opened, key)
        return name

    def check(self, mounts: list[dict[str, Any]]) -> None:
        """Before a start: that what is mounted is still held. Raises RefusedError after a restart of the proxy."""
        for mount in mounts:
            name = mount.get("Name") or ""
            if name.startswith(PREFIX) and name not in self._held:
                raise RefusedError(
                    409, f"cannot start: the proxy was restarted since {name} was made; make the container anew"
                )

    def sweep(self) -> None:
        """Lets go what no container uses: the engine refuses to remove a volume in use."""
        for name in list(self._held):
            status, _ = self._engine.request("DELETE", f"/volumes/{name}")
            if status in (204, 404):
                os.close(self._held.pop(name)[0])

    def close(self) -> None:
        """Lets everything go."""
        for opened, _ in self._held.values():
            os.close(opened)
        self._held.clear()

    def _create(self, name: str, opened: int) -> None:
        device = f"/proc/{os.getpid()}/fd/{opened}"
        options = {"type": "none", "o": "bind", "device": device}
        asked = {"Name": name, "Driver": "local", "DriverOpts": options, "Labels": self._labels}
        made = self._engine.ask("POST", "/volumes/create", document.write(asked))
        if made.get("Options") != options:
            raise forbidden(f"cannot bind: a volume {name} is there already")

    def _open(self, path: str, read_only: bool) -> int:
        wanted = PurePosixPath(path)
        if not path.startswith("/") or path.startswith("//") or ".." in wanted.parts:
            raise invalid(f"cannot bind {path}: an absolute path without '..' is expected")
        owned, granted = (
            next((one for one in allowed if wanted.is_relative_to(one)), None)
            for allowed in (self._owned, self._granted)
        )
        if granted is not None:
            with _Opened(path) as found:
                found.open(str(granted), links=True)  # whoever granted it may use links
                found.walk(wanted.relative_to(granted))
                if read_only or found.uid == self._uid:
                    return found.keep()
                if owned is None:
                    raise forbidden(f"cannot bind {path}: it belongs to uid {found.uid}; bind it read-only")
        if owned is None:
            names = ", ".join(map(str, (*self._owned, *self._granted))) or "none"
            raise forbidden(f"cannot bind {path}: allowed are {names} and what is below")
        with _Opened(path) as found:
            found.open("/", links=False)
            found.walk(owned.relative_to("/"))
            mount = found.mount
            if found.uid != self._uid:
                raise forbidden(f"cannot bind {path}: {owned} belongs to uid {found.uid}, not to this run's user")
            found.walk(wanted.relative_to(owned))
            if found.mount != mount:
                raise forbidden(f"cannot bind {path}: something else is mounted there")
            return found.keep()


class _Opened:
    """A directory that is walked to, held by its descriptor; `path`: what was asked for, for sentences."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self, base: str, links: bool) -> None:
        """Where the walk begins. Raises RefusedError."""
        self._go(base, _WALK & ~os.O_NOFOLLOW if links else _WALK, None)

    def walk(self, parts: PurePosixPath) -> None:
        """Further down, through no link. Raises RefusedError."""
        for part in parts.parts:
            self._go(part, _WALK, self._descriptor)

    def _go(self, name: str, flags: int, above: int | None) -> None:
        try:
            opened = os.open(name, flags, dir_fd=above)
        except OSError as error:
            raise invalid(
                f"cannot bind {self._path}: {error.strerror}; a directory that exists is expected, and no symbolic link"
            ) from None
        if above is not None:
            os.close(above)
        self._descriptor = opened

    @property
    def uid(self) -> int:
        """Whose it is."""
        return os.fstat(self._descriptor).st_uid

    @property
    def mount(self) -> str:
        """The id of the mount that it lies on (proc_pid_fdinfo(5))."""
        lines = Path(f"/proc/self/fdinfo/{self._descriptor}").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("mnt_id:"))

    def keep(self) -> int:
        """The descriptor, which is the caller's from now on. Raises RefusedError for what is the kernel's."""
        mounts = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
        kinds = {words[0]: words[words.index("-") + 1] for words in mounts}
        if kinds.get(self.mount) in _KERNELS:
            raise forbidden(f"cannot bind {self._path}: it is a file system of the kernel's own")
        kept, self._descriptor = self._descriptor, -1
        return kept
