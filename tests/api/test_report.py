"""Reporting from outside: by whom, of which run, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import CallError, Client, eventually

RECEIVES = [{"source": "receive", "measure": name} for name in ("iteration", "accuracy")]


@pytest.fixture
def running(client: Client) -> Iterator[dict[str, Any]]:
    client.submit("w", "/bin/sleep", "1000", reporters=RECEIVES)
    yield client.wait("w", until="running")[0]
    client.verb("kill", "w")
    client.wait("w")
    client.verb("remove", "w")


def test_what_is_reported_is_in_the_row_at_once_and_kept_with_the_run(client: Client, running: dict[str, Any]) -> None:
    client.call("report", name="w", values={"progress": 0.25, "step": "testing", "rows": 3}, added={"cost_usd": 0.5})
    client.call("report", name="w", added={"cost_usd": 0.25, "tokens": 7})
    row = client.worker("w")
    assert (row["progress"], row["step"], row["cost_usd"], row["tokens"]) == (0.25, "testing", 0.75, 7)
    assert row["measures"] == {"rows": 3.0}
    told = {family["name"]: family["samples"] for family in client.call("metrics")["families"]}
    assert told["rdagentd_worker_cost_usd_total"] == [[["w", "default"], 0.75]]
    assert told["rdagentd_worker_measure"] == [[["w", "default", "rows"], 3.0]]
    assert told["ralph_iterations_total"] == []
    (shown,) = client.call("show", select={"names": ["w"]})
    assert shown["runs"][0]["measures"]["cost_usd"] == 0.75
    asked = list(client.stream("events", kinds=["asked"]))
    assert any(event["data"].get("progress") == 0.25 for event in asked)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ({"values": {"progress": 2}}, "invalid", "cannot take progress 2: it must be between 0 and 1"),
        ({"values": {"Cost": 1}}, "invalid", "'Cost' is not the name of a measure"),
        ({"values": {"tokens": "many"}}, "invalid", "cannot take tokens 'many': it is no number"),
        ({"values": {"tokens": [1]}}, "invalid", "its value must be a number or text"),
        ({"added": {"tokens": "1"}}, "invalid", "only a number can be added"),
        ({"added": {"step": 1}}, "invalid", "cannot add to step"),
        ({"values": {"tokens": 1}, "run": "of-yore"}, "conflict", "its run of-yore is over"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(
    client: Client, running: dict[str, Any], args: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(CallError) as refused:
        client.call("report", name="w", **args)
    assert refused.value.code == code and text in refused.value.message
    assert client.worker("w")["tokens"] is None


def test_only_a_run_can_tell_of_itself(client: Client) -> None:
    client.submit("rests", "/bin/true")
    client.wait("rests")
    with pytest.raises(CallError, match="it is completed; only what runs can tell of itself"):
        client.call("report", name="rests", values={"tokens": 1})


def test_of_what_was_received_only_what_is_wanted_counts_and_once(client: Client, running: dict[str, Any]) -> None:
    sent = {"name": "w", "source": "receive", "values": {"accuracy": 0.5, "loss": 2}, "added": {"iteration": 1}}
    for number in (0, 0, 4, 4, 3):
        client.call("report", **sent, number=number)
    row = eventually(lambda: (r := client.worker("w"))["iteration"] and r, "a report")
    assert (row["iteration"], row["measures"]) == (2, {"accuracy": 0.5})
