"""rdagentctl report: tells for a worker what it has done."""

from __future__ import annotations

from rdagentctl import render
from rdagentctl.failure import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    name, *told = arguments.words
    values: dict[str, float | str] = {}
    added: dict[str, float | str] = {}
    for text in told:
        measure, equals, value = text.partition("=")
        if not equals or not measure.strip("+"):
            raise UsageError(f"cannot report {text!r}: write MEASURE=VALUE, or MEASURE+=VALUE to add")
        (added if measure.endswith("+") else values)[measure.removesuffix("+")] = _value(value)
    answer = client.call("report", {"name": name, "values": values, "added": added})
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        print(f"{name}: reported {', '.join(answer['measures'])}")
    return 0


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
