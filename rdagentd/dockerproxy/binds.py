"""Directories of the host in a container: opened by the proxy, so that nobody can exchange them afterwards.

The engine resolves the source of a bind mount when the container starts, long after anybody could check it, and an agent can
put a symbolic link in the place of a directory of its own. So the proxy walks to the directory without following links, keeps
it open, and gives the engine a volume (driver `local`, o=bind) whose device is `/proc/<proxy>/fd/<n>`: that directory and no
other. A bind mount of such a path would fail in the container's mount namespace; the volume is mounted by dockerd in its own,
which must be ours too (no Private*= and Protect*= in the unit).
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rdagentd.dockerproxy import document
from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.refusal import RefusedError, forbidden, invalid

PREFIX = "rdagentd-"
"""How the names of these volumes begin; nobody else may use it."""

SWEEP_AT = 256
"""Directories held open by one run before those are looked for that no container needs any more."""

_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Binds:
    """The directories that one run's containers use, each held open, each with its volume."""

    def __init__(self, engine: Engine, run: str, allowed: tuple[str, ...], labels: Mapping[str, str]) -> None:
        self._engine = engine
        self._run = run
        self._allowed = [PurePosixPath(one) for one in allowed]
        self._labels = dict(labels)
        self._held: dict[str, tuple[int, tuple[int, int]]] = {}

    def volume(self, path: str) -> str:
        """The name of the volume that is this directory. Raises RefusedError."""
        opened = self._open(path)
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

    def _open(self, path: str) -> int:
        wanted = PurePosixPath(path)
        if not path.startswith("/") or path.startswith("//") or ".." in wanted.parts:
            raise invalid(f"cannot bind {path}: an absolute path without '..' is expected")
        base = next((one for one in self._allowed if wanted.is_relative_to(one)), None)
        if base is None:
            names = ", ".join(map(str, self._allowed)) or "none"
            raise forbidden(f"cannot bind {path}: allowed are {names} and what is below")
        return _walk(str(base), wanted.relative_to(base).parts, path)


def _walk(base: str, parts: tuple[str, ...], path: str) -> int:
    try:
        opened = os.open(base, _WALK & ~os.O_NOFOLLOW)  # the rules' own path: whoever wrote them may use links
        for part in parts:
            above = opened
            try:
                opened = os.open(part, _WALK, dir_fd=above)
            finally:
                os.close(above)
    except OSError as error:
        raise invalid(
            f"cannot bind {path}: {error.strerror}; only a directory that exists, without symbolic links, can be bound"
        ) from None
    assert stat.S_ISDIR(os.fstat(opened).st_mode)
    return opened
