"""rdagentctl profile: one profile, its parameters and what it says."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.failure import UsageError
from rdagentctl.given import parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    *verb, name = arguments.words
    if verb not in ([], ["show"]):
        raise UsageError(f"cannot {verb[0]} a profile: show is all that can be done; rdagentctl profile show {name}")
    resolved = arguments.flag("resolved")
    told = client.call("profile", {"name": name, "set": parameters(arguments), "resolved": resolved})
    if arguments.flag("json"):
        render.show_json(told)
    else:
        print("\n".join(_lines(told)))
    return 0


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"{render.plain(told['name'])}: {render.plain(told['about'])}"
    yield f"  file        {render.plain(told['file'])}"
    if told["extends"]:
        yield f"  extends     {render.plain(', '.join(told['extends']))}"
    if told["parameters"]:
        yield "  parameters"
        rows = [(f"    {render.plain(name)}", _value(one), _about(one)) for name, one in told["parameters"].items()]
        yield from render.table(rows, None).splitlines()
    spec = told["spec"] or told["template"]
    yield "  spec" if told["spec"] else "  says"
    yield from (f"    {path} = {value}" for path, value in _fields("", spec))


def _value(one: dict[str, Any]) -> str:
    return "needed" if one["needed"] else "-" if one["default"] is None else render.value(one["default"])


def _about(one: dict[str, Any]) -> str:
    choices = f"one of {', '.join(one['choices'])}" if one["choices"] else ""
    return render.plain("; ".join(part for part in (one["about"], choices) if part))


def _fields(path: str, table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that have a value, by dotted path; a list of tables as its tables."""
    for key, value in table.items():
        where = f"{path}{render.plain(key)}"
        if isinstance(value, dict):
            yield from _fields(f"{where}.", value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value):
                yield from _fields(f"{where}[{number}].", one)
        elif value is not None and value not in ([], ""):
            yield where, render.value(value)
