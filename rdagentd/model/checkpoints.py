"""Checkpoints: what a worker writes to go on from; and snapshots of the work tree that it may destroy."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

MTIME = "mtime"
"""In the place of fields of the path: the time of the last change."""


class Verify(StrEnum):
    """How it is found out whether one is whole."""

    SIZE = "size"
    JSON = "json"
    SQLITE = "sqlite"
    SIGNED_PICKLE = "signed-pickle"


@frozen
class Checkpoints:
    """files: a pattern below the worker's directory, whose fields `order` names (or MTIME). key: file, for a signed pickle.

    keep: loops (values of the first field of the order) of which checkpoints are kept, 0: all. resume: the command that goes on
    from one; without it a restart is like a start, and nothing is looked for.
    """

    files: str
    order: tuple[str, ...] = (MTIME,)
    verify: Verify = Verify.SIZE
    key: str | None = None
    keep: int = 3
    resume: tuple[str, ...] = ()


@frozen
class Snapshot:
    """git: before each start the work tree in the worker's directory is kept, with all that is not committed."""

    git: bool = False


@frozen
class Checkpoint:
    """One file as it was when it was looked at: path below the worker's directory, nanoseconds since the epoch, bytes.

    One that was written anew is another one.
    """

    path: str
    at: int
    size: int


@frozen
class Found:
    """problem: what is wrong with it; "" if it is whole, None if nobody looked."""

    checkpoint: Checkpoint
    problem: str | None


def filled(command: tuple[str, ...], directory: str, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The command that goes on from this checkpoint."""
    path = f"{directory.rstrip('/')}/{checkpoint.path}"
    return tuple(word.replace("{checkpoint}", path).replace("{directory}", directory) for word in command)
