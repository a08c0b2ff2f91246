"""What a run that does nothing looks like: its processes, what they wait for, their connections, and stacks where py-spy is.

Whoever looks is the run's own user and sees no more of it than `ps` would. proc(5), proc_net(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST = 30
"""Processes, connections and lines of a stack that are told of."""

LONGEST = 200
"""Characters of a command line."""

_STACKS = 3
"""Processes of Python whose stacks are taken: each is stopped for a moment."""

_STACK_SECONDS = 4.0

_PROC = Path("/proc")

_TCP = {"01": "established", "02": "connecting", "08": "closed by the peer", "0A": "listening"}
"""States of the kernel's include/net/tcp_states.h that somebody waits in."""


def picture(wanted: dict[str, Any]) -> dict[str, Any]:
    """wanted: pid of the run's main process. Keys: processes, connections, stacks, each with at most MOST of them."""
    pids = list(_tree(int(wanted["pid"])))[:MOST]
    if not pids:
        return {"processes": [], "connections": []}
    sockets = {inode: pid for pid in pids for inode in _sockets(pid)}
    told = {"processes": [_process(pid) for pid in pids], "connections": list(_connections(pids, sockets))[:MOST]}
    stacks = _stacks(pids)
    return {**told, "stacks": stacks} if stacks else told


def _tree(main: int) -> Iterator[int]:
    """The process and what descends from it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    waiting, seen = [main], {os.getpid()}
    while waiting:
        pid = waiting.pop(0)
        if pid not in seen and (_PROC / str(pid)).exists():
            seen.add(pid)
            yield pid
            waiting += sorted(children.get(pid, ()))


def _stat(pid: int) -> list[str]:
    """State, parent and so on: the fields behind the name, which may hold anything."""
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _process(pid: int) -> dict[str, Any]:
    told: dict[str, Any] = {"pid": pid}
    place = _PROC / str(pid)
    with suppress(OSError):
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        told["command"] = command[:LONGEST] or (place / "comm").read_text(errors="replace").strip()
    with suppress(OSError, IndexError, ValueError):
        fields = _stat(pid)
        ticks = os.sysconf("SC_CLK_TCK")
        told |= {"parent": int(fields[1]), "state": fields[0], "cpu": (int(fields[11]) + int(fields[12])) / ticks}
    with suppress(OSError):
        told["waits"] = (place / "wchan").read_text().strip("\0")
    return told


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


def _connections(pids: list[int], sockets: dict[str, int]) -> Iterator[dict[str, Any]]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError, IndexError):
            for line in (_PROC / str(pids[0]) / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in sockets and fields[3] in _TCP:
                    there = {} if fields[3] == "0A" else {"to": _address(fields[2])}
                    yield {"pid": sockets[fields[9]], "from": _address(fields[1]), **there, "state": _TCP[fields[3]]}


def _address(text: str) -> str:
    """As the kernel writes it: 32-bit words in the machine's order, each as a number."""
    import socket
    import sys

    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[i : i + 8]) for i in range(0, len(host), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    shown = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return f"{shown}:{int(port, 16)}" if len(raw) == 4 else f"[{shown}]:{int(port, 16)}"


def _stacks(pids: list[int]) -> dict[str, list[str]]:
    """By pid, in lines. Of another user's ptrace(2) may be forbidden: then py-spy says so, and that is told."""
    program = shutil.which("py-spy")
    found: dict[str, list[str]] = {}
    for pid in pids if program else ():
        with suppress(OSError, subprocess.TimeoutExpired):
            if len(found) < _STACKS and "python" in (_PROC / str(pid) / "exe").readlink().name:
                command = [program or "", "dump", "--pid", str(pid)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=_STACK_SECONDS, check=False)  # noqa: S603
                found[str(pid)] = (done.stdout or done.stderr).splitlines()[:MOST]
    return found
