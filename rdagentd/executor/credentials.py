"""Secrets that systemd gave to the executor (systemd.exec(5), LoadCredential=), as files and variables for one run alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from errno import EINVAL
from typing import Any

from rdagentd.executor.shown import show

VARIABLE = "CREDENTIALS_DIRECTORY"


class Credentials:
    """Copies below `<directory>/credentials`: a directory for each run, its files for the run's user and nobody else.

    The directories stay the executor's own: a run can neither add to its directory nor put a link in its place. `directory`
    must be one that only the executor can write to, best in memory (RuntimeDirectory=): `home` of what lasts as long as a run.
    """

    def __init__(self, directory: str) -> None:
        self.home = directory
        self._home = os.path.join(directory, "credentials")

    def clear(self) -> None:
        """Removes what an executor that died has left."""
        with suppress(OSError):
            for run in os.listdir(self._home):
                self.remove(run)

    def give(self, request: dict[str, Any]) -> Iterator[str]:
        """Makes the files and variables that the request names; yields what is done next. Raises OSError.

        Adds `secrets` to the request: the name and the value of each.
        """
        request["secrets"] = secrets = []
        for variable, source in request["secret_environment"].items():
            yield f"secret variable {variable}"
            secret = _read(source).removesuffix(b"\n")
            if b"\0" in secret:
                yield f"secret variable {variable}, for there is a NUL in it"
                raise OSError(EINVAL, os.strerror(EINVAL))
            request["env"][variable] = os.fsdecode(secret)
            secrets.append((variable, secret))
        if not request["credentials"]:
            return
        yield "credentials"
        uid, gid = (-1 if request[key] is None else request[key] for key in ("uid", "gid"))
        place = os.path.join(self._home, request["run"])
        os.makedirs(self._home, mode=0o711, exist_ok=True)
        os.chmod(self._home, 0o711)  # whatever the umask
        os.mkdir(place, 0o700)
        for name, source in request["credentials"].items():
            yield f"credential {name}"
            secret = _read(source)
            secrets.append((name, secret))
            fd = os.open(os.path.join(place, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with open(fd, "wb") as file:
                file.write(secret)
                os.fchown(fd, uid, gid)
        os.chown(place, -1, gid)
        os.chmod(place, 0o750)
        request["env"][VARIABLE] = place
        if request["sandbox"]:
            show(request["sandbox"], place)

    def remove(self, run: str) -> None:
        """The run is over, or did not begin. Most have nothing to remove; what cannot be removed goes at the next start."""
        place = os.path.join(self._home, run)
        with suppress(OSError):
            for name in os.listdir(place):
                os.unlink(os.path.join(place, name))
            os.rmdir(place)


def _read(source: str) -> bytes:
    with open(os.path.join(os.environ.get(VARIABLE, "/nonexistent"), source), "rb") as file:
        return file.read()
