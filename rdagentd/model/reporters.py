"""How a worker that does not speak for itself is understood: rules from a source to a measure."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Source(StrEnum):
    """Where something is told."""

    LOG = "log"
    JSON = "json"
    PROMETHEUS = "prometheus"
    RECEIVE = "receive"


ASKED = frozenset({Source.JSON, Source.PROMETHEUS})
"""Sources that say nothing by themselves."""


@frozen
class Reporter:
    """A rule. measure: a name of model/measures, or one of the user's own.

    log: `pattern`, see model/pattern. json: `path` in the newest file that matches `file`, a glob below the worker's
    directory. prometheus: `metric` at `url`. receive: what RD-Agent posts. add: each match, file or message adds, instead of
    telling the total of the run. every: seconds between two questions.
    """

    source: Source
    measure: str
    pattern: str | None = None
    file: str | None = None
    path: str | None = None
    url: str | None = None
    metric: str | None = None
    add: bool = False
    every: float = 30.0
