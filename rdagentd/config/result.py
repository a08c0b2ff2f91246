"""[result] as people write it."""

from __future__ import annotations

from typing import Any

from rdagentd.config.kinds import Kind, choice, collect
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import text
from rdagentd.model.container import DriverName
from rdagentd.model.result import Outcome, Result, Rule
from rdagentd.model.spec import Spec

_MOST = 32


def _optional_text(value: Any) -> str | None:
    return None if value is None else text(value, 1024)


def _below(value: Any) -> str | None:
    glob = _optional_text(value)
    if glob is not None and (glob.startswith(("/", "~")) or ".." in glob.split("/") or "**" in glob):
        raise refused(f"{show(glob)} leads out of its directory, or anywhere", "a glob below it, such as out/*.json")
    return glob


def _plain(value: Any) -> str | int | float | bool | None:
    if value is not None and type(value) not in (str, int, float, bool):
        raise wrong_type("text, a number, true or false", value)
    return value  # type: ignore[no-any-return]


def _source(rule: Rule) -> str:
    by_file = (rule.file, rule.path, rule.equals)
    if rule.pattern is not None:
        return "stands beside file, path or equals: one or the other" if any(one is not None for one in by_file) else ""
    return "" if all(one is not None for one in by_file) else "missing, or else file, path and equals"


_TEXT = Kind("text", _optional_text)

RULE = Section(
    Rule,
    {
        "outcome": (choice(Outcome), "What the run came to if this holds."),
        "pattern": (_TEXT, "Text that its output has, within the last 4 MiB."),
        "file": (Kind("glob", _below), "Or JSON files below its directory; the newest that this run wrote is read."),
        "path": (_TEXT, 'Where to look in it: `"summary.failed"`.'),
        "equals": (Kind("text, number, true or false", _plain), "What must stand there."),
        "says": (Kind("text", lambda value: text(value, 256, empty=True)), "The reason, in words."),
    },
    conflicts=(Conflict("pattern", ("pattern", "file", "path", "equals"), _source),),
)


def _rules(value: Any) -> tuple[Rule, ...]:
    if type(value) not in (list, tuple) or len(value) > _MOST:
        raise wrong_type(f"a list of at most {_MOST} rules", value)
    return tuple(collect(RULE.parse, value))


RESULT = Section(
    Result,
    {
        "rules": (
            Kind(f"list of at most {_MOST} rules", _rules),
            "`[[result.rules]]`: outcome (`completed`, `failed`), says, and pattern, or file, path and equals. The first "
            "one that holds decides.",
        ),
        "otherwise": (
            Kind("`completed`, `failed`", lambda value: None if value is None else choice(Outcome).parse(value)),
            "What it came to if none holds. Not given: what the exit code says.",
        ),
    },
    optional=True,
)


def _container(spec: Spec) -> str:
    if spec.driver is DriverName.PROCESS or spec.result is None:
        return ""
    return (
        "has rules with file, which cannot be looked for in a container"
        if any(one.file for one in spec.result.rules)
        else ""
    )


CONFLICT = Conflict("result", ("result", "driver", "container"), _container)
"""What is wrong with a whole spec because of it."""
