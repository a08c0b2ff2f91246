"""rdagentctl metrics: what Prometheus is told, in its text format (version 0.0.4; exposition_formats.md of its manual)."""

from __future__ import annotations

import sys

from rdagentctl import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    answer = client.call("metrics")
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        sys.stdout.write("".join(line for family in answer["families"] for line in lines(family)))
    return 0


def lines(family: dict[str, Any]) -> Iterator[str]:
    """A family as text."""
    name, kind, labels = family["name"], family["kind"], family["labels"]
    about = family["help"].replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {about}\n# TYPE {name} {'gauge' if kind == 'info' else kind}\n"
    for values, value in family["samples"]:
        if kind != "histogram":
            yield f"{name}{_labels(labels, values)} {_number(value)}\n"
            continue
        for bound, count in value["buckets"]:
            yield f"{name}_bucket{_labels((*labels, 'le'), (*values, bound))} {count}\n"
        shown = _labels(labels, values)
        yield f"{name}_sum{shown} {_number(value['sum'])}\n{name}_count{shown} {value['buckets'][-1][1]}\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return render.plain(value).replace("\\", r"\\").replace('"', r"\"")


def _number(value: float) -> str:
    """As Go reads it: Python's inf and nan are spelt otherwise there."""
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text := repr(value), text)
