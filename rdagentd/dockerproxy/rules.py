"""What one run may have of the engine: the rules, as the daemon tells them and as they are kept."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rdagentd.protocol import labels

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Rules:
    """The rules of one run. None: no bound.

    uid, gid: who may connect. cgroup_parent: a path where the engine uses cgroupfs, a .slice where it uses systemd; it is what
    tells a run's containers from those of an image that brings labels, so no two runs have the same. Empty: the proxy's
    choice. owner: which daemon's run it is.
    memory, swap, shm: bytes; swap is what may be used beside the memory. cpus: in billionths of one. pids: a number.
    binds: directories that may be bound, with all below them; read-only what does not belong to uid. owned: directories of
    which what belongs to uid may be bound. networks: names. ports: of the host, that may be published on loopback. gpus: ids
    that are leased. log: type and options of the engine's log driver.
    """

    worker: str
    uid: int
    gid: int
    cgroup_parent: str = ""
    owner: str = ""
    memory: int | None = None
    swap: int | None = None
    cpus: int | None = None
    pids: int | None = None
    shm: int | None = None
    binds: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("bridge", "none")
    ports: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    log_type: str = "json-file"
    log_options: dict[str, str] = field(default_factory=lambda: {"max-size": "100m", "max-file": "3"})

    def labels(self, run: str) -> dict[str, str]:
        """What marks all that this run makes."""
        return {labels.WORKER: self.worker, labels.RUN: run, labels.ORIGIN: labels.AGENT}


def to_wire(rules: Rules) -> dict[str, Any]:
    """As a map for msgpack and JSON."""
    return asdict(rules)


def from_wire(given: Any) -> Rules:
    """From such a map. Raises ValueError for an unknown or missing field or a wrong type."""
    if not isinstance(given, dict):
        raise ValueError("cannot read rules: a map is expected")
    known = {row.name: row for row in fields(Rules)}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ValueError(f"cannot read rules: {unknown[0]!r} is not known")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    for name, value in values.items():
        if not _fits(str(known[name].type), value):
            raise ValueError(f"cannot read rules: {name} must be {known[name].type}, not {value!r}")
    try:
        return Rules(**values)
    except TypeError as error:
        raise ValueError(f"cannot read rules: {error}") from None


def check_run(run: Any) -> str:
    """The id of a run, fit for the name of a directory. Raises ValueError."""
    if not isinstance(run, str) or _ID.fullmatch(run) is None:
        raise ValueError(f"cannot use run {run!r}: letters, digits, '_', '.' and '-' are expected")
    return run


_TYPES: dict[str, Any] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int and value >= 0,
    "str | None": lambda value: value is None or isinstance(value, str),
    "int | None": lambda value: value is None or (type(value) is int and value >= 0),
    "tuple[str, ...]": lambda value: type(value) is tuple and all(isinstance(one, str) for one in value),
    "tuple[int, ...]": lambda value: type(value) is tuple and all(type(one) is int for one in value),
    "dict[str, str]": lambda value: (
        isinstance(value, dict) and all(isinstance(one, str) for pair in value.items() for one in pair)
    ),
}


def _fits(kind: str, value: Any) -> bool:
    return bool(_TYPES[kind](value))
