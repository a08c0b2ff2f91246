"""What is wrong with a spec or a configuration: every problem with its place, and the errors that carry them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

MAX_PROBLEMS = 20
"""Most problems told about one table or list. More would cost the daemon time and tell nobody anything."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")

_TYPE_NAMES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
    bytes: "bytes",
    type(None): "nothing",
}


@frozen
class Problem:
    """One mistake. `value` is what was found, as it may be shown to anybody: None where it may hold a secret.

    path: "limits.nofile", "command[2]"; hint: what to do; worker, where: whose, and in which file.
    """

    path: str
    reason: str
    hint: str = ""
    value: str | None = None
    worker: str | None = None
    where: str = ""

    def under(self, key: str) -> Problem:
        """The same problem, seen from the table that has it at `key`."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return evolve(self, path=f"{key}{joint}{self.path}")

    def __str__(self) -> str:
        """A whole sentence: "cannot read worker 'x' in FILE: limits.nofle: unknown key (did you mean nofile?)"."""
        subject = f"worker {self.worker!r}" if self.worker else "worker" if self.worker == "" else ""
        place = f"{subject} in {self.where}" if subject and self.where else subject or self.where or "configuration"
        hint = f" ({self.hint})" if self.hint else ""
        return ": ".join(part for part in (f"cannot read {place}", self.path, f"{self.reason}{hint}") if part)


class InvalidError(ValueError):
    """A value that is refused, for `problems` whose paths begin at that value."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)[:MAX_PROBLEMS]
        super().__init__("; ".join(_inner(problem) for problem in self.problems))


class ConfigError(ValueError):
    """Configuration that cannot be used. str: one line for each of `problems`, each a whole sentence."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def path(self) -> str:
        """Key path of the first problem."""
        return self.problems[0].path

    @property
    def value(self) -> str | None:
        """Value of the first problem, as it may be shown; None where it may not."""
        return self.problems[0].value

    @property
    def hint(self) -> str:
        """What to do about the first problem."""
        return self.problems[0].hint

    @property
    def where(self) -> str:
        """File of the first problem."""
        return self.problems[0].where


class SpecError(ConfigError):
    """A spec that cannot be read."""


def refused(reason: str, hint: str = "", value: Any = None) -> InvalidError:
    """A refusal of one value, for one reason."""
    return InvalidError([Problem("", reason, hint, None if value is None else show(value))])


def wrong_type(expected: str, value: Any, hint: str = "") -> InvalidError:
    """A refusal because of the type. Names the type that was found and never the value, which may be a secret."""
    return InvalidError([Problem("", f"expected {expected}, not {type_name(value)}", hint)])


def type_name(value: Any) -> str:
    """What a person calls the type of a value of TOML or msgpack."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def show(value: Any) -> str:
    """A scalar as a person would write it, shortened; of anything else only its type, because it may hold secrets."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, float):
        return "a huge number" if abs(value) >= 1e38 else str(value)
    if type(value) is str:
        return repr(value if len(value) <= 60 else value[:59] + "…")
    return type_name(value)


def key_name(key: Any) -> str:
    """A key as part of a path."""
    if type(key) is not str:
        return show(key)
    return key if _PLAIN_KEY.fullmatch(key) else show(key)


def nearest(word: str, words: Iterable[str]) -> str:
    """The word of `words` that was probably meant; empty if none is near."""
    from difflib import get_close_matches  # needed only when somebody erred

    close = get_close_matches(word, list(words), n=1) if len(word) <= 64 else []
    return close[0] if close else ""


def _inner(problem: Problem) -> str:
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.path}: {problem.reason}{hint}" if problem.path else f"{problem.reason}{hint}"
