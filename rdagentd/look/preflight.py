"""What a run would lack, seen as its user, with its environment: a sentence for each. No value of a variable is told."""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from errno import EADDRINUSE
from fnmatch import fnmatchcase
from typing import Any

from rdagentd.model.size import format_size
from rdagentd.protocol.keys import SECRETIVE

_PATIENCE = 10
"""Seconds that a program has to tell its version."""

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_NUMBER = re.compile(r"[0-9]+")
_ENTRY = re.compile(r"([A-Za-z0-9_.-]+)\s*=")


def lacking(wanted: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Sentences about all that is missing or wrong. wanted: the fields of Preflight, `given`: names of secrets that nobody may
    see, `directory`: where it works.
    """
    return [
        *variables(wanted, environment),
        *_programs(wanted["programs"], environment),
        *_ports(wanted["ports"]),
        *_room(wanted["disk"], wanted["memory"], wanted["directory"]),
    ]


# --- variables --------------------------------------------------------------------------------------------------------


def variables(wanted: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Sentences about the environment alone."""
    for names in wanted["environment"]:
        if not any(environment.get(name) for name in names.split(" | ")):
            yield f"{_or(names)} is missing in its environment; set it by environment or environment_file"
    for names in wanted["secrets"]:
        if not any(environment.get(name) or name in wanted["given"] for name in names.split(" | ")):
            yield f"{_or(names)} is missing; set it by secret_environment, credentials or environment_file"
    for name in _looked_at(wanted, environment):
        value = environment[name]
        shape = wanted["keys"].get(name)
        if value != value.strip() or value[:1] in "\"'" or "\n" in value:
            yield f"{name} has blanks or quotes round it, which belong to no key; take them out"
        elif shape is not None and not fnmatchcase(value, shape):
            yield f"{name} does not look like {shape}; see whether it was copied whole"
    refused = set(wanted["refuse"])
    for name in sorted(environment):
        if environment[name] in refused and name.upper().endswith(SECRETIVE):
            yield f"{name} is a default that everybody knows; choose another"


def _or(names: str) -> str:
    return names.replace(" | ", " or ")


def _looked_at(wanted: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Keys whose look is judged: those with a shape, and the secrets."""
    names = {name for names in wanted["secrets"] for name in names.split(" | ")} | set(wanted["keys"])
    return sorted(name for name in names if environment.get(name))


# --- programs ---------------------------------------------------------------------------------------------------------


def _programs(programs: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    path = environment.get("PATH", os.defpath)
    for name, least in sorted(programs.items()):
        found = shutil.which(name, path=path)
        if found is None:
            yield f"there is no program {name}" + ("" if "/" in name else f" on its PATH ({path})") + "; install it"
            continue
        version = version_of(found) if least else ""
        if least and version is None:
            yield f"{found} does not tell its version, and {least} or later is needed"
        elif version and _numbers(version) < _numbers(least):
            yield f"{found} is version {version}, and {least} or later is needed"


def version_of(program: str) -> str | None:
    """As its Python package says it, which costs nothing and leaves nothing behind, else as it answers `--version`."""
    packaged = _packaged(program)
    if packaged is not None:
        return packaged
    try:
        told = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=_PATIENCE,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stdout or told.stderr)
    return found[0] if found else None


def _packaged(program: str) -> str | None:
    """The version of the Python package whose entry points have this program. See PyPA's "Recording installed projects"."""
    with suppress(OSError, UnicodeDecodeError), open(program, encoding="utf-8") as file:  # noqa: PTH123
        if file.read(2) == "#!" and "python" in file.readline(512):
            prefix = os.path.dirname(os.path.dirname(program))  # noqa: PTH120
            places = f"{prefix}/lib/python3*/*-packages/*.dist-info/entry_points.txt"
            for entries in glob.iglob(places):  # noqa: PTH207
                if os.path.basename(program) in _scripts(entries):  # noqa: PTH119
                    name = os.path.basename(os.path.dirname(entries))  # noqa: PTH119, PTH120
                    return name.removesuffix(".dist-info").rpartition("-")[2]
    return None


def _scripts(path: str) -> set[str]:
    """The names below [console_scripts] of an entry_points.txt."""
    names: set[str] = set()
    within = False
    with suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("["):
                within = line.strip() == "[console_scripts]"
            elif within and (found := _ENTRY.match(line)):
                names.add(found[1])
    return names


def _numbers(version: str) -> list[int]:
    numbers = list(map(int, _NUMBER.findall(version)))
    while numbers and numbers[-1] == 0:
        numbers.pop()  # 1.0 is 1
    return numbers


# --- the host ---------------------------------------------------------------------------------------------------------


def _ports(ports: list[int]) -> Iterator[str]:
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what only lingers is no listener
            try:
                trial.bind(("", port))
            except OSError as error:
                taken = error.errno == EADDRINUSE
                yield f"port {port} {'is taken' if taken else f'cannot be had: {error.strerror}'}; free it, or choose another"


def _room(disk: int | None, memory: int | None, directory: str) -> Iterator[str]:
    while not os.path.exists(directory):  # noqa: PTH110 -- it may be made by the first run
        directory = os.path.dirname(directory)  # noqa: PTH120
    if disk is not None:
        there = os.statvfs(directory)
        free = there.f_bavail * there.f_frsize
        if free < disk:
            yield f"{directory} has {format_size(free)} free, and {format_size(disk)} are needed"
    if memory is not None and (left := _available()) is not None and left < memory:
        yield f"the host has {format_size(left)} of memory available, and {format_size(memory)} are needed"


def _available() -> int | None:
    """Bytes of memory for new programs: proc(5), MemAvailable."""
    with suppress(OSError), open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None
