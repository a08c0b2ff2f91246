"""The JSON API through the real program before a real daemon: it answers as the control socket does."""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from jsonschema import Draft202012Validator

from rdagentd.api.table import OPERATIONS
from rdagentd.gateway.shapes import RESULTS, SHAPES
from rdagentd.protocol.frames import MAX_REQUEST
from tests.gateway.client import Answer, LiveGateway
from tests.harness import CallError, Client, LiveDaemon, eventually

SLEEP = ["/bin/sleep", "1000"]
FREE = re.compile(r"^[\d.]+ [KMGT]?i?B(?= of .* free)")

LOOKS: dict[str, dict[str, Any]] = {
    "ping": {},
    "version": {},
    "describe": {},
    "whoami": {},
    "doctor": {},
    "metrics": {},
    "providers": {},
    "status": {"select": {"names": ["seen-*"], "labels": {"team": "t"}}},
    "show": {"select": {"names": ["seen-*"]}},
    "usage": {"select": {"names": ["seen-*"]}},
    "why": {"select": {"names": ["seen-*"]}},
    "wait": {"select": {"names": ["seen-over"]}, "until": "rest"},
    "profiles": {},
    "profile": {"name": "rd-agent"},
}

VERBS: dict[str, dict[str, Any]] = {
    "start": {},
    "stop": {},
    "restart": {},
    "pause": {},
    "resume": {},
    "kill": {},
    "signal": {"signal": "SIGCONT", "scope": "tree"},
    "remove": {"force": True},
}

OTHERS = {
    "submit", "launch", "apply", "reload", "drain", "preflight", "report", "budget", "checkpoints", "restore_workspace",
}  # fmt: skip
"""Each has a test of its own."""


@pytest.fixture(scope="module")
def client(host: LiveDaemon) -> Iterator[Client]:
    with closing(host.connect()) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def seen(client: Client) -> None:
    """Workers to look at: one that runs, one that has ended."""
    client.submit("seen-runs", *SLEEP, labels={"team": "t"})
    client.submit("seen-over", "/bin/sh", "-c", "echo héllo; exit 3", labels={"team": "t"})
    client.wait("seen-runs", until="running")
    client.wait("seen-over")


def post(gateway: LiveGateway, op: str, body: Any = None, **headers: str) -> Answer:
    return gateway.ask(f"/api/v1/{op}", "POST", {} if body is None else body, headers)


