"""What operations answer with, as JSON Schema (draft 2020-12): as far as clients may count on it. There may be more fields.

The meaning of each field is told in docs/architecture.md ("Control protocol").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    """A list of those."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """An object with any names, each with one of those."""
    return {"type": "object", "additionalProperties": schema}


def record(**fields: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def also(schema: Schema, **fields: Schema) -> Schema:
    """An object that may have these besides."""
    return {**schema, "properties": {**schema["properties"], **fields}}


def ref(name: str) -> Schema:
    """One of SHAPES."""
    return {"$ref": f"#/components/schemas/{name}"}


_STANDING = {"name": TEXT, "state": TEXT, "want": TEXT, "reason": maybe(ref("Reason"))}

SHAPES: Mapping[str, Schema] = {
    "Error": record(error=record(code=TEXT, message=TEXT, details={"type": "object"})),
    "Reason": record(code=TEXT, text=TEXT),
    "Exit": record(
        kind=TEXT,
        code=maybe(WHOLE),
        signal=maybe(TEXT),
        core=FLAG,
        stage=maybe(TEXT),
        errno=maybe(WHOLE),
        reason=TEXT,
        outcome=maybe(TEXT),
    ),
    "Worker": record(
        **_STANDING,
        health=maybe(TEXT),
        ready=FLAG,
        attempt=WHOLE,
        restarts=WHOLE,
        owner=WHOLE,
        revision=WHOLE,
        group=TEXT,
        priority=WHOLE,
        labels=by_name(TEXT),
        command=many(TEXT),
        run=maybe(
            record(
                id=TEXT,
                pid=maybe(WHOLE),
                started_at=maybe(NUMBER),
                ended_at=maybe(NUMBER),
                since_boot=maybe(NUMBER),
                checkpoint=maybe(TEXT),
            )
        ),
        exit=maybe(ref("Exit")),
        due_in=maybe(NUMBER),
        progress=maybe(NUMBER),
        iteration=maybe(WHOLE),
        step=maybe(TEXT),
        status=maybe(TEXT),
        tokens=maybe(WHOLE),
        cost_usd=maybe(NUMBER),
        errors=maybe(WHOLE),
        measures=by_name(NUMBER),
        budgets=many(ref("BudgetUsed")),
    ),
    "BudgetUsed": record(of=TEXT, measure=TEXT, used=NUMBER, budget=NUMBER),
    "Run": record(
        id=TEXT,
        attempt=WHOLE,
        revision=WHOLE,
        pid=maybe(WHOLE),
        started_at=maybe(NUMBER),
        ended_at=maybe(NUMBER),
        since_boot=maybe(NUMBER),
        exit=maybe(ref("Exit")),
        log_start=by_name(WHOLE),
        log_end=by_name(WHOLE),
        container=maybe(TEXT),
        checkpoint=maybe(TEXT),
        holds={"type": "object"},
        usage=maybe({"type": "object"}),
        measures={"type": "object"},
        misread=WHOLE,
    ),
    "Usage": record(
        user=maybe(NUMBER),
        system=maybe(NUMBER),
        memory=maybe(WHOLE),
        memory_peak=maybe(WHOLE),
        tasks=maybe(WHOLE),
        tasks_peak=maybe(WHOLE),
        read=maybe(WHOLE),
        written=maybe(WHOLE),
        log=WHOLE,
        active=maybe(NUMBER),
        disk=by_name(ANY),
    ),
    "Fared": record(**_STANDING, changed=FLAG, error=maybe(record(code=TEXT, message=TEXT))),
    "Change": also(
        record(
            name=TEXT,
            action={"enum": ["create", "update", "restart", "none", "remove", "stop", "start"]},
            fields=many(record(field=TEXT, old=ANY, new=ANY)),
        ),
        warnings=many(TEXT),
    ),
    "Event": record(
        seq=WHOLE, at=NUMBER, worker=maybe(TEXT), run=maybe(TEXT), kind=TEXT, text=TEXT, by=maybe(WHOLE), data=ANY
    ),
    "LogPiece": {
        "anyOf": [
            record(offset=WHOLE, time=maybe(NUMBER), data=TEXT),
            record(offset=WHOLE, dropped=WHOLE),
        ]
    },
}
"""Components of the document."""

_FARED = record(workers=many(ref("Fared")))
_CHANGES = record(changes=many(ref("Change")))
_WORKERS = many(ref("Worker"))

RESULTS: Mapping[str, Schema] = {
    "ping": record(pid=WHOLE, version=TEXT, uptime=NUMBER, problem=maybe(TEXT)),
    "version": record(version=TEXT, protocol=WHOLE, schema=WHOLE, executor=maybe(record(version=TEXT, pid=WHOLE))),
    "describe": many(
        record(op=TEXT, text=TEXT, access=TEXT, stream=FLAG, lasts=FLAG, args=by_name({"type": "object"}))
    ),
    "whoami": record(uid=WHOLE, gid=WHOLE, name=maybe(TEXT), role=TEXT, may=many(TEXT)),
    "doctor": many(record(subject=TEXT, state={"enum": ["ok", "missing", "absent"]}, text=TEXT)),
    "status": _WORKERS,
    "wait": _WORKERS,
    "show": many(
        record(
            spec={"type": "object"},
            row=ref("Worker"),
            runs=many(ref("Run")),
            usage=maybe(ref("Usage")),
            revisions=many(record(revision=WHOLE, at=NUMBER, by=maybe(WHOLE))),
        )
    ),
    "usage": many(record(name=TEXT, usage=ref("Usage"))),
    "metrics": record(
        families=many(
            record(
                name=TEXT,
                kind={"enum": ["gauge", "counter", "histogram", "info"]},
                help=TEXT,
                labels=many(TEXT),
                samples=many({"type": "array", "minItems": 2, "maxItems": 2}),
            )
        )
    ),
    "providers": many(
        record(
            name=TEXT,
            phase={"enum": ["closed", "open", "half_open"]},
            why=TEXT,
            errors=WHOLE,
            breaker=record(errors=WHOLE, window=NUMBER, cooldown=NUMBER),
            probe=maybe(TEXT),
            due_in=maybe(NUMBER),
            workers=WHOLE,
            waiting=WHOLE,
        )
    ),
    "why": many(record(name=TEXT, sentences=many(TEXT), facts=ref("Worker"))),
    "submit": record(**_STANDING, revision=WHOLE, warnings=many(TEXT)),
    "launch": record(**_STANDING, revision=WHOLE, warnings=many(TEXT), trace=TEXT, id=TEXT),
    "apply": _CHANGES,
    "reload": _CHANGES,
    "start": _FARED,
    "stop": _FARED,
    "restart": _FARED,
    "pause": _FARED,
    "resume": _FARED,
    "kill": _FARED,
    "signal": _FARED,
    "budget": _FARED,
    "remove": _FARED,
    "drain": {"type": "object"},
    "report": record(measures={"type": "object"}),
    "checkpoints": record(
        name=TEXT,
        checkpoints=many(record(path=TEXT, at=NUMBER, size=WHOLE, problem=maybe(TEXT), failures=WHOLE, present=FLAG)),
        next=maybe(TEXT),
    ),
    "restore_workspace": record(name=TEXT, run=TEXT, branch=maybe(TEXT), commit=maybe(TEXT), directory=TEXT),
    "profiles": many(record(name=TEXT, file=TEXT, problem=maybe(TEXT))),
    "profile": record(
        name=TEXT,
        file=TEXT,
        about=TEXT,
        extends=many(TEXT),
        parameters=by_name(record(about=TEXT, choices=many(TEXT), default=ANY, needed=FLAG)),
        template={"type": "object"},
        spec=maybe({"type": "object"}),
    ),
    "preflight": many(record(name=TEXT, asked=FLAG, problems=many(TEXT), unmade=maybe(TEXT))),
    "events": ref("Event"),
    "logs": ref("LogPiece"),
}
"""Operation → its result, or an item of it. One that is not here answers with whatever it likes."""
