"""`rdagentd fetch`: gets the files that were uploaded for a run, then becomes the run's program. The standard library only.

The gateway can write nothing that the run's user can read, and the run cannot read what is the gateway's; so the run, as its
own user, asks for the files over HTTP, with a ticket that it alone was given.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_PATIENCE = 30.0
"""Seconds that the gateway has for each step of an answer."""

_USAGE = "usage: rdagentd fetch DIRECTORY FILE… -- COMMAND…"


def main(arguments: Sequence[str]) -> int:
    """DIRECTORY FILE… -- COMMAND…: files that are there already stay. Returns only if it fails."""
    if "--" not in arguments[1:]:
        return _failed(_USAGE)
    parting = arguments.index("--", 1)
    directory, files, command = Path(arguments[0]), arguments[1:parting], list(arguments[parting + 1 :])
    url, ticket = os.environ.pop("RDAGENTD_UPLOAD", ""), os.environ.pop("RDAGENTD_UPLOAD_TOKEN", "")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in files:
            if not (directory / name).exists():
                _fetch(url + name, ticket, directory / name)
    except (OSError, ValueError) as error:  # urllib's are OSErrors
        return _failed(f"cannot fetch what was uploaded from {url}: {error}; upload it again")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        return _failed(f"cannot run {command[0]}: {error.strerror}")


def _fetch(url: str, ticket: str, path: Path) -> None:
    """Raises OSError or ValueError."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    token = os.environ.get("UI_SERVER_AUTH_TOKEN")
    headers = {"X-Ticket": ticket, **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    half = path.with_name(f".{path.name}.half")
    with direct.open(request, timeout=_PATIENCE) as answer, half.open("wb") as file:
        shutil.copyfileobj(answer, file)
        if file.tell() != int(answer.headers["Content-Length"]):
            raise OSError(f"only {file.tell()} bytes of {path.name} came")
    half.rename(path)


def _failed(text: str) -> int:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
    return 1
