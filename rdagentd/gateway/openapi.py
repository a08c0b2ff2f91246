"""The description of the JSON API for programs (OpenAPI 3.1.0), made of what the daemon tells of its operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rdagentd import __version__
from rdagentd.gateway.operations import Operation
from rdagentd.gateway.shapes import ANY, RESULTS, SHAPES, TEXT, Schema, many, record, ref
from rdagentd.protocol import frames

BASE = "/api/v1/"

ALIASES: Mapping[str, str] = {"workers": "status"}
"""Other names by which an operation that looks may be asked for."""

_LONGEST = 256
"""Characters of a text in a query. The line of a request has 8190 bytes."""

_ERRORS = {
    400: "The arguments are not as they must be.",
    401: "A token is needed.",
    403: "Not permitted.",
    404: "There is no such worker, run or operation.",
    409: "Not possible as things stand.",
    429: "Too much at a time, or more than the host could ever give.",
    500: "A defect of ours; the log has more.",
    503: "The daemon does not answer.",
}

_BODY_ERRORS = {
    413: f"The body has more than {frames.MAX_REQUEST} bytes.",
    415: "The body is not application/json.",
}

_RETRY = {429, 503}

_TAKES = {
    "view": "Takes the role viewer.",
    "operate": "Takes the role operator: on workers of the gateway's own user, or administrator for others.",
    "admin": "Takes the role administrator.",
}

_SELECT = [
    {
        "name": "name",
        "in": "query",
        "description": "A worker, or a pattern with * ? and []; as often as wished. None: all workers.",
        "schema": many({"type": "string", "maxLength": _LONGEST}),
    },
    {
        "name": "label",
        "in": "query",
        "description": "key=value: workers with this label, and with every other one that is named.",
        "schema": many({"type": "string", "pattern": "=", "maxLength": _LONGEST}),
    },
]
"""Stands for the argument `select` in a query."""

_LAST = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Goes on after the event with this id, whatever since, tail and offset say.",
    "schema": {"type": "string", "pattern": "^[0-9]{0,18}$"},
}

_FOLLOW = (
    "Server-sent events: `data` is JSON, `id` is to go on after. Event `end`: no more comes; `away`: the daemon does not"
    " answer, and it goes on when it does; `failed`: it does not go on."
)

_LIVE = (
    "An event `workers` with the rows of all workers, then an event `worker` with its row whenever one changes, `gone` with its"
    " name when one is removed, `away` with an error when the daemon does not answer; after that comes `workers` again."
)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole of it."""
    paths = {BASE + operation.op: _path(operation) for operation in operations}
    known = {operation.op: operation for operation in operations}
    paths |= {BASE + name: _path(known[op], name) for name, op in ALIASES.items() if op in known}
    paths[BASE + "live"] = {"get": _live()}
    paths[BASE + "openapi.json"] = {
        "get": _operation("openapi", "This document.", "view", _answer({"type": "object"}), frozenset({401, 403, 503}))
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rdagentd",
            "version": __version__,
            "description": "What `rdagentctl` can do, over HTTP: each path is an operation of the control socket.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(SHAPES),
            "responses": {str(status): _error(status, text) for status, text in {**_ERRORS, **_BODY_ERRORS}.items()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Whether one is needed, the configuration of the gateway says: by default to change"
                    " something, and for whoever is not on this host.",
                }
            },
        },
    }


def methods(operation: Operation, *, alias: bool = False) -> tuple[str, ...]:
    """By which it may be asked for. What changes something is never a GET: a page could have a browser ask for it unasked."""
    if operation.stream:
        return ("GET",)
    if alias:
        return ("GET", "HEAD")
    return ("GET", "HEAD", "POST") if operation.looks else ("POST",)


