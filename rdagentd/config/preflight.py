"""[preflight] as people write it."""

from __future__ import annotations

import re
from typing import Any

from rdagentd.config.kinds import Kind, collect, each, size, whole
from rdagentd.config.problems import InvalidError, Problem, key_name, refused, show, wrong_type
from rdagentd.config.resources import optional
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import text
from rdagentd.model.container import DriverName
from rdagentd.model.preflight import Preflight
from rdagentd.model.spec import Spec

_NAMES = re.compile(r"[A-Za-z_]\w{0,254}(?: \| [A-Za-z_]\w{0,254})*", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_]\w{0,254}", re.ASCII)
_VERSION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9}){0,3})?")
_MOST = 64
_MOST_STARS = 4
_SIZE = optional(size(1 << 20))


def _names(value: Any) -> str:
    names = " | ".join(part.strip() for part in text(value, 1024).split("|"))
    if not _NAMES.fullmatch(names):
        raise refused(f"{show(value)} is not the name of a variable", "NAME, or A | B where one is enough", value)
    return names


def _shape(value: Any) -> str:
    shape = text(value, 256)
    if shape.count("*") > _MOST_STARS or "[" in shape:  # each star may cost another pass over the value
        raise refused(
            f"{show(value)} is no shape", f"text with ? for any character and at most {_MOST_STARS} * for any text"
        )
    return shape


def _version(value: Any) -> str:
    least = text(value, 64, empty=True)
    if not _VERSION.fullmatch(least):
        raise refused(f"{show(value)} is not a version", '"1.2.3"; "" for any', value)
    return least


def _by_name(what: str, key: Kind, kind: Kind) -> Kind:
    def parse(value: Any) -> dict[str, str]:
        if type(value) is not dict or len(value) > _MOST:
            raise wrong_type(f"a table of at most {_MOST} {what}", value)
        made: dict[str, str] = {}
        problems: list[Problem] = []
        for name, one in value.items():
            try:
                made[key.parse(name)] = kind.parse(one)
            except InvalidError as error:
                problems += [problem.under(key_name(name)) for problem in error.problems]
        if problems:
            raise InvalidError(problems)
        return made

    return Kind(f"table of {what}", parse)


def _variable(value: Any) -> str:
    if type(value) is not str or not _VARIABLE.fullmatch(value):
        raise refused(f"{show(value)} is not the name of a variable")
    return value


def _program(value: Any) -> str:
    return text(value, 4096)


def _passwords(value: Any) -> tuple[str, ...]:
    if type(value) is not list or len(value) > _MOST:
        raise wrong_type(f"a list of at most {_MOST} texts", value)
    return tuple(collect(lambda one: text(one, 256), value))


_VARIABLES = each(Kind("variable", _names), _MOST)

PREFLIGHT = Section(
    Preflight,
    {
        "environment": (_VARIABLES, 'Variables that must be there; `"A | B"`: one of them.'),
        "secrets": (
            _VARIABLES,
            "The same; `secret_environment` and `credentials` count, whose values nobody looks at.",
        ),
        "keys": (
            _by_name("shapes by variable", Kind("variable", _variable), Kind("shape", _shape)),
            'What a key looks like: `{ ANTHROPIC_API_KEY = "sk-ant-*" }`; never with blanks or quotes round it.',
        ),
        "refuse": (
            Kind(f"list of at most {_MOST} texts", _passwords),
            "Values that no variable named as passwords, keys, secrets and tokens are may have.",
        ),
        "programs": (
            _by_name("versions by program", Kind("program", _program), Kind("version", _version)),
            'Programs on its PATH, and from which version on: `{ git = "2.30", rdagent = "1.0.0" }`; `""`: any.',
        ),
        "ports": (each(whole(1, 65535), _MOST), "TCP ports on which nobody else may listen."),
        "disk": (_SIZE, "What must be free where its directory is."),
        "memory": (_SIZE, "What the host must have available."),
    },
    hints={
        "env": "did you mean environment?",
        "port": "did you mean ports = […]?",
        "binaries": "did you mean programs?",
        "passwords": "did you mean refuse?",
    },
    optional=True,
)


def _container(spec: Spec) -> str:
    checks = spec.preflight
    if spec.driver is DriverName.PROCESS or checks is None:
        return ""
    asked = [key for key in ("programs", "ports", "disk") if getattr(checks, key)]
    return f"{', '.join(asked)} cannot be looked for in a container" if asked else ""


CONFLICT = Conflict("preflight", ("preflight", "driver", "container"), _container)
"""What is wrong with a whole spec because of it."""
