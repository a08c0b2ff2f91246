"""Workers that depend on each other, and groups, over a real daemon and real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import CallError, Client, LiveDaemon, eventually

from .test_roles import ALICE, BOB, OPERATORS, host, person  # noqa: F401 -- host: whose socket lets everybody in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

SLEEP = ("/bin/sleep", "1000")
SLOW = ("/bin/sh", "-c", "trap 'sleep 0.2; exit 0' TERM; echo ready; while :; do sleep 0.05; done")


SINCE: dict[Client, int] = {}
"""Number of the last event before a test."""


@pytest.fixture
def client(host: LiveDaemon) -> Iterator[Client]:  # noqa: F811
    """A connection of its own; nothing is left behind."""
    made = host.connect()
    told = list(made.stream("events", tail=1))
    SINCE[made] = told[-1]["seq"] if told else 0
    yield made
    names = [row["name"] for row in made.status()]
    if names:
        made.verb("remove", *names, force=True)
        eventually(lambda: not made.status(), "all to be gone")


def refused(client: Client, code: str, op: str, **args: object) -> str:
    with pytest.raises(CallError) as error:
        client.call(op, **args)
    assert error.value.code == code, error.value
    return error.value.message


def times(client: Client, kind: str, *names: str) -> list[str]:
    """Names in the order of their stories of this kind, since the test began."""
    told = client.stream("events", select={"names": list(names)}, kinds=[kind], since=SINCE.get(client, 0))
    return [item["worker"] for item in told]


def spec(name: str, *command: str, **fields: object) -> dict[str, object]:
    return {"name": name, "command": list(command or SLEEP), **fields}


def apply(client: Client, *specs: dict[str, object], **args: object) -> list[str]:
    documents = [{"where": f"{one['name']}.toml", "base": None, "document": one} for one in specs]
    changes = client.call("apply", documents=documents, **args)["changes"]
    return [f"{change['action']} {change['name']}" for change in changes]


# --- five services ----------------------------------------------------------------------------------------------------


FIVE = [
    spec("web", *SLOW, depends={"api": "started", "cache": "started"}, queue={"group": "stack"}),
    spec("api", *SLOW, depends={"db": "started", "seed": "completed_successfully"}, queue={"group": "stack"}),
    spec("seed", "/bin/sh", "-c", "sleep 0.1", depends={"db": "started"}, queue={"group": "stack"}),
    spec("cache", *SLOW, queue={"group": "stack"}),
    spec("db", *SLOW, queue={"group": "stack"}),
]
ON = [("web", "api"), ("web", "cache"), ("api", "db"), ("api", "seed"), ("seed", "db")]
"""Who depends on whom."""


def in_order(names: list[str], pairs: list[tuple[str, str]]) -> bool:
    return all(names.index(first) < names.index(later) for first, later in pairs if {first, later} <= {*names})


def test_five_services_start_in_order_and_stop_in_reverse(client: Client) -> None:
    assert apply(client, *FIVE) == ["create web", "create api", "create seed", "create cache", "create db"]
    client.wait("web", "api", "db", "cache", until="running")
    started = times(client, "started", "@stack")
    assert sorted(started) == ["api", "cache", "db", "seed", "web"]
    assert in_order(started, [(on, who) for who, on in ON])
    for name in ("web", "api", "db", "cache"):
        eventually(lambda name=name: b"ready" in client.log(name), f"{name} to heed signals")
    stopping = client.verb("stop", "@stack")
    assert [row["name"] for row in stopping if row["state"] != "stopping"] == ["seed"]
    client.wait("@stack")
    ended = [name for name in times(client, "exited", "@stack") if name != "seed"]
    assert sorted(ended) == ["api", "cache", "db", "web"]
    assert in_order(ended, ON)
    assert {row["name"]: row["exit"]["reason"] for row in client.status("@stack")} == dict.fromkeys(
        ("web", "api", "seed", "cache", "db"), "exited with code 0"
    )


def test_a_start_of_one_starts_all_that_it_depends_on(client: Client) -> None:
    apply(client, *FIVE)
    client.wait("web", until="running")
    client.verb("stop", "@stack")
    client.wait("@stack")
    answer = client.verb("start", "web")
    assert {row["name"] for row in answer} == {
        "web",
        "api",
        "cache",
        "db",
    }  # seed has completed, which is what is wanted
    client.wait("web", until="running")
    assert client.worker("db")["state"] == "running"


def test_a_stop_of_one_ends_first_who_runs_on_it(client: Client) -> None:
    apply(client, *FIVE)
    client.wait("web", until="running")
    assert [row["name"] for row in client.verb("stop", "db")] == ["web", "api", "db"]
    client.wait("db")
    assert {row["name"]: row["state"] for row in client.status()} == {
        "web": "stopped", "api": "stopped", "seed": "completed", "cache": "running", "db": "stopped",
    }  # fmt: skip
    why = client.call("why", select={"names": ["db"]})[0]["sentences"][0]
    assert why.startswith("db is stopped")


def test_a_restart_of_the_group_ends_and_begins_it_in_order(client: Client) -> None:
    apply(client, *[one for one in FIVE if one["name"] in ("db", "cache")])
    apply(client, spec("web", *SLOW, depends={"db": "started"}, queue={"group": "stack"}))
    client.wait("@stack", until="running")
    client.verb("restart", "@stack")
    eventually(lambda: len(times(client, "started", "@stack")) == 6, "all to be started again")
    assert in_order(times(client, "exited", "web", "db"), [("web", "db")])
    assert in_order(times(client, "started", "web", "db")[2:], [("db", "web")])


def test_a_drain_ends_them_in_reverse(tmp_path: Path) -> None:
    live = LiveDaemon(tmp_path)
    try:
        client = live.start()
        assert client is not None
        apply(client, *FIVE)
        client.wait("web", until="running")
        live.terminate()
        again = live.start()
        assert again is not None
        again.wait("web", until="running")
        ended = [name for name in times(again, "exited", "@stack") if name != "seed"]
        assert sorted(ended) == ["api", "cache", "db", "web"]
        assert in_order(ended, ON)
        assert in_order(times(again, "started", "web", "api", "db")[3:], [("db", "api"), ("api", "web")])
    finally:
        live.close()


def test_an_end_that_was_begun_goes_on_after_a_crash_of_the_daemon(tmp_path: Path) -> None:
    live = LiveDaemon(tmp_path)
    try:
        client = live.start()
        assert client is not None
        gate = tmp_path / "gate"
        waits = (
            f"trap 'while [ ! -e {gate} ]; do sleep 0.05; done; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        )
        apply(
            client, spec("db", *SLOW),
            spec("web", "/bin/sh", "-c", waits, depends={"db": "started"}, stop={"grace": "1h"}),
        )  # fmt: skip
        client.wait("web", until="running")
        for name in ("web", "db"):
            eventually(lambda name=name: b"ready" in client.log(name), f"{name} to be ready")
        client.verb("stop", "db")
        assert {row["state"] for row in client.status()} == {"stopping"}
        why = client.call("why", select={"names": ["db"]})[0]["sentences"][0]
        assert why.endswith("it is asked to end once these have, which depend on it: web.")
        live.kill()
        again = live.start()
        assert again is not None
        assert {row["state"] for row in again.status()} == {"stopping"}
        gate.touch()
        again.wait("db")
        assert in_order(times(again, "exited", "web", "db"), [("web", "db")])
        assert again.worker("db")["exit"]["reason"] == "exited with code 0"
    finally:
        live.close()


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_failed_dependency_is_told_and_its_repair_lets_the_start_go_on(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    client.submit("seed", "/bin/sh", "-c", f"test -e {gate}")
    client.wait("seed")
    client.submit("web", *SLEEP, depends={"seed": "completed_successfully"})
    text = "waits for seed, which failed: exited with code 1; its policy is never to restart"
    row = client.worker("web")
    assert (row["state"], row["reason"]) == ("queued", {"code": "dependency_failed", "text": text})
    assert client.call("why", select={"names": ["web"]})[0]["sentences"][0] == f"web is queued: it {text}."
    assert times(client, "blocked", "web") == ["web"]
    assert [row["name"] for row in client.verb("start", "web")] == ["web"]
    assert client.worker("seed")["state"] == "failed"
    gate.touch()
    client.verb("start", "seed")
    client.wait("web", until="running")


def test_a_submit_starts_what_it_depends_on(client: Client) -> None:
    client.call("submit", spec=spec("db"), start=False)
    client.submit("web", *SLEEP, depends={"db": "started"})
    client.wait("web", until="running")
    client.verb("stop", "db")
    client.wait("web")
    apply(client, spec("more", depends={"db": "started"}))
    client.wait("more", until="running")
    assert client.worker("web")["state"] == "stopped"


def test_who_may_not_start_what_it_depends_on_waits_for_it(client: Client, host: LiveDaemon) -> None:  # noqa: F811
    client.call("submit", spec=spec("db"), start=False)
    with person(host, ALICE, OPERATORS) as alice:
        alice.submit("web", *SLEEP, depends={"db": "started"})
        assert [row["name"] for row in alice.verb("start", "web")] == ["web"]
        assert alice.worker("web")["reason"]["text"] == "waits for db, which is stopped: was never started"
        client.verb("start", "db")
        alice.wait("web", until="running")
        with person(host, BOB, OPERATORS) as bob:
            answers = bob.verb("stop", "db", "web")
            assert {row["error"]["code"] for row in answers} == {"forbidden"}
    assert [row["name"] for row in client.verb("stop", "db")] == ["web", "db"]


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_circle_is_refused_with_its_way_and_nothing_is_made(client: Client) -> None:
    documents = [
        {"where": "x", "base": None, "document": spec(name, depends={on: "started"})} for name, on in ("ab", "bc", "ca")
    ]
    text = refused(client, "invalid", "apply", documents=documents)
    assert text.startswith("cannot apply: ") and "would wait for itself: " in text
    assert client.status() == []


def test_unknown_names_are_refused(client: Client) -> None:
    text = refused(client, "invalid", "submit", spec=spec("web", depends={"bd": "healthy"}))
    assert "web depends on bd, which does not exist" in text
    assert "unknown" not in text
    text = refused(client, "invalid", "submit", spec=spec("web", depends={"web": "started"}))
    assert "it cannot depend on itself" in text
    text = refused(client, "invalid", "submit", spec=spec("web", depends={"db": "heathy"}))
    assert "did you mean healthy?" in text


def test_what_others_depend_on_is_not_removed_and_all_together_are(client: Client) -> None:
    apply(client, *FIVE)
    client.wait("web", until="running")
    error = client.verb("remove", "cache", force=True)[0]["error"]
    assert error["message"].startswith("cannot remove cache: there depend on it web; ")
    client.verb("remove", "@stack", force=True)
    eventually(lambda: client.status() == [], "all to be gone")


def test_a_prune_removes_those_that_depend_on_each_other(client: Client) -> None:
    apply(client, *FIVE)
    client.wait("web", until="running")
    assert apply(client, spec("other"), prune=True)[0] == "create other"
    eventually(lambda: [row["name"] for row in client.status()] == ["other"], "the others to be gone")
    documents = [{"where": "x", "base": None, "document": spec("new", depends={"other": "started"})}]
    text = refused(client, "invalid", "apply", documents=documents, prune=True)
    assert "new depends on other, which does not exist" in text


# --- groups -----------------------------------------------------------------------------------------------------------


def test_a_group_stands_for_its_workers_wherever_names_are_taken(client: Client) -> None:
    for name, group in (("a", "gpu"), ("b", "gpu"), ("c", "cpu")):
        client.submit(name, *SLEEP, queue={"group": group}, labels={"who": name})
    client.wait("@*", until="running")
    assert [row["name"] for row in client.status("@gpu")] == ["a", "b"]
    assert [row["name"] for row in client.status("@gpu", "c")] == ["a", "b", "c"]
    assert [row["name"] for row in client.status("@?pu")] == ["a", "b", "c"]
    chosen = client.call("status", select={"names": ["@gpu"], "labels": {"who": "b"}})
    assert [row["name"] for row in chosen] == ["b"]
    assert refused(client, "not_found", "status", select={"names": ["@tpu"]}) == (
        "cannot find worker: none is in the group tpu"
    )
    client.verb("pause", "@gpu")
    assert [row["state"] for row in client.status()] == ["paused", "paused", "running"]
    assert set(times(client, "paused", "@gpu")) == {"a", "b"}


def test_events_of_a_group_are_followed_for_workers_that_come(client: Client, host: LiveDaemon) -> None:  # noqa: F811
    client.submit("a", "/bin/true", queue={"group": "gpu"})
    client.wait("a")
    follower = host.connect()
    since = SINCE[client]
    request = follower.send("events", select={"names": ["@gpu"]}, kinds=["completed"], follow=True, since=since)
    assert follower.receive()["item"]["worker"] == "a"
    client.submit("b", "/bin/true", queue={"group": "cpu"})
    client.submit("c", "/bin/true", queue={"group": "gpu"})
    message = follower.receive()
    assert (message["id"], message["item"]["worker"]) == (request, "c")