def _path(operation: Operation, alias: str | None = None) -> dict[str, Any]:
    name = alias or operation.op
    if operation.stream:
        return {"get": _stream(operation)}
    result = _answer(RESULTS.get(operation.op, ANY))
    made: dict[str, Any] = {}
    if operation.looks:
        made["get"] = _operation(f"{name}-get" if alias is None else name, operation.text, operation.access, result)
        made["get"]["parameters"] = _query(operation)
    if alias is None:
        made["post"] = _operation(name, operation.text, operation.access, result, frozenset({*_ERRORS, *_BODY_ERRORS}))
        made["post"]["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(operation)}}}
    return made


def _stream(operation: Operation) -> dict[str, Any]:
    told = _events(
        message=RESULTS.get(operation.op, ANY), end={"type": "object"}, away=ref("Error"), failed=ref("Error")
    )
    made = _operation(operation.op, f"{operation.text} {_FOLLOW}", operation.access, told)
    made["parameters"] = [*_query(operation), _LAST]
    return made


def _live() -> dict[str, Any]:
    told = _events(
        workers=many(ref("Worker")),
        worker=ref("Worker"),
        gone=record(name=TEXT),
        away=ref("Error"),
        failed=ref("Error"),
    )
    return _operation("live", _LIVE, "view", told, frozenset({401, 403, 429, 500, 503}))


def _operation(
    name: str, text: str, access: str, answer: Mapping[str, Any], errors: frozenset[int] = frozenset(_ERRORS)
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": text.partition(". ")[0].rstrip("."),
        "description": f"{text} {_TAKES.get(access, '')}".strip(),
        "security": [{}, {"token": []}],
        "x-rdagentd-access": access,
        "responses": {
            "200": answer,
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(errors)},
        },
    }


def _answer(schema: Schema) -> dict[str, Any]:
    return {"description": "The result.", "content": {"application/json": {"schema": schema}}}


def _events(**kinds: Schema) -> dict[str, Any]:
    # OpenAPI before 3.2 has no words for the parts of a stream; by custom the schema is that of one event.
    return {
        "description": "Events, until the client goes or there is no more.",
        "content": {"text/event-stream": {"schema": {"anyOf": [_event(kind, data) for kind, data in kinds.items()]}}},
    }


def _event(kind: str, data: Schema) -> Schema:
    text = {"type": "string"}
    told = {**text, "contentMediaType": "application/json", "contentSchema": data}
    return {**record(data=told), "properties": {"id": text, "event": {"const": kind}, "data": told}}


def _error(status: int, text: str) -> dict[str, Any]:
    made: dict[str, Any] = {"description": text, "content": {"application/json": {"schema": ref("Error")}}}
    if status == 400:  # by aiohttp, of what it cannot read as a request, such as a line that is too long
        made["content"]["text/plain"] = {"schema": {"type": "string"}}
    if status in _RETRY:
        made["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return made


def _query(operation: Operation) -> list[dict[str, Any]]:
    """The arguments as a query has them; what is no text, number or truth value has no place there."""
    named = [
        {"name": name, "in": "query", "required": arg["required"], **_told(arg), "schema": _scalar(arg["schema"])}
        for name, arg in operation.args.items()
        if name != "select" and arg["schema"].get("type") != "object"
    ]
    return (_SELECT if "select" in operation.args else []) + named


def _scalar(schema: Schema) -> Schema:
    """Without null: what is not there is not in the query. Texts are short."""
    parts = [_scalar(part) for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    if not parts:
        return {**schema, "maxLength": _LONGEST} if schema.get("type") == "string" else schema
    return parts[0] if len(parts) == 1 else {**schema, "anyOf": parts}


def _body(operation: Operation) -> Schema:
    fields = {name: {**arg["schema"], **_told(arg), **_default(arg)} for name, arg in operation.args.items()}
    needed = [name for name, arg in operation.args.items() if arg["required"]]
    return {**record(**fields), "required": needed, "additionalProperties": False}


def _told(arg: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": arg["kind"]}


def _default(arg: Mapping[str, Any]) -> dict[str, Any]:
    return {} if arg["required"] else {"default": arg["default"]}
