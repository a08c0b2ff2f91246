"""What systemd and the daemon tell each other, besides notifications: sockets that are passed, and why a stop came."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rdagentd.protocol import frames
from rdagentd.protocol.errors import UNAVAILABLE, ProtocolError

UNIT = "rdagentd.service"
_FIRST = 3
"""Descriptor number of the first socket that is passed: SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def passed_socket(environ: Mapping[str, str] = os.environ) -> socket.socket | None:
    """The control socket of rdagentd.socket; None if none was passed to this process (sd_listen_fds(3))."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or environ.get("LISTEN_FDS", "0") == "0":
        return None
    listener = socket.socket(fileno=_FIRST)
    listener.set_inheritable(False)
    listener.setblocking(False)
    return listener


def turn_away(text: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tells those who wait at the passed socket why the daemon cannot start: systemd is about to close it."""
    listener = passed_socket(environ)
    refusal = frames.pack(
        {"id": None, "ok": False, "error": ProtocolError(UNAVAILABLE, text, {"down": True}).to_wire()}
    )
    while listener is not None:
        try:
            connection, _ = listener.accept()
        except OSError:  # nobody is left
            return
        with connection, contextlib.suppress(OSError):
            connection.sendall(refusal)


def job_of(unit: str, listing: str) -> str | None:
    """Type of the unit's job in the output of `systemctl list-jobs`: stop, restart, …; None if it has none."""
    for line in listing.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] == unit:
            return words[2]
    return None


def at_stop(path: str) -> int:
    """ExecStop of the daemon's unit: takes the workers along if the unit is being stopped, and only then.

    A restart, an upgrade or a crash leaves them alone. If systemd cannot be asked they are left alone too: what runs on can
    be stopped later, what was ended cannot be brought back.
    """
    try:
        job = job_of(UNIT, _jobs())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot ask systemd why it stops {UNIT}: {error}; workers run on", file=sys.stderr)  # noqa: T201
        return 0
    if job != "stop":
        print("restarting: workers run on")  # noqa: T201
        return 0
    try:
        problem = _drain(path)
    except (OSError, frames.FrameError) as error:
        problem = str(error)
    if problem:
        print(f"cannot stop the workers: {problem}", file=sys.stderr)  # noqa: T201
    return 1 if problem else 0


def _jobs() -> str:
    command = ["systemctl", "list-jobs", "--no-legend", "--no-pager"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout  # noqa: S603


def _drain(path: str) -> str | None:
    """Asks the daemon to stop all workers and waits for the answer; returns what went wrong."""
    decoder = frames.Decoder(frames.MAX_FRAME, None)
    answers: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(path)
        control.sendall(frames.pack({"v": 1, "id": 1, "op": "drain", "args": {}}))
        while not answers:
            data = control.recv(65536)
            if not data:
                return "the daemon closed the connection"
            answers = decoder.feed(data)
    return None if answers[0].get("ok") else str(answers[0]["error"]["message"])
