"""The operations: one literal table of name, access, arguments and handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, evolve, frozen

from rdagentd.api import budgets, checkpoints, commands, launch, preflight, profiles, queries, report, streams
from rdagentd.api.args import BOOL, COUNT, MAP, MAPS, NUMBER, TEXT, TEXTS, VALUES, Field, maybe, one_of, up_to
from rdagentd.api.context import Context
from rdagentd.api.peer import Access
from rdagentd.protocol.segments import STREAMS


@frozen
class Operation:
    """access: the least role. handler: gives a result, a coroutine, or (stream) an async iterator of items.

    lasts: the answer comes when something has come about; a daemon that leaves does not wait for that.
    """

    access: Access
    handler: Callable[..., Any]
    args: Mapping[str, Field] = Factory(dict)
    stream: bool = False
    lasts: bool = False


SELECT = evolve(
    MAP,
    what="a map {names: [name, glob or @group...], labels: {key: value}}",
    schema={
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "additionalProperties": False,
    },
    default={},
)
RUN = maybe(
    Field(
        f"a run id, or a number from -{streams.MOST_RUNS_BACK} to -1 (-1: the latest run)",
        lambda value: TEXT.check(value) or (type(value) is int and -streams.MOST_RUNS_BACK <= value < 0),
        {"anyOf": [TEXT.schema, {"type": "integer", "minimum": -streams.MOST_RUNS_BACK, "maximum": -1}]},
    )
)
SIGNAL = Field(
    "the name of a signal, such as SIGHUP",
    lambda value: type(value) is str and value in commands.SIGNALS,
    {"enum": sorted(commands.SIGNALS)},
)
_ONE = {"select": SELECT}


def describe(context: Context, args: dict[str, Any]) -> Any:
    """This table, for programs that offer it in another shape."""
    return [
        {
            "op": op,
            "text": (inspect.getdoc(operation.handler) or "").partition("\n\n")[0].replace("\n", " "),
            "access": operation.access.name.lower(),
            "stream": operation.stream,
            "lasts": operation.lasts,
            "args": {name: field.described() for name, field in operation.args.items()},
        }
        for op, operation in OPERATIONS.items()
    ]


OPERATIONS: dict[str, Operation] = {
    "ping": Operation(Access.VIEW, queries.ping),
    "version": Operation(Access.VIEW, queries.version),
    "describe": Operation(Access.VIEW, describe),
    "whoami": Operation(Access.VIEW, queries.whoami),
    "doctor": Operation(Access.VIEW, queries.doctor),
    "status": Operation(Access.VIEW, queries.status, _ONE),
    "show": Operation(Access.VIEW, queries.show, _ONE),
    "usage": Operation(Access.VIEW, queries.usage, _ONE),
    "metrics": Operation(Access.VIEW, queries.metrics),
    "providers": Operation(Access.VIEW, queries.providers),
    "why": Operation(Access.VIEW, queries.why, _ONE),
    "wait": Operation(
        Access.VIEW,
        queries.wait,
        {**_ONE, "until": one_of("rest", "running", "healthy", "ready").otherwise("rest")},
        lasts=True,
    ),
    "submit": Operation(Access.OPERATE, commands.submit, {"spec": MAP, "start": BOOL.otherwise(True)}),
    "apply": Operation(
        Access.OPERATE,
        commands.apply,
        {"documents": MAPS, "dry_run": BOOL.otherwise(False), "prune": BOOL.otherwise(False)},
    ),
    "launch": Operation(
        Access.OPERATE,
        launch.launch,
        {
            "scenario": TEXT,
            "trace": launch.TRACE,
            "port": launch.PORT,
            "competition": maybe(launch.COMPETITION),
            "loops": maybe(launch.LOOPS),
            "hours": maybe(launch.HOURS),
            "files": launch.FILES.otherwise([]),
            "ticket": maybe(TEXT),
        },
    ),
    "start": Operation(Access.OPERATE, commands.start, _ONE),
    "stop": Operation(Access.OPERATE, commands.stop, _ONE),
    "restart": Operation(Access.OPERATE, commands.restart, _ONE),
    "pause": Operation(Access.OPERATE, commands.pause, _ONE),
    "resume": Operation(Access.OPERATE, checkpoints.resume, {**_ONE, "checkpoint": maybe(TEXT)}),
    "kill": Operation(Access.OPERATE, commands.kill, _ONE),
    "remove": Operation(Access.OPERATE, commands.remove, {**_ONE, "force": BOOL.otherwise(False)}),
    "signal": Operation(
        Access.OPERATE,
        commands.signal,
        {**_ONE, "signal": SIGNAL, "scope": one_of("main", "group", "tree").otherwise("main")},
    ),
    "report": Operation(
        Access.OPERATE,
        report.report,
        {
            "name": TEXT,
            "values": MAP.otherwise({}),
            "added": MAP.otherwise({}),
            "run": maybe(TEXT),
            "source": one_of("report", report.RECEIVED).otherwise("report"),
            "number": maybe(COUNT),
        },
    ),
    "budget": Operation(Access.OPERATE, budgets.budget, {**_ONE, "raise": VALUES}),
    "reload": Operation(Access.ADMIN, commands.reload),
    "drain": Operation(Access.ADMIN, commands.drain),
    "logs": Operation(
        Access.VIEW,
        streams.logs,
        {
            "name": TEXT,
            "stream": one_of(*STREAMS).otherwise("out"),
            "run": RUN,
            "since": maybe(NUMBER),
            "until": maybe(NUMBER),
            "tail": maybe(COUNT),
            "offset": maybe(COUNT),
            "follow": BOOL.otherwise(False),
            "runs": BOOL.otherwise(False),
        },
        stream=True,
    ),
    "events": Operation(
        Access.VIEW,
        streams.events,
        {
            "select": SELECT,
            "since": COUNT.otherwise(0),
            "tail": maybe(up_to(streams.MOST_EVENTS_BACK)),
            "kinds": TEXTS.otherwise([]),
            "after": maybe(NUMBER),
            "follow": BOOL.otherwise(False),
        },
        stream=True,
    ),
    "profiles": Operation(Access.VIEW, profiles.profiles),
    "profile": Operation(
        Access.VIEW,
        profiles.profile,
        {"name": TEXT, "set": VALUES.otherwise({}), "resolved": BOOL.otherwise(False)},
    ),
    "preflight": Operation(Access.OPERATE, preflight.preflight, {"select": SELECT, "spec": maybe(MAP)}),
    "checkpoints": Operation(Access.OPERATE, checkpoints.checkpoints, {"name": TEXT}),
    "restore_workspace": Operation(Access.OPERATE, checkpoints.restore_workspace, {"name": TEXT, "run": maybe(TEXT)}),
}
