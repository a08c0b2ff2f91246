"""What a worker needs beside itself: other workers, and providers of models."""

from __future__ import annotations

from typing import Any

from rdagentd.config.kinds import Kind, choice, each
from rdagentd.config.problems import InvalidError, Problem, key_name, refused, wrong_type
from rdagentd.config.section import Conflict
from rdagentd.config.texts import NAME
from rdagentd.model.dependency import Condition
from rdagentd.model.spec import Spec

_CONDITION = choice(Condition)
_MOST = 64


def _depends(value: Any) -> dict[str, Condition]:
    if type(value) is not dict:
        raise wrong_type("a table of workers and conditions", value, 'depends = { db = "healthy" }')
    if len(value) > _MOST:
        raise refused(f"has {len(value)} workers", f"at most {_MOST}")
    problems: list[Problem] = []
    made: dict[str, Condition] = {}
    for name, condition in value.items():
        try:
            made[NAME.parse(name)] = _CONDITION.parse(condition)
        except InvalidError as error:
            problems += [problem.under(key_name(name)) for problem in error.problems]
    if problems:
        raise InvalidError(problems)
    return made


def _providers(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_NAMES.parse([value] if type(value) is str else value)))


def _itself(spec: Spec) -> str:
    return "it cannot depend on itself" if spec.name in spec.depends else ""


_NAMES = each(NAME, 16)
DEPENDS = Kind(f"table of workers, at most {_MOST}, each with {_CONDITION.says}", _depends)
PROVIDERS = Kind("name, or list of at most 16 names", _providers)
CONFLICT = Conflict("depends", ("name", "depends"), _itself)
