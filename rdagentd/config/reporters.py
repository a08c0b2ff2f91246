"""Reporters as people write them: [[reporters]] source = "log", measure = "cost_usd", pattern = "Cost: ${number}"."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from rdagentd.config.kinds import FLAG, Kind, choice, duration, each
from rdagentd.config.problems import refused, show
from rdagentd.config.section import Conflict, Section
from rdagentd.config.texts import text
from rdagentd.model.measures import STANDARD, WORDS
from rdagentd.model.pattern import PatternError, compile_pattern
from rdagentd.model.reporters import ASKED, Reporter, Source

MOST = 32
"""Reporters of a worker: each is a pass over its output."""

HOSTS = frozenset({"127.0.0.1", "::1"})
"""Where a worker's own endpoint may be: on this host. By address: `localhost` is ::1 for some, where nobody listens."""

LEAST_EVERY = 1.0

_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}")
_FIELDS = {
    Source.LOG: ("pattern",),
    Source.JSON: ("file", "path"),
    Source.PROMETHEUS: ("url", "metric"),
    Source.RECEIVE: (),
}
"""What each source needs; what another one needs, it does not take."""


def measure(value: Any) -> str:
    """The name of a measure: one of ours, or of the user's own."""
    name = text(value, 63)
    if not _MEASURE.fullmatch(name):
        hint = f"one of {', '.join(sorted(STANDARD))}, or a name of your own of a-z 0-9 _, the first a letter"
        raise refused(f"{show(name)} is not the name of a measure", hint, value)
    return name


def _pattern(value: Any) -> str | None:
    if value is None:
        return None
    written = text(value, 1024)
    try:
        compile_pattern(written)
    except PatternError as error:
        raise refused(f"{show(written)} {error}", "", value) from None
    return written


def below(value: Any) -> str | None:
    """A glob of files below the worker's directory."""
    if value is None:
        return None
    path = text(value)
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        raise refused(f"{show(path)} leads out of the worker's directory", "write it relative to that", value)
    return path


def _path(value: Any) -> str | None:
    return None if value is None else text(value, 256)


def _url(value: Any) -> str | None:
    if value is None:
        return None
    url = text(value, 1024)
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise refused(f"{show(url)} is not a URL", 'write "http://127.0.0.1:8000/metrics"', value) from None
    if parts.scheme != "http" or host not in HOSTS or not port or parts.username or not url.isascii() or " " in url:
        hint = 'http on this host, by address and port: "http://127.0.0.1:8000/metrics"'
        raise refused(f"{show(url)} is no place that is asked", hint, value)
    return url


def _metric(value: Any) -> str | None:
    if value is None:
        return None
    name = text(value, 200)
    if not _METRIC.fullmatch(name):
        raise refused(f"{show(name)} is not the name of a metric", "without labels: all series of it are summed", value)
    return name


def _every(value: Any) -> float:
    seconds: float = duration(zero=False).parse(value)
    if seconds < LEAST_EVERY:
        raise refused(f"{show(value)} is too often", f"at least {LEAST_EVERY:g} s", value)
    return seconds


def _unfit(reporter: Reporter) -> str:
    wanted, source = _FIELDS[reporter.source], reporter.source.value
    for fields in _FIELDS.values():
        for field in fields:
            given = getattr(reporter, field) is not None
            if field in wanted and not given:
                return f"{source} needs {field}"
            if field not in wanted and given:
                return f"{source} takes no {field}"
    if reporter.add and reporter.source is Source.PROMETHEUS:
        return "prometheus takes no add: all series of the metric are summed anyway"
    return ""


def _untold(reporter: Reporter) -> str:
    """What a pattern finds must be what the measure takes."""
    if reporter.pattern is None:
        return ""
    pattern, words = compile_pattern(reporter.pattern), reporter.measure in WORDS
    if words:
        return (
            ""
            if pattern.value is not None
            else f"{show(reporter.pattern)} has no value; write {{word}} or {{any}} for it"
        )
    if pattern.numeric or reporter.add:
        return ""
    return f"{show(reporter.pattern)} has no number; write {{number}} for it, or add = true to count the lines"


def _sums_no_words(reporter: Reporter) -> str:
    return (
        f"{reporter.measure} is no number, nothing can be added" if reporter.add and reporter.measure in WORDS else ""
    )


REPORTER = Section(
    Reporter,
    {
        "source": (choice(Source), "Where it is told."),
        "measure": (Kind("name", measure), "What it is: progress (0 to 1), iteration, step, status, tokens, cost_usd, errors, "
                    "provider_errors, or a name of your own."),
        "pattern": (Kind("text", _pattern), "log: literal text with {number}, {int}, {word} and {any}."),
        "file": (Kind("glob", below), "json: files below the worker's directory; of several the newest counts."),
        "path": (Kind("text", _path), 'json: names and numbers with dots, as "summary.iterations"; of a list its length.'),
        "url": (Kind("URL", _url), "prometheus: where it is asked, on this host."),
        "metric": (Kind("name", _metric), "prometheus: all its series are summed."),
        "add": (FLAG, "Each match (file, message) adds its number, or 1, instead of telling the total of the run."),
        "every": (Kind("duration", _every), "json, prometheus: how often it is asked. Once more at the end of a run."),
    },
    hints={"regex": "did you mean pattern? It is literal text with placeholders", "name": "did you mean measure?"},
    conflicts=(
        Conflict("source", ("source", "pattern", "file", "path", "url", "metric", "add"), _unfit),
        Conflict("pattern", ("pattern", "measure", "add"), _untold),
        Conflict("add", ("add", "measure"), _sums_no_words),
    ),
)  # fmt: skip


def _in_a_container(spec: Any) -> str:
    asked = [reporter.source.value for reporter in spec.reporters if reporter.source in ASKED]
    if spec.container is None or not asked:
        return ""
    return f"of a container {asked[0]} cannot be asked: what is in one nobody else can look at; use log, or receive"


CONFLICT = Conflict("reporters", ("reporters", "container"), _in_a_container)

REPORTERS = Kind(f"list of tables, at most {MOST}", each(Kind("table", REPORTER.parse), MOST).parse)
