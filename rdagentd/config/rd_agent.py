"""RD-Agent, as `launch` starts it: the program, as whom, and which words each scenario of its own API stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import Factory, field, frozen

from rdagentd.config.fields import SPEC
from rdagentd.config.kinds import Kind
from rdagentd.config.problems import InvalidError, Problem, key_name, refused, show, wrong_type
from rdagentd.config.section import Section
from rdagentd.config.texts import USER, text

PLACES = ("competition", "loops", "hours", "files", "file")
"""What may stand in braces: files is the directory of what was uploaded, file the one file that was."""

Word = str | tuple[str, ...]
"""A word, or words that are left out where a value that they name is not given."""

_PLACE = re.compile(r"\{([a-z]*)\}")
_MOST_WORDS = 256

_LOOPS = ("--loop-n", "{loops}")
_ALL = ("--all-duration", "{hours}h")
SCENARIOS: tuple[tuple[str, tuple[Word, ...]], ...] = (
    ("Finance Data Building", ("fin_factor", _LOOPS, _ALL)),
    ("Finance Model Implementation", ("fin_model", _LOOPS, _ALL)),
    ("Finance Whole Pipeline", ("fin_quant", _LOOPS, _ALL)),
    ("Finance Data Building (Reports)", ("fin_factor_report", "--report-folder", "{files}", _ALL)),
    ("General Model Implementation", ("general_model", "{file}")),
    ("Data Science", ("data_science", "--competition", "{competition}", _LOOPS, ("--timeout", "{hours}h"))),
)
"""Those of RD-Agent 1.0.0: rdagent/log/server/security.py for the names, rdagent/app/cli.py for the words."""

_OURS = {
    "name": "the trace names it",
    "command": "it stands in scenarios",
    "user": "did you mean rd_agent.user?",
    "directory": "it is the worker's state directory",
}


@frozen
class RdAgent:
    """program: None: nothing is launched. user: as whom; None: as the daemon itself, if all is one user, else not at all.

    scenarios: name and words behind the program; instead of it, if the first has a slash. worker: fields that all of them have.
    """

    program: str | None = None
    user: str | None = None
    scenarios: tuple[tuple[str, tuple[Word, ...]], ...] = SCENARIOS
    worker: Mapping[str, Any] = field(default=Factory(dict), hash=False)


def _scenarios(value: Any) -> tuple[tuple[str, tuple[Word, ...]], ...]:
    if type(value) is not dict:
        raise wrong_type("a table of scenarios and words", value)
    made = dict(SCENARIOS)
    problems: list[Problem] = []
    for name, words in value.items():
        try:
            made[text(name, 100)] = _words(words)
        except InvalidError as error:
            problems += [problem.under(key_name(name)) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return tuple(made.items())


def _words(value: Any) -> tuple[Word, ...]:
    if type(value) is not list or not 0 < len(value) <= _MOST_WORDS:
        raise wrong_type(f"a list of 1 to {_MOST_WORDS} words", value)
    return tuple(tuple(map(_word, one)) if type(one) is list else _word(one) for one in value)


def _word(value: Any) -> str:
    word = text(value, 4096, empty=True)
    for place in _PLACE.findall(word):
        if place not in PLACES:
            raise refused(f"{show(word)} names {{{place}}}", f"known are {', '.join(PLACES)}", value)
    return word


def _worker(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise wrong_type("a table of fields of a worker", value)
    problems = [Problem(key, "cannot be said here", hint) for key, hint in _OURS.items() if key in value]
    if problems:
        raise InvalidError(problems)
    own = {key: one for key, one in value.items() if key not in ("profile", "set")}
    SPEC.parse({"name": "rd-agent", "command": ["rdagent"], **own})
    return dict(value)


def filled(words: tuple[Word, ...], values: Mapping[str, str]) -> list[str]:
    """The words with values for what stands in braces. Raises KeyError for the first that is missing and cannot be left out."""
    done: list[str] = []
    for word in words:
        if isinstance(word, str):
            done.append(_fill(word, values))
        elif all(place in values for part in word for place in _PLACE.findall(part)):
            done += [_fill(part, values) for part in word]
    return done


def names(words: tuple[Word, ...], *places: str) -> bool:
    """Whether any of these stands in braces somewhere."""
    flat = [part for word in words for part in ((word,) if isinstance(word, str) else word)]
    return any(place in places for part in flat for place in _PLACE.findall(part))


def _fill(word: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: values[found[1]], word)


RD_AGENT = Section(
    RdAgent,
    {
        "program": (
            Kind("text", lambda value: None if value is None else text(value)),
            "RD-Agent's program, by path, or by a name on the PATH of its user. Not given: `launch` is refused.",
        ),
        "user": (
            USER,
            "As whom it runs, whoever launches it. Needed, except by `rdagentd up` of a user who is not root.",
        ),
        "scenarios": (
            Kind("lists of words by name of a scenario", _scenarios),
            "Words behind the program; a command if the first has a slash. Lists in it go where what they name is not given.",
        ),
        "worker": (
            Kind("table of fields of a worker", _worker),
            'What else is said of the workers: limits, environment; profile = "rd-agent", and set.',
        ),
    },
)
