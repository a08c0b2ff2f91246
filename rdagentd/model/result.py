"""Where the outcome of a run is read, if its exit code does not tell it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import frozen


class Outcome(StrEnum):
    """What a run came to, whatever its exit code."""

    COMPLETED = "completed"
    FAILED = "failed"


@frozen
class Rule:
    """Holds if the output has the text `pattern`, or if `equals` stands at `path` in the newest JSON file that matches `file`.

    file: a glob below the worker's directory; what is older than the run does not count. path: keys with dots
    between; equals: text, a number, true or false. says: the reason, in words.
    """

    outcome: Outcome
    says: str = ""
    pattern: str | None = None
    file: str | None = None
    path: str | None = None
    equals: Any = None


@frozen
class Result:
    """The first rule that holds decides; otherwise: what it came to if none does, None: what the exit code says."""

    rules: tuple[Rule, ...] = ()
    otherwise: Outcome | None = None
