"""The operations: one literal table of name, access, arguments and handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, frozen

from rdagentd.api import commands, queries, streams
from rdagentd.api.args import BOOL, COUNT, MAP, MAPS, NUMBER, TEXT, Field, maybe, one_of, up_to
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


SELECT = MAP.otherwise({})
RUN = maybe(
    Field(
        f"a run id, or a number from -{streams.MOST_RUNS_BACK} to -1 (-1: the latest run)",
        lambda value: TEXT.check(value) or (type(value) is int and -streams.MOST_RUNS_BACK <= value < 0),
    )
)
SIGNAL = Field("the name of a signal, such as SIGHUP", lambda value: type(value) is str and value in commands.SIGNALS)
_ONE = {"select": SELECT}

OPERATIONS: dict[str, Operation] = {
    "ping": Operation(Access.VIEW, queries.ping),
    "version": Operation(Access.VIEW, queries.version),
    "doctor": Operation(Access.VIEW, queries.doctor),
    "status": Operation(Access.VIEW, queries.status, _ONE),
    "show": Operation(Access.VIEW, queries.show, _ONE),
    "usage": Operation(Access.VIEW, queries.usage, _ONE),
    "why": Operation(Access.VIEW, queries.why, _ONE),
    "wait": Operation(
        Access.VIEW, queries.wait, {**_ONE, "until": one_of("rest", "running").otherwise("rest")}, lasts=True
    ),
    "submit": Operation(Access.OPERATE, commands.submit, {"spec": MAP, "start": BOOL.otherwise(True)}),
    "apply": Operation(
        Access.OPERATE,
        commands.apply,
        {"documents": MAPS, "dry_run": BOOL.otherwise(False), "prune": BOOL.otherwise(False)},
    ),
    "start": Operation(Access.OPERATE, commands.start, _ONE),
    "stop": Operation(Access.OPERATE, commands.stop, _ONE),
    "restart": Operation(Access.OPERATE, commands.restart, _ONE),
    "pause": Operation(Access.OPERATE, commands.pause, _ONE),
    "resume": Operation(Access.OPERATE, commands.resume, _ONE),
    "kill": Operation(Access.OPERATE, commands.kill, _ONE),
    "remove": Operation(Access.OPERATE, commands.remove, {**_ONE, "force": BOOL.otherwise(False)}),
    "signal": Operation(
        Access.OPERATE,
        commands.signal,
        {**_ONE, "signal": SIGNAL, "scope": one_of("main", "group", "tree").otherwise("main")},
    ),
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
            "follow": BOOL.otherwise(False),
        },
        stream=True,
    ),
}
