"""What runs tell on their NOTIFY_SOCKET, as events: measures, as every reporter tells them; the rest is the lifecycle's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rdagentd.core import events as ev

PREFIX = "X_RDAGENT_"
"""Fields of ours: the rest of the name, in small letters, is a measure."""

SOURCE = "notify"
"""Who says so, of what came by a socket."""

_NO_MEASURE = "X_RDAGENT_CHECKPOINT"


def events_of(worker: str, run: str, fields: Mapping[str, str]) -> Iterator[ev.Reported | ev.Notified]:
    """What was told of a run. STATUS is a measure, too: the words of what it does."""
    values = {name: value for field, value in fields.items() if (name := measure_of(field))}
    if values:
        yield ev.Reported(worker, run, values, SOURCE)
    rest = {field: value for field, value in fields.items() if not measure_of(field)}
    if rest:
        yield ev.Notified(worker, run, rest)


def measure_of(field: str) -> str:
    """The name of the measure; "" for what is none."""
    if field == "STATUS":
        return "status"
    return field.removeprefix(PREFIX).lower() if field.startswith(PREFIX) and field != _NO_MEASURE else ""
