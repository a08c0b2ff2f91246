"""Limits of a run as a whole and what it uses, from submit to `why`; the limits themselves are tried on booted machines."""

from __future__ import annotations

import sys

import pytest

from tests.cgroups import WAYS, prefix
from tests.harness import Client, LiveDaemon, eventually


@pytest.fixture(params=WAYS)
def limited(request: pytest.FixtureRequest, daemon: LiveDaemon) -> Client:
    """A client of a daemon whose executor goes this way."""
    daemon.prefix = prefix(request.param)
    started = daemon.start()
    assert started is not None
    return started


def sentences(client: Client, name: str) -> str:
    """What `why` says."""
    return " ".join(client.call("why", select={"names": [name]})[0]["sentences"])


@pytest.mark.parametrize("limited", ["search"], indirect=True)
def test_a_limit_that_cannot_hold_is_told_or_refuses_the_run(limited: Client) -> None:
    soft = limited.submit("soft", "sleep", "1000", limits={"tasks": 5})
    hard = limited.submit("hard", "true", limits={"memory": "64M"})
    assert [text.partition(":")[0] for text in soft["warnings"]] == ["limits.tasks cannot be enforced"]
    assert hard["warnings"][0].endswith("so no run is started; set limits.require = false to go without it")
    limited.wait("soft", until="running")
    assert "Limits.tasks cannot be enforced: " in sentences(limited, "soft")
    states = {
        one["text"].partition(" ")[0].removeprefix("limits."): one["state"]
        for one in limited.call("doctor")
        if one["subject"] == "limits of processes"
    }
    assert {limit for limit, state in states.items() if state == "missing"} == {"memory", "tasks"}, (
        "what workers ask for"
    )
    assert states["cpu"] == "absent"
    row = limited.wait("hard")[0]
    assert (row["exit"]["kind"], row["exit"]["stage"]) == ("could_not_start", "limits")
    assert sentences(limited, "hard").count("limits.memory cannot be enforced") == 1
    change = {"name": "hard", "command": ["true"], "limits": {"memory": "64M", "require": False}}
    (told,) = limited.call("apply", documents=[{"where": "a test", "base": None, "document": change}])["changes"]
    assert told["warnings"][0].endswith("; runs go without")
    assert limited.wait("hard")[0]["exit"]["kind"] == "code"


def test_usage_is_shown_live_and_kept(limited: Client) -> None:
    script = "x = bytearray(40 << 20); import os, time; print('output', flush=True)\n"
    script += "while os.times().user < 0.5: pass\ntime.sleep(1000)"
    limited.submit("user", sys.executable, "-c", script)
    limited.submit("other", "true")
    limited.wait("other")
    select = {"names": ["user", "other"]}

    def used() -> bool:
        told = limited.call("usage", select=select)  # nothing, if the executor takes its time
        assert [one["name"] for one in told] in ([], ["user"])
        usage = told[0]["usage"] if told else {"user": 0.0}
        return bool(usage["user"] >= 0.2 and usage["memory"] > 40 << 20 and usage["log"] == 7)

    eventually(used, "the worker to have used what it uses")
    show = lambda name: limited.call("show", select={"names": [name]})[0]["usage"]  # noqa: E731
    assert eventually(lambda: show("user"), "what it uses")["tasks"] == 1 and show("other") is None
    limited.verb("kill", "user")
    limited.wait("user")
    (run,) = limited.call("show", select={"names": ["user"]})[0]["runs"]
    assert run["exit"]["signal"] == "SIGKILL", run
    assert run["usage"]["user"] >= 0.2 and run["usage"]["max_rss"] > 40 << 20
    assert run["log_end"]["out"] - run["log_start"]["out"] == 7
