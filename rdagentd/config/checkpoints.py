"""Checkpoints and snapshots as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rdagentd.config.kinds import FLAG, Kind, choice, each, whole
from rdagentd.config.problems import refused
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import COMMAND, text
from rdagentd.look.paths import parse
from rdagentd.model.checkpoints import MTIME, Checkpoints, Snapshot, Verify
from rdagentd.model.container import DriverName
from rdagentd.model.spec import Spec


def _files(value: Any) -> str:
    pattern = text(value, 1024)
    try:
        parse(pattern)
    except ValueError as error:
        raise refused(str(error), "such as trace/__session__/{loop:int}/{step:int}_{name}", value) from None
    return pattern


_WORDS = each(Kind("name", lambda value: text(value, 64)), 8)


def _order(value: Any) -> tuple[str, ...]:
    words: tuple[str, ...] = _WORDS.parse([value] if type(value) is str else value)
    if not words:
        raise refused("is empty", f"name fields of files, or {MTIME}")
    return words


def _key(value: Any) -> str | None:
    return None if value is None else text(value, 4095)


def _resume(value: Any) -> tuple[str, ...]:
    return () if value in ((), []) else COMMAND.parse(value)


def _ordered(checkpoints: Checkpoints) -> str:
    if checkpoints.order == (MTIME,):
        return ""
    try:
        fields = parse(checkpoints.files).fields
    except ValueError:
        return ""
    unknown = [name for name in checkpoints.order if name not in fields]
    return f"{', '.join(unknown)}: files has no such field" if unknown else ""


def _signed(checkpoints: Checkpoints) -> str:
    if checkpoints.verify is Verify.SIGNED_PICKLE and checkpoints.key is None:
        return "is missing, and verify is signed-pickle; name the file of the key"
    return "is for verify = signed-pickle" if checkpoints.key and checkpoints.verify is not Verify.SIGNED_PICKLE else ""


CHECKPOINTS = Section(
    Checkpoints,
    {
        "files": (
            Kind("pattern of a path below the directory", _files),
            "Where they are: `*`, `?`, `**` for directories, and fields `{name}` or `{name:int}`. No link is followed.",
        ),
        "order": (
            Kind("list of fields, or `mtime`", _order),
            'What makes one newer than another: fields of `files`, such as `["loop", "step"]`, or the time of its last change.',
        ),
        "verify": (
            choice(Verify),
            "How one is found to be whole. `signed-pickle`: RD-Agent's, by its signature alone; nothing is unpickled.",
        ),
        "key": (
            Kind("path, below the directory or whole, ~ is the user's home", _key),
            "The file with the key for `signed-pickle`.",
        ),
        "keep": (whole(0, 100_000), "Loops (first field of `order`; by time: files) that are kept; 0: all."),
        "resume": (
            Kind(f"{COMMAND.says}; empty: none", _resume),
            "The command that goes on from one: `{checkpoint}` is its path, `{directory}` the worker's directory.",
        ),
    },
    hints={"path": "did you mean files?", "glob": "did you mean files?", "command": "did you mean resume?"},
    conflicts=(Conflict("order", ("files", "order"), _ordered), Conflict("key", ("verify", "key"), _signed)),
    optional=True,
)

SNAPSHOT = Section(
    Snapshot,
    {
        "git": (
            FLAG,
            "Before each start the git work tree in `directory` is kept, uncommitted work too; see restore-workspace.",
        )
    },
)


def _wrong(field: str, is_there: Callable[[Spec], bool]) -> Conflict:
    def found(spec: Spec) -> str:
        if not is_there(spec):
            return ""
        if spec.driver is DriverName.DOCKER:
            return "is for processes"
        return "" if spec.directory else "needs directory, which says where to look"

    return Conflict(field, (field, "driver", "container", "directory"), found)


CONFLICTS = (
    _wrong("checkpoints", lambda spec: spec.checkpoints is not None),
    _wrong("snapshot", lambda spec: spec.snapshot.git),
)
"""What is wrong with a whole spec because of them."""
