"""Tables of names and texts: the environment and the labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rdagentd.config.kinds import Kind
from rdagentd.config.problems import MAX_PROBLEMS, InvalidError, Problem, key_name, refused, wrong_type
from rdagentd.config.texts import NAME, size_of, text

MAX_ENVIRONMENT = 128 << 10
"""Largest environment in bytes, each variable counted with its "=" and NUL."""

_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")


def _environment(value: Any) -> dict[str, str]:
    """Neither a value nor what stands after "=" in a name is ever told: they hold keys."""
    if type(value) is not dict:
        raise wrong_type("a table of names and values", value)
    problems: list[Problem] = []
    total = 0
    for name, content in value.items():
        try:
            total += size_of(_variable(name)) + size_of(text(content, MAX_ENVIRONMENT, empty=True)) + 2
        except InvalidError as error:
            shown = key_name(name.partition("=")[0] if type(name) is str else name)
            problems += [problem.under(shown) for problem in error.problems]
        if len(problems) >= MAX_PROBLEMS:
            break
    if not problems and total > MAX_ENVIRONMENT:
        raise refused(f"takes {total} bytes", f"at most {MAX_ENVIRONMENT}; put large values into a file")
    if problems:
        raise InvalidError(problems)
    return dict(value)


def _variable(name: Any) -> str:
    if type(name) is str and "=" in name:
        raise refused("the name of a variable cannot contain =")
    return text(name, 1024)


def _labels(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise wrong_type("a table of names and values", value)
    if len(value) > 64:
        raise refused(f"has {len(value)} labels", "at most 64")
    problems: list[Problem] = []
    for key, content in value.items():
        try:
            if type(key) is not str or not _LABEL_KEY.fullmatch(key):
                raise refused(
                    "is not a name for a label", "1 to 63 of A-Z a-z 0-9 _ . / -, the first a letter or a digit"
                )
            if not text(content, 256, empty=True).isprintable():
                raise refused("contains control characters", value=content)
        except InvalidError as error:
            problems += [problem.under(key_name(key)) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return dict(value)


def _credentials(value: Any) -> dict[str, str]:
    return _sources(value, NAME.parse)


def _secret_environment(value: Any) -> dict[str, str]:
    return _sources(value, _variable)


def _sources(value: Any, check: Callable[[Any], object]) -> dict[str, str]:
    """Names of credentials under names that `check` accepts."""
    if type(value) is not dict:
        raise wrong_type("a table of names and names", value)
    if len(value) > 64:
        raise refused(f"has {len(value)} credentials", "at most 64")
    problems: list[Problem] = []
    for name, source in value.items():
        try:
            check(name)
            NAME.parse(source)
        except InvalidError as error:
            problems += [problem.under(key_name(name)) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return dict(value)


CREDENTIALS = Kind("table of names, at most 64", _credentials)
SECRET_ENVIRONMENT = Kind("table of variables and names, at most 64", _secret_environment)
ENVIRONMENT = Kind("table of texts", _environment)
LABELS = Kind("table of texts, at most 64", _labels)
