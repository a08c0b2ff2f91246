"""The operation `budget`, through a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import CallError, Client, eventually


def raised(client: Client, **wanted: Any) -> dict[str, Any]:
    """What came of it for worker w."""
    chosen: dict[str, Any] = client.call("budget", select={"names": ["w"]}, **{"raise": wanted})["workers"][0]
    return chosen


@pytest.fixture
def over(client: Client) -> Iterator[Client]:
    """A worker that has used up its run time."""
    spec = {"name": "w", "command": ["sleep", "1000"], "environment": {"KEY": "secret"}}
    client.call("submit", spec={**spec, "budgets": {"run_time": "0.2s", "run": {"tokens": 5}, "within": "1h"}})
    assert client.wait("w")[0]["exit"]["kind"] == "over_budget"
    yield client
    client.verb("remove", "w", force=True)
    eventually(lambda: "w" not in [row["name"] for row in client.status()], "it to be gone")


def test_a_worker_whose_budget_is_raised_starts_again_with_the_rest_of_its_spec_as_it_was(over: Client) -> None:
    assert raised(over, run_time="1h")["error"] is None
    assert over.wait("w", until="running")[0]["state"] == "running"
    shown = over.call("show", select={"names": ["w"]})[0]
    assert (shown["spec"]["budgets"]["run_time"], shown["spec"]["environment"]) == (3600.0, {"KEY": "secret"})
    assert {(one["of"], one["measure"], one["budget"]) for one in shown["row"]["budgets"]} == {
        ("worker", "run_time", 3600.0),
        ("run", "tokens", 5),
    }


def test_a_running_worker_goes_on_with_more(over: Client) -> None:
    raised(over, run_time="1h")
    run = over.wait("w", until="running")[0]["run"]["id"]
    assert raised(over, run_time="unlimited", **{"run.tokens": "50000"})["error"] is None
    row = over.worker("w")
    assert (row["run"]["id"], row["state"], row["revision"]) == (run, "running", 3)
    assert [one["budget"] for one in row["budgets"]] == [50000]


def test_raised_by_too_little_it_stays_where_it_is(over: Client) -> None:
    assert raised(over, run_time="0.201s")["state"] == "failed"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"run_time": "0.1s"}, r"cannot raise budgets\.run_time of w to 0\.1s: it is 0\.2; to bound or to lower it"),
        ({"cost_usd": 1}, r"cannot raise budgets\.cost_usd of w to 1: it has none"),
        ({"run": 5}, r"cannot raise budgets\.run of w: there is no such budget"),
        ({"run.disk": 5}, r"cannot raise budgets\.run\.disk of w: there is no such budget"),
        ({"money": 5}, r"cannot raise budgets\.money of w: there is no such budget"),
        ({"run_time": "soon"}, r"budgets\.run_time"),
    ],
)
def test_what_raises_nothing_is_refused(over: Client, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(CallError, match=said):
        raised(over, **wanted)
    assert over.worker("w")["revision"] == 1


def test_what_it_used_is_told_by_why_and_metrics(over: Client) -> None:
    told = " ".join(over.call("why", select={"names": ["w"]})[0]["sentences"])
    assert "Of its budgets it has used" in told
    assert "of 0.2 s of run time (worker)" in told
    assert "rdagentctl budget w --raise" in told
    raised(over, run_time="1h")
    over.wait("w", until="running")

    def parts() -> Any:
        families = {family["name"]: family["samples"] for family in over.call("metrics")["families"]}
        samples = families["rdagentd_worker_budget_used_ratio"]
        return {labels[-1]: value for labels, value in samples}

    found = eventually(parts, "the metrics")
    assert set(found) == {"run.tokens", "worker.run_time"}
    assert 0 < found["worker.run_time"] < 1
