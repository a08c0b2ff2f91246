"""The OpenAPI document: valid, complete, and true to the daemon's table."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from rdagentd.api.table import OPERATIONS, describe
from rdagentd.gateway.openapi import ALIASES, BASE, document
from rdagentd.gateway.operations import Operation
from rdagentd.gateway.shapes import SHAPES
from tests.gateway.client import LiveGateway


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    context: Any = None  # the table is the same whoever asks
    return document([Operation(**row) for row in describe(context, {})])


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, told) for path, item in document["paths"].items() for method, told in item.items()]


def test_it_is_valid(made: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(made).validate()


def test_the_gateway_serves_it(gateway: LiveGateway, made: dict[str, Any]) -> None:
    answer = gateway.ask("/api/v1/openapi.json")
    assert answer.headers["content-type"] == "application/json" and answer.json == made


def test_every_operation_of_the_daemon_is_in_it_and_nothing_else(made: dict[str, Any]) -> None:
    extra = {*ALIASES, "live", "openapi.json"}
    assert {path.removeprefix(BASE) for path in made["paths"]} == OPERATIONS.keys() | extra
    for op, operation in OPERATIONS.items():
        methods = {"get"} if operation.stream else {"get", "post"} if operation.access.name == "VIEW" else {"post"}
        assert made["paths"][BASE + op].keys() == methods


def test_every_operation_says_what_it_does_what_it_takes_and_how_it_fails(made: dict[str, Any]) -> None:
    names = [told["operationId"] for _, _, told in operations(made)]
    assert len(names) == len(set(names))
    for path, method, told in operations(made):
        assert told["summary"] and told["description"], path
        assert told["x-rdagentd-access"] in ("view", "operate", "admin")
        assert {"200", "401", "403", "503"} <= told["responses"].keys()
        assert ("requestBody" in told) == (method == "post")


def test_schemas_are_such_and_lead_somewhere(made: dict[str, Any]) -> None:
    def schemas(value: Any) -> Any:
        if isinstance(value, dict):
            for key, part in value.items():
                if key == "schema" and isinstance(part, dict):
                    yield part
                yield from schemas(part)
        elif isinstance(value, list):
            for part in value:
                yield from schemas(part)

    found = [*schemas(made["paths"]), *SHAPES.values()]
    assert len(found) > 50
    for schema in found:
        Draft202012Validator.check_schema(schema)
    assert '"#/components/schemas/' in str(found).replace("'", '"')
    for name in {text.split("'")[0] for text in str(made).split("#/components/schemas/")[1:]}:
        assert name in SHAPES


def test_a_query_has_no_null_and_a_body_has(made: dict[str, Any]) -> None:
    tail = next(p for p in made["paths"][BASE + "logs"]["get"]["parameters"] if p["name"] == "tail")
    assert tail["schema"]["type"] == "integer" and tail["schema"]["minimum"] == 0 and not tail["required"]
    run = next(p for p in made["paths"][BASE + "logs"]["get"]["parameters"] if p["name"] == "run")
    assert "null" not in str(run["schema"])
    body = made["paths"][BASE + "wait"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["until"] == {
        "enum": ["rest", "running", "healthy", "ready"], "default": "rest",
        "description": "one of rest, running, healthy, ready",
    }  # fmt: skip
    assert body["additionalProperties"] is False
    body = made["paths"][BASE + "submit"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["spec"]


def test_an_operation_that_the_gateway_has_never_heard_of_is_told_as_well() -> None:
    arg = {"kind": "a text", "schema": {"type": "string"}, "required": True}
    told = document([Operation("conjure", "Out of thin air.", "view", False, False, {"what": arg})])
    OpenAPIV31SpecValidator(told).validate()
    item = told["paths"][BASE + "conjure"]
    assert item["get"]["parameters"][0]["name"] == "what"
    assert item["post"]["responses"]["200"]["content"]["application/json"]["schema"] == {}
