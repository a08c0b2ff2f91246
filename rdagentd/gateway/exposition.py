"""Families of metrics as Prometheus reads them: its text format, and OpenMetrics 1.0.

prometheus_client writes each sample by itself, for 6 µs; a thousand workers have ten thousand. Here all samples of a worker
share the text of their labels. The tests hold it against prometheus_client's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, isnan
from typing import Any

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"

END = b"# EOF\n"
"""Of OpenMetrics."""


class Exposition:
    """Writes families in one of the two formats. Texts of labels are remembered as long as it lives: for one scrape."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._texts: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}

    def family(self, family: dict[str, Any]) -> str:
        """HELP, TYPE and samples. `family` is one of those that the operation `metrics` gives."""
        name, kind, labels = family["name"], family["kind"], tuple(family["labels"])
        told = name
        if self._openmetrics:
            told = name.removesuffix("_total" if kind == "counter" else "_info" if kind == "info" else "")
        elif kind == "info":
            kind = "gauge"
        lines = [f"# HELP {told} {_help(family['help'], self._openmetrics)}", f"# TYPE {told} {kind}"]
        samples = family["samples"]
        if kind == "histogram":
            for values, value in samples:
                lines += self._histogram(name, labels, tuple(values), value)
        elif labels:
            text = self._text
            lines += [f"{name}{{{text(labels, tuple(values))}}} {_number(value)}" for values, value in samples]
        else:
            lines += [f"{name} {_number(value)}" for _, value in samples]
        return "\n".join(lines) + "\n"

    def _histogram(
        self, name: str, labels: tuple[str, ...], values: tuple[str, ...], value: dict[str, Any]
    ) -> Iterable[str]:
        text = self._text(labels, values)
        before = f"{text}," if text else ""
        around = f"{{{text}}}" if text else ""
        count = 0
        for bound, count in value["buckets"]:
            yield f'{name}_bucket{{{before}le="{bound}"}} {count}'
        yield f"{name}_count{around} {count}"
        yield f"{name}_sum{around} {_number(value['sum'])}"

    def _text(self, labels: tuple[str, ...], values: tuple[str, ...]) -> str:
        """What stands between the braces."""
        known = self._texts.get((labels, values))
        if known is None:
            known = self._texts[labels, values] = ",".join(map(_label, labels, values))
        return known


def _label(name: str, value: str) -> str:
    return f'{name}="{_escaped(value)}"'


def _escaped(value: str) -> str:
    if value.isalnum():
        return value
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str, openmetrics: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if openmetrics else text


def _number(value: float) -> str:
    if type(value) is int:
        return str(value)
    if isfinite(value):
        return repr(float(value))
    return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"


def is_openmetrics(accept: Sequence[str]) -> bool:
    """Whether these headers Accept name OpenMetrics, as Prometheus does since 2.5."""
    return any(
        part.partition(";")[0].strip() == "application/openmetrics-text" for line in accept for part in line.split(",")
    )