def get(gateway: LiveGateway, path: str, *query: tuple[str, str], **headers: str) -> Answer:
    return gateway.ask(f"/api/v1/{path}" + (f"?{urlencode(query)}" if query else ""), headers=headers)


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def refused(answer: Answer, status: int, code: str) -> str:
    """The sentence with which it is refused."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json["error"]
    assert set(error) == {"code", "message", "details"} and error["code"] == code
    assert error["message"].startswith("cannot ")
    return str(error["message"])


def as_query(args: dict[str, Any]) -> list[tuple[str, str]]:
    select = args.get("select", {})
    query = [("name", name) for name in select.get("names", [])]
    query += [("label", f"{key}={value}") for key, value in select.get("labels", {}).items()]
    return query + [(name, str(value)) for name, value in args.items() if name != "select"]


def shape_of(value: Any) -> Any:
    """Which fields there are and of what types: of what is never the same twice. Numbers are numbers."""
    if isinstance(value, dict):
        return {key: shape_of(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape_of(part) for part in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


def fits(op: str, result: Any) -> None:
    """The result is as the OpenAPI document says."""
    Draft202012Validator({"components": {"schemas": SHAPES}, **RESULTS[op]}).validate(result)


# --- each operation ---------------------------------------------------------------------------------------------------


def test_every_operation_has_a_test_here_and_a_shape() -> None:
    streams = {op for op, operation in OPERATIONS.items() if operation.stream}
    assert LOOKS.keys() | VERBS.keys() | OTHERS | streams == OPERATIONS.keys() == RESULTS.keys()


@pytest.mark.parametrize("op", LOOKS)
def test_what_looks_answers_as_the_control_socket_does(op: str, gateway: LiveGateway, client: Client) -> None:
    args = LOOKS[op]
    there = client.call(op, **args)
    for answer in (post(gateway, op, args), get(gateway, op, *as_query(args))):
        found = good(answer)
        fits(op, found)
        if op == "metrics":  # grows with each request
            assert {family["name"] for family in there["families"]} <= {family["name"] for family in found["families"]}
        elif op in ("ping", "show", "usage", "why"):  # tell of time that passes
            assert shape_of(found) == shape_of(there)
        elif op == "doctor":  # others fill the disk meanwhile
            assert [{**one, "text": FREE.sub("", one["text"])} for one in found] == [
                {**one, "text": FREE.sub("", one["text"])} for one in there
            ]
        else:
            assert found == there


def test_preflight_tells_what_is_missing(gateway: LiveGateway) -> None:
    spec = {"command": SLEEP, "preflight": {"environment": ["NOWHERE"]}}
    found = good(post(gateway, "preflight", {"spec": spec}))
    fits("preflight", found)
    assert [one["problems"] for one in found] == [
        ["NOWHERE is missing in its environment; set it by environment or environment_file"]
    ]


def test_what_is_told_of_a_worker_counts(gateway: LiveGateway, client: Client) -> None:
    client.submit("told", *SLEEP)
    client.wait("told", until="running")
    found = good(post(gateway, "report", {"name": "told", "values": {"iteration": 3}, "added": {"cost_usd": 0.25}}))
    fits("report", found)
    assert (found["measures"]["iteration"], found["measures"]["cost_usd"]) == (3, 0.25)
    assert client.worker("told")["iteration"] == 3
    client.verb("kill", "told")


def test_a_budget_is_raised(gateway: LiveGateway, client: Client) -> None:
    spec = {"name": "paid", "command": SLEEP, "budgets": {"run_time": "1h"}}
    client.call("submit", spec=spec, start=False)
    found = good(post(gateway, "budget", {"select": {"names": ["paid"]}, "raise": {"run_time": "2h"}}))
    fits("budget", found)
    assert [told["error"] for told in found["workers"]] == [None]
    assert client.worker("paid")["budgets"][0]["budget"] == 7200


def test_checkpoints_are_listed_and_a_workspace_without_snapshots_is_not_restored(
    gateway: LiveGateway, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "1.json").write_text("{}")
    spec = {"name": "kept", "command": SLEEP, "directory": str(tmp_path), "checkpoints": {"files": "*.json"}}
    client.call("submit", spec=spec, start=False)
    found = good(post(gateway, "checkpoints", {"name": "kept"}))
    fits("checkpoints", found)
    assert [one["path"] for one in found["checkpoints"]] == ["1.json"]
    refused = post(gateway, "restore_workspace", {"name": "kept"})
    assert refused.status == 409 and "cannot restore the workspace of kept" in refused.text


@pytest.mark.parametrize("op", VERBS)
def test_a_verb_does_as_by_the_control_socket(op: str, gateway: LiveGateway, client: Client) -> None:
    names = [f"http-{op}", f"sock-{op}"]
    for name in names:
        client.submit(name, *SLEEP)
    client.wait(*names, until="running")
    if op == "resume":
        client.verb("pause", *names)
    by_socket = client.call(op, select={"names": [names[1]]}, **VERBS[op])
    found = good(post(gateway, op, {"select": {"names": [names[0]]}, **VERBS[op]}))
    fits(op, found)
    assert found == json.loads(json.dumps(by_socket).replace("sock-", "http-"))
    assert refused(get(gateway, op), 405, "invalid")
    assert get(gateway, op).headers["allow"] == "POST"
    if op != "remove":
        client.verb("remove", *names, force=True)


def test_submit(gateway: LiveGateway, client: Client) -> None:
    spec = {"name": "http-new", "command": SLEEP, "labels": {"a": "é"}}
    there = client.call("submit", spec={**spec, "name": "sock-new"}, start=False)
    found = good(post(gateway, "submit", {"spec": spec, "start": False}))
    fits("submit", found)
    assert found == {**there, "name": "http-new"}
    rows = [{**row, "name": ""} for row in client.status("http-new", "sock-new")]
    assert rows[0] == rows[1]
    problem = post(gateway, "submit", {"spec": {"name": "x", "comand": SLEEP}})
    assert "did you mean" in refused(problem, 400, "invalid") and problem.json["error"]["details"]["problems"]
    assert "exists" in refused(
        post(gateway, "submit", {"spec": {"name": "http-new", "command": SLEEP}}), 409, "conflict"
    )


def test_launch(gateway: LiveGateway) -> None:
    """Here it is refused; what it answers where it is not: rdagent/test_live.py."""
    asked = {"scenario": "Data Science", "trace": "x", "port": 1, "competition": "y"}
    refused(post(gateway, "launch", asked), 403, "forbidden")


def test_apply(gateway: LiveGateway, client: Client) -> None:
    documents = [{"where": "x.toml", "base": None, "document": {"worker": {"applied": {"command": SLEEP}}}}]
    body = {"documents": documents, "dry_run": True}
    there = client.call("apply", **body)
    found = good(post(gateway, "apply", body))
    fits("apply", found)
    assert found == there and found["changes"][0]["action"] == "create"
    assert good(post(gateway, "apply", {"documents": documents})) == there
    assert client.worker("applied")["want"] == "up"


def test_reload(gateway: LiveGateway, client: Client) -> None:
    found = good(post(gateway, "reload"))
    fits("reload", found)
    assert found == client.call("reload")


def test_drain(daemon: LiveDaemon, tmp_path: Path) -> None:
    client = daemon.start()
    assert client is not None
    client.submit("w", *SLEEP)
    client.wait("w", until="running")
    gateway = LiveGateway(tmp_path / "gateway", daemon.socket)
    gateway.config.parent.mkdir()
    try:
        gateway.start('anonymous = "operate"\n')
        found = good(post(gateway, "drain"))
        fits("drain", found)
        assert found == {} and daemon.wait() == 0
        answer = get(gateway, "workers")
        assert "cannot reach rdagentd" in refused(answer, 503, "unavailable") and answer.headers["retry-after"]
    finally:
        gateway.close()


def test_workers_is_another_name_of_status(gateway: LiveGateway, client: Client) -> None:
    query = ("name", "seen-over"), ("label", "team=t")
    assert good(get(gateway, "workers", *query)) == client.status("seen-over")
    answer = post(gateway, "workers")
    assert refused(answer, 405, "invalid") and answer.headers["allow"] == "GET,HEAD"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("status", {"select": {"names": ["nobody"]}}),
        ("status", {"select": {"name": "x"}}),
        ("status", {"selekt": {}}),
        ("wait", {"until": "never"}),
        ("submit", {}),
        ("submit", {"spec": {"name": "../x", "command": SLEEP}}),
        ("signal", {"signal": "SIGNOT"}),
        ("apply", {"documents": [{"where": 1}]}),
        ("start", {"select": 5}),
    ],
)
def test_the_daemon_judges_and_its_words_are_told(op: str, args: Any, gateway: LiveGateway, client: Client) -> None:
    with pytest.raises(CallError) as there:
        client.call(op, **args)
    status = {"invalid": 400, "not_found": 404}[there.value.code]
    answer = post(gateway, op, args)
    assert refused(answer, status, there.value.code) == there.value.message
    assert answer.json["error"]["details"] == there.value.details


@pytest.mark.parametrize("op", ["nothing", "cancel", "..%2fstatus", quote("é")])
def test_an_operation_that_is_not_there_is_not_found(op: str, gateway: LiveGateway) -> None:
    refused(post(gateway, op), 404, "not_found")


def test_other_methods_are_refused_with_those_that_are_not(gateway: LiveGateway) -> None:
    allowed = {
        "status": "GET,HEAD,POST", "stop": "POST", "workers": "GET,HEAD", "events": "GET", "logs": "GET", "live": "GET",
        "openapi.json": "GET,HEAD",
    }  # fmt: skip
    for path, methods in allowed.items():
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - set(methods.split(",")):
            answer = gateway.ask(f"/api/v1/{path}", method)
            assert refused(answer, 405, "invalid") and answer.headers["allow"] == methods
        assert gateway.ask(f"/api/v1/{path}", "HEAD").status == (200 if "HEAD" in methods else 405)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_what_does_not_say_that_it_is_json_is_refused(kind: str, gateway: LiveGateway, client: Client) -> None:
    """A page of another server can send a form, or nothing at all, without being asked for permission first."""
    before = client.worker("seen-runs")
    headers = {"Content-Type": kind} if kind else {}
    assert "application/json" in refused(gateway.ask("/api/v1/stop", "POST", b"", headers), 415, "invalid")
    assert client.worker("seen-runs") == before


def test_a_body_that_is_too_large_too_deep_or_no_json_is_refused_and_nobody_else_notices(
    gateway: LiveGateway, client: Client
) -> None:
    kind = {"Content-Type": "application/json"}
    waits = socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1].strip("/"))), timeout=20)
    request = json.dumps({"select": {"names": ["seen-runs"]}})
    waits.sendall(
        f"POST /api/v1/wait HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(request)}\r\n\r\n{request}".encode()
    )
    large = b'{"spec": {"name": "' + b"x" * MAX_REQUEST + b'"}}'
    refused(gateway.ask("/api/v1/submit", "POST", large, kind), 413, "invalid")
    almost = {"spec": {"name": "x" * (MAX_REQUEST - 1000)}}
    assert "name" in refused(post(gateway, "submit", almost), 400, "invalid")
    for body in (
        b"[" * 200_000,
        b'{"spec": ' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b"{",
        b"\xff",
        b'{"spec": "\\ud800"}',
    ):
        refused(gateway.ask("/api/v1/submit", "POST", body, kind), 400, "invalid")
    many = json.dumps({"spec": {"command": ["x"] * 20_000}}).encode()
    refused(gateway.ask("/api/v1/submit", "POST", many, kind), 400, "invalid")
    assert good(get(gateway, "ping"))["pid"] == client.call("ping")["pid"]
    waits.setblocking(False)
    with pytest.raises(BlockingIOError):  # its wait has not been disturbed
        waits.recv(1)
    waits.close()


def test_who_has_no_token_may_look_and_no_more(host: LiveDaemon, tmp_path: Path) -> None:
    gateway = LiveGateway(tmp_path, host.socket)
    try:
        gateway.start('anonymous = "view"\n')
        good(post(gateway, "status"))
        good(get(gateway, "status"))
        for op in ("start", "submit", "reload"):
            refused(post(gateway, op), 401, "forbidden")
        token = (gateway.state / "token").read_text().strip()
        good(post(gateway, "start", {"select": {"names": ["seen-runs"]}}, Authorization=f"Bearer {token}"))
    finally:
        gateway.close()


# --- lasting ----------------------------------------------------------------------------------------------------------


def connections(client: Client) -> float:
    """How many clients the daemon has."""
    families = {family["name"]: family for family in client.call("metrics")["families"]}
    return float(families["rdagentd_connections"]["samples"][0][1])


def alone(gateway: LiveGateway, client: Client) -> float:
    """How many clients the daemon has once it has noticed that whoever else was there is gone.

    They are the host's own, ours, and two of the gateway: its link, and the one by which it follows for RD-Agent's API.
    """
    good(get(gateway, "ping"))
    eventually(lambda: connections(client) == 4, "all others to be gone")
    return 4.0


@pytest.mark.parametrize(
    "path", ["wait?name=seen-runs", "events?follow=true&tail=0", "logs?name=seen-runs&follow=true", "live"]
)
def test_a_client_that_hangs_up_leaves_nothing_behind(path: str, gateway: LiveGateway, client: Client) -> None:
    before = alone(gateway, client)
    with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1].strip("/"))), timeout=20) as hangs:
        hangs.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        eventually(lambda: connections(client) == before + 1, "the daemon to be asked")
    eventually(lambda: connections(client) == before, "the daemon to be left alone")


def test_only_so_many_may_last(host: LiveDaemon, tmp_path: Path, client: Client) -> None:
    gateway = LiveGateway(tmp_path, host.socket)
    try:
        gateway.start("connections = 16\n")
        port = int(gateway.url.rsplit(":", 1)[1].strip("/"))
        waits = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(12)]
        for one in waits:
            one.sendall(b"GET /api/v1/wait?name=seen-runs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        refusals = lambda: select.select(waits, [], [], 20)[0]  # noqa: E731
        eventually(lambda: len(refusals()) == 4, "all but 8 to be refused")
        for one in refusals():
            assert one.recv(100).startswith(b"HTTP/1.1 429 ")
            waits.remove(one)
            one.close()
        answer = get(gateway, "events", ("tail", "0"))
        assert "8 requests last" in refused(answer, 429, "over_capacity") and answer.headers["retry-after"]
        good(get(gateway, "status"))
        waits.pop().close()
        eventually(lambda: get(gateway, "events", ("tail", "0")).status == 200, "room for one more")
        for one in waits:
            one.close()
    finally:
        gateway.close()
