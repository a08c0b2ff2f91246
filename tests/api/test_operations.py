"""Every operation over a real daemon and executor: what it does, and how it refuses."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdagentd.api.table import OPERATIONS
from rdagentd.protocol.segments import log_name
from tests.cgroups import is_frozen
from tests.harness import CallError, Client, LiveDaemon, alive, eventually

SLEEP = ("/bin/sleep", "1000")
TRAPS = ("/bin/sh", "-c", "trap '' TERM INT; echo ready; while :; do sleep 1000; done")


def refused(client: Client, code: str, op: str, **args: object) -> str:
    """The sentence with which it is refused."""
    with pytest.raises(CallError) as error:
        if OPERATIONS[op].stream:
            list(client.stream(op, **args))
        else:
            client.call(op, **args)
    assert error.value.code == code, error.value
    assert error.value.message.startswith("cannot ")
    return error.value.message


def running(client: Client, name: str, *command: str, **spec: object) -> int:
    """Submits a worker; its pid once it runs."""
    client.submit(name, *(command or SLEEP), **spec)
    return client.wait(name, until="running")[0]["run"]["pid"]


def said(client: Client, name: str, text: bytes) -> None:
    """Waits until a worker's log holds a text, by following it."""
    log = b""
    request = client.send("logs", name=name, follow=True)
    while text not in log:
        message = client.receive()
        assert "item" in message, message
        log += message["item"].get("data", b"")
    ends = {request, client.send("cancel", id=request)}
    while ends:
        message = client.receive()
        if "item" not in message:
            ends.discard(message["id"])


# --- telling ----------------------------------------------------------------------------------------------------------


def test_ping_and_version(client: Client, host: LiveDaemon) -> None:
    pong = client.call("ping")
    assert host.process is not None
    assert pong["pid"] == host.process.pid and pong["problem"] is None and pong["uptime"] >= 0
    version = client.call("version")
    assert version["protocol"] == 1 and alive(version["executor"]["pid"])


def test_the_table_of_operations_describes_itself(client: Client) -> None:
    told = client.call("describe")
    assert [row["op"] for row in told] == list(OPERATIONS)
    by_op = {row["op"]: row for row in told}
    says = "That the daemon answers, whether it can keep what it promises, and whether it is stopping."
    assert by_op["ping"] == {
        "op": "ping", "text": says, "access": "view", "stream": False, "lasts": False, "args": {},
    }  # fmt: skip
    assert all(row["text"] for row in told)
    assert (by_op["stop"]["access"], by_op["reload"]["access"]) == ("operate", "admin")
    assert by_op["wait"]["lasts"] and by_op["events"]["stream"] and not by_op["status"]["stream"]
    assert by_op["remove"]["args"]["force"] == {
        "kind": "true or false", "schema": {"type": "boolean"}, "required": False, "default": False,
    }  # fmt: skip
    spec = by_op["submit"]["args"]["spec"]
    assert spec["required"] and "default" not in spec
    assert json.loads(json.dumps(told)) == told, "it goes through JSON as it is"


def test_metrics_are_families_of_samples(client: Client) -> None:
    families = client.call("metrics")["families"]
    assert all(family.keys() == {"name", "kind", "help", "labels", "samples"} for family in families)
    assert families[0]["name"] == "rdagentd_build_info" and families[0]["samples"][0][1] == 1
    refused(client, "invalid", "metrics", select={})


def test_a_client_is_told_who_it_is(client: Client) -> None:
    told = client.call("whoami")
    assert (told["uid"], told["gid"]) == (os.geteuid(), os.getegid())
    assert told["name"] == pwd.getpwuid(os.geteuid()).pw_name
    assert (told["role"], told["may"]) == ("admin", ["view", "operate", "admin"])


def test_status_selects_by_name_glob_and_label(client: Client) -> None:
    for number in range(3):
        client.submit(f"sel-{number}", "/bin/true", labels={"team": f"t{number % 2}", "kind": "sel"})
    assert [row["name"] for row in client.status("sel-*")] == ["sel-0", "sel-1", "sel-2"]
    assert [row["name"] for row in client.status("sel-2", "sel-0", "sel-2")] == ["sel-0", "sel-2"]
    rows = client.call("status", select={"labels": {"team": "t0", "kind": "sel"}})
    assert [row["name"] for row in rows] == ["sel-0", "sel-2"]
    assert {"sel-0", "sel-1", "sel-2"} <= {row["name"] for row in client.status()}
    assert "nobody" in refused(client, "not_found", "status", select={"names": ["sel-0", "nobody"]})
    assert "matches no-*" in refused(client, "not_found", "status", select={"names": ["no-*"]})
    assert "team=t9" in refused(client, "not_found", "status", select={"labels": {"team": "t9"}})
    refused(client, "invalid", "status", select={"name": "sel-0"})
    refused(client, "invalid", "status", select={"names": ["*"] * 65})
    refused(client, "invalid", "status", select={"names": ["*" * 257]})


def test_show_tells_all_there_is(client: Client) -> None:
    client.submit("shown", "/bin/sh", "-c", "exit 4", environment={"KEY": "value"})
    client.wait("shown")
    (shown,) = client.call("show", select={"names": ["shown"]})
    assert shown["spec"]["environment"] == {"KEY": "value"}
    assert shown["row"] == client.worker("shown")
    (run,) = shown["runs"]
    assert run["exit"]["code"] == 4 and run["pid"] and run["usage"]["max_rss"] > 0
    (revision,) = shown["revisions"]
    assert (revision["revision"], revision["by"]) == (1, os.geteuid())
    refused(client, "not_found", "show", select={"names": ["nobody"]})


def test_why_explains(client: Client) -> None:
    client.submit("whyed", "/no/such/program")
    client.wait("whyed")
    (told,) = client.call("why", select={"names": ["whyed"]})
    assert "could not start" in told["sentences"][0] and "no such file" in told["sentences"][0]
    assert "Nothing of it was executed" in told["sentences"][1]
    refused(client, "not_found", "why", select={"names": ["nobody"]})


def test_the_doctor_tells_of_everything_that_workers_are_promised(client: Client) -> None:
    findings = client.call("doctor")
    subjects = [finding["subject"] for finding in findings]
    assert {"state", "executor", "limits of processes", "Docker", "Docker proxy", "isolation", "host"} <= set(subjects)
    assert {"disk", "clock", "users", "ports", "API keys"} <= set(subjects)
    state = {finding["subject"]: finding["state"] for finding in findings}
    assert (state["state"], state["executor"]) == ("ok", "ok")


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command", "state", "ended"),
    [
        ("ends-zero", ["/bin/true"], "completed", {"kind": "code", "code": 0}),
        ("ends-code", ["/bin/sh", "-c", "exit 7"], "failed", {"kind": "code", "code": 7}),
        ("ends-signal", ["/bin/sh", "-c", "kill -USR1 $$"], "failed", {"kind": "signal", "signal": "SIGUSR1"}),
        ("ends-missing", ["/no/such"], "failed", {"kind": "could_not_start", "errno": 2}),
        ("ends-denied", ["/etc/passwd"], "failed", {"kind": "could_not_start", "errno": 13}),
    ],
)
def test_an_end_is_told_exactly(client: Client, name: str, command: list[str], state: str, ended: dict) -> None:
    client.submit(name, *command)
    (row,) = client.wait(name)
    assert row["state"] == state
    assert {key: row["exit"][key] for key in ended} == ended
    assert row["restarts"] == 0


def test_where_a_start_failed_is_named(client: Client) -> None:
    client.submit("no-dir", "/bin/true", directory="/no/such/directory")
    (row,) = client.wait("no-dir")
    assert row["exit"]["kind"] == "could_not_start" and row["exit"]["stage"] == "working directory"
    assert "/no/such/directory" in row["exit"]["reason"]
    client.submit("no-user", "/bin/true", user="nobody-here")
    (row,) = client.wait("no-user")
    assert row["exit"]["stage"] == "user" and "no such user" in row["exit"]["reason"]


# --- submit -----------------------------------------------------------------------------------------------------------


def test_submit_refuses_what_it_cannot_do(client: Client) -> None:
    client.submit("once", "/bin/true")
    assert "use apply" in refused(client, "conflict", "submit", spec={"name": "once", "command": ["/bin/true"]})
    message = refused(client, "invalid", "submit", spec={"name": "bad", "command": ["/bin/true"], "tiemout": 5})
    assert "tiemout" in message and "timeout" in message
    refused(client, "invalid", "submit", spec={"name": "../x", "command": ["/bin/true"]})
    refused(client, "invalid", "submit", spec={"name": "empty"})
    refused(client, "invalid", "submit", spec=[])
    refused(client, "invalid", "submit")


def test_submit_without_start_waits_for_a_start(client: Client) -> None:
    answer = client.call("submit", spec={"name": "later", "command": ["/bin/true"]}, start=False)
    assert (answer["state"], answer["want"], answer["revision"]) == ("stopped", "down", 1)
    assert client.verb("start", "later")[0]["changed"]
    assert client.wait("later")[0]["state"] == "completed"


def test_workers_without_a_name_get_one_each_even_all_at_once(client: Client) -> None:
    spec = {"command": ["/bin/true"]}
    requests = [client.send("submit", spec=spec, start=False) for _ in range(40)]
    names = [client.answer(request)["name"] for request in requests]
    assert len(set(names)) == 40 and all(name.startswith("true-") for name in names)


# --- verbs ------------------------------------------------------------------------------------------------------------


def test_stop_start_restart(client: Client) -> None:
    first = running(client, "verbs")
    (told,) = client.verb("stop", "verbs")
    assert told["changed"] and told["error"] is None and told["want"] == "down"
    (row,) = client.wait("verbs")
    assert (row["state"], row["exit"]["signal"]) == ("stopped", "SIGTERM")
    assert not alive(first)
    assert client.verb("stop", "verbs")[0]["changed"] is False
    client.verb("start", "verbs")
    second = client.wait("verbs", until="running")[0]["run"]["pid"]
    assert client.verb("start", "verbs")[0]["changed"] is False
    client.verb("restart", "verbs")
    eventually(lambda: client.worker("verbs")["state"] == "running", "the restart")
    third = client.worker("verbs")["run"]["pid"]
    assert len({first, second, third}) == 3 and not alive(second)
    client.verb("kill", "verbs")
    (row,) = client.wait("verbs")
    assert row["exit"]["signal"] == "SIGKILL" and row["want"] == "down"


def test_the_stop_ladder_ends_in_a_kill_of_the_whole_tree(client: Client) -> None:
    stop = {"signals": ["SIGINT", "SIGTERM"], "interval": "50ms", "grace": "50ms"}
    pid = running(client, "stubborn", *TRAPS, stop=stop)
    said(client, "stubborn", b"ready")
    client.verb("stop", "stubborn")
    (row,) = client.wait("stubborn")
    assert (row["state"], row["exit"]["signal"]) == ("stopped", "SIGKILL")
    assert not alive(pid)
    kinds = [item["kind"] for item in client.stream("events", select={"names": ["stubborn"]})]
    assert kinds[-3:] == ["stopping", "killing", "exited"]


def test_a_run_that_takes_too_long_is_ended(client: Client) -> None:
    stop = {"signals": ["SIGURG"], "interval": "20ms"}  # which nobody minds, however short a time he has had
    client.submit("slow", *TRAPS, timeout="100ms", kill_after="50ms", stop=stop)
    (row,) = client.wait("slow")
    assert (row["state"], row["exit"]["kind"], row["exit"]["signal"]) == ("failed", "timed_out", "SIGKILL")
    assert "time limit" in row["reason"]["text"]


def test_pause_stops_the_program_and_resume_lets_it_go_on(client: Client) -> None:
    pid = running(client, "paused")
    client.verb("pause", "paused")
    assert client.worker("paused")["state"] == "paused"
    eventually(lambda: is_frozen(pid), "it to be frozen")
    assert client.verb("pause", "paused")[0]["changed"] is False
    client.verb("resume", "paused")
    eventually(lambda: not is_frozen(pid), "it to go on")
    client.verb("pause", "paused")
    client.verb("stop", "paused")
    assert client.wait("paused")[0]["exit"]["signal"] == "SIGTERM"
    (told,) = client.verb("pause", "paused")
    assert told["error"]["code"] == "conflict" and "it is stopped" in told["error"]["message"]
    assert client.verb("resume", "paused")[0]["error"]["code"] == "conflict"


def test_a_signal_is_passed_on(client: Client) -> None:
    running(
        client, "signalled", "/bin/sh", "-c", "trap 'echo got it; exit 5' HUP; echo ready; while :; do sleep 0.05; done"
    )
    said(client, "signalled", b"ready")
    client.verb("signal", "signalled", signal="SIGHUP")
    assert client.wait("signalled")[0]["exit"]["code"] == 5
    assert client.log("signalled") == b"ready\ngot it\n"
    assert client.verb("signal", "signalled", signal="SIGHUP")[0]["error"]["code"] == "conflict"
    refused(client, "invalid", "signal", select={"names": ["signalled"]}, signal="SIGNONSENSE")
    refused(client, "invalid", "signal", select={"names": ["signalled"]}, signal="SIGHUP", scope="world")


def test_remove_needs_force_while_it_runs(client: Client, host: LiveDaemon) -> None:
    pid = running(client, "removed", "/bin/sh", "-c", "echo words; exec sleep 1000")
    said(client, "removed", b"words")
    (told,) = client.verb("remove", "removed")
    assert told["error"]["code"] == "conflict" and "--force" in told["error"]["message"]
    request = client.send("wait", select={"names": ["removed"]})
    client.verb("remove", "removed", force=True)
    assert client.answer(request) == []
    assert not alive(pid)
    refused(client, "not_found", "status", select={"names": ["removed"]})
    eventually(lambda: not (host.state / "logs" / "removed").exists(), "its log to be gone")
    kinds = [item["kind"] for item in client.stream("events") if item["worker"] == "removed"]
    assert kinds[-1] == "removed"


def test_a_verb_over_many_tells_how_each_fared(client: Client) -> None:
    running(client, "many-1")
    client.call("submit", spec={"name": "many-2", "command": ["/bin/true"]}, start=False)
    one, two = client.verb("pause", "many-*")
    assert (one["error"], one["state"]) == (None, "paused")
    assert two["error"]["code"] == "conflict"
    refused(client, "not_found", "stop", select={"names": ["many-1", "nobody"]})
    assert client.worker("many-1")["state"] == "paused", "nothing is done of what cannot be done whole"
    client.verb("kill", "many-1")
    client.wait("many-1")


# --- restart policies -------------------------------------------------------------------------------------------------


def test_it_is_restarted_on_failure_as_often_as_allowed(client: Client) -> None:
    restart = {"policy": "on-failure", "delay": "10ms", "retries": 2}
    client.submit("retried", "/bin/sh", "-c", "exit 3", restart=restart)
    (row,) = client.wait("retried")
    assert (row["state"], row["restarts"], row["attempt"]) == ("failed", 2, 3)
    (shown,) = client.call("show", select={"names": ["retried"]})
    assert [run["exit"]["code"] for run in shown["runs"]] == [3, 3, 3]


def test_success_is_no_failure(client: Client) -> None:
    client.submit("succeeded", "/bin/true", restart={"policy": "on-failure", "delay": "10ms"})
    assert client.wait("succeeded")[0]["restarts"] == 0


def test_always_means_always_until_it_is_stopped(client: Client) -> None:
    restart = {"policy": "always", "delay": "10ms", "breaker": {"failures": 0}}
    client.submit("always", "/bin/true", restart=restart)
    eventually(lambda: client.worker("always")["restarts"] >= 3, "three restarts")
    client.verb("stop", "always")
    assert client.wait("always")[0]["state"] == "stopped"


def test_the_breaker_opens_and_says_so(client: Client) -> None:
    restart = {"policy": "always", "delay": "1ms", "breaker": {"failures": 3, "window": "10m", "cooldown": "1h"}}
    client.submit("broken", "/bin/false", restart=restart)
    row = eventually(lambda: (r := client.worker("broken"))["state"] == "failed" and r, "the breaker")
    assert row["due_in"] > 3000 and "breaker" in row["reason"]["text"]
    client.verb("stop", "broken")
    assert client.wait("broken")[0]["due_in"] is None


# --- apply and reload -------------------------------------------------------------------------------------------------


def document(*specs: dict) -> list[dict]:
    tables = {spec["name"]: {key: value for key, value in spec.items() if key != "name"} for spec in specs}
    return [{"where": "test.toml", "base": None, "document": {"worker": tables}}]


def test_apply_changes_only_what_is_different(client: Client) -> None:
    one = {"name": "ap-1", "command": list(SLEEP)}
    two = {"name": "ap-2", "command": list(SLEEP), "timeout": "1h"}

    def actions(answer: dict) -> dict:
        return {change["name"]: change["action"] for change in answer["changes"]}

    assert actions(client.call("apply", documents=document(one, two), dry_run=True)) == {
        "ap-1": "create",
        "ap-2": "create",
    }
    refused(client, "not_found", "status", select={"names": ["ap-1"]})
    client.call("apply", documents=document(one, two))
    pids = {row["name"]: row["run"]["pid"] for row in client.wait("ap-1", "ap-2", until="running")}
    assert set(actions(client.call("apply", documents=document(one, two))).values()) == {"none"}

    one["command"] = ["/bin/sleep", "2000"]
    two["timeout"] = "2h"
    answer = client.call("apply", documents=document(one, two))
    assert actions(answer) == {"ap-1": "restart", "ap-2": "update"}
    assert [field["field"] for field in answer["changes"][1]["fields"]] == ["timeout"]
    eventually(
        lambda: (r := client.worker("ap-1"))["state"] == "running" and r["run"]["pid"] != pids["ap-1"], "a restart"
    )
    assert client.worker("ap-2")["run"]["pid"] == pids["ap-2"]
    assert client.worker("ap-1")["revision"] == 2
    client.verb("remove", "ap-*", force=True)


def test_apply_refuses_all_if_one_is_wrong(client: Client) -> None:
    good = {"name": "ap-good", "command": ["/bin/true"]}
    message = refused(client, "invalid", "apply", documents=document(good, {"name": "ap-bad", "comand": ["x"]}))
    assert "ap-bad" in message and "test.toml" in message
    refused(client, "not_found", "status", select={"names": ["ap-good"]})
    refused(client, "conflict", "apply", documents=document(good) + document(good))
    refused(client, "invalid", "apply", documents=[{"where": 5}])


def test_prune_removes_what_is_not_named(tmp_path: Path) -> None:
    live = LiveDaemon(tmp_path)
    try:
        client = live.start()
        assert client is not None
        pid = running(client, "old")
        answer = client.call("apply", documents=document({"name": "new", "command": ["/bin/true"]}), prune=True)
        assert [(c["name"], c["action"]) for c in answer["changes"]] == [("new", "create"), ("old", "remove")]
        eventually(lambda: [row["name"] for row in client.status()] == ["new"], "the old one to be gone")
        assert not alive(pid)
    finally:
        live.close()


def test_drain_stops_all_and_then_all_leave(tmp_path: Path) -> None:
    live = LiveDaemon(tmp_path)
    try:
        client = live.start()
        assert client is not None
        executor = client.call("version")["executor"]["pid"]
        pid = running(client, "drained", *TRAPS, stop={"grace": "50ms"})
        client.call("drain")
        assert live.wait() == 0
        assert not alive(pid)
        eventually(lambda: not alive(executor), "the executor's end: what the daemon waits for is that it hung up")
    finally:
        live.close()


# --- wait -------------------------------------------------------------------------------------------------------------


def test_wait_answers_when_all_are_there(client: Client) -> None:
    running(client, "wait-1")
    running(client, "wait-2")
    waiting = client.send("wait", select={"names": ["wait-*"]})
    client.verb("stop", "wait-1")
    client.wait("wait-1")
    client.verb("stop", "wait-2")
    assert [row["state"] for row in client.answer(waiting)] == ["stopped", "stopped"]
    refused(client, "not_found", "wait", select={"names": ["nobody"]})
    refused(client, "invalid", "wait", select={"names": ["wait-1"]}, until="doomsday")


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_by_range(client: Client) -> None:
    client.submit("log", "/bin/sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2")
    client.wait("log")
    whole = client.log("log")
    assert whole == b"line 1\nline 2\nline 3\nline 4\nline 5\noops\n"
    assert client.log("log", tail=2) == b"line 5\noops\n"
    assert client.log("log", tail=0) == b""
    assert client.log("log", offset=7) == whole[7:]
    assert client.log("log", offset=10_000) == b""
    assert client.log("log", since=time.time() + 60) == b""
    assert client.log("log", since=time.time() - 60) == whole
    assert client.log("log", until=time.time() - 60) == b""
    assert client.log("log", follow=True) == whole
    items = list(client.stream("logs", name="log"))
    assert items[0]["offset"] == 0 and abs(items[0]["time"] - time.time()) < 60
    refused(client, "not_found", "logs", name="nobody")
    refused(client, "invalid", "logs", name="log", tail=-1)
    refused(client, "invalid", "logs", name="log", offset=-1)
    refused(client, "invalid", "logs", name="log", stream="../../etc")
    refused(client, "invalid", "logs", name="log", run=0)
    refused(client, "invalid", "logs", name="log", run=-(2**63))
    refused(client, "not_found", "logs", name="log", run=-2)
    refused(client, "not_found", "logs", name="log", run="01abc")


def test_a_log_by_run(client: Client) -> None:
    client.submit("runs", "/bin/sh", "-c", "echo $RDAGENTD_RUN")
    client.wait("runs")
    client.verb("start", "runs")
    client.wait("runs")
    (shown,) = client.call("show", select={"names": ["runs"]})
    latest, first = (run["id"] for run in shown["runs"])
    assert client.log("runs", run=-1) == client.log("runs", run=latest) == latest.encode() + b"\n"
    assert client.log("runs", run=-2) == client.log("runs", run=first, follow=True) == first.encode() + b"\n"


def test_a_log_tells_the_run_of_each_byte(client: Client, tmp_path: Path) -> None:
    """Of one that is followed over a restart, too."""
    client.submit(
        "told",
        "/bin/sh",
        "-c",
        "printf $RDAGENTD_RUN; sleep 0.2; exit 1",
        restart={"delay": "1ms", "retries": 3, "jitter": 0, "policy": "on-failure"},
    )
    followed = list(client.stream("logs", name="told", follow=True, runs=True))
    assert b"".join(item["data"] for item in followed) == client.log("told")
    wrote: dict[str, bytes] = {}
    for item in followed:
        wrote[item["run"]] = wrote.get(item["run"], b"") + item["data"]
    assert len(wrote) == 4 and all(data == run.encode() for run, data in wrote.items())
    again = list(client.stream("logs", name="told", runs=True, offset=5))
    assert again[0]["data"] == again[0]["run"].encode()[5:]
    assert {item["run"] for item in again} == wrote.keys()
    assert "run" not in next(client.stream("logs", name="told"))


def test_streams_apart(client: Client) -> None:
    client.submit("apart", "/bin/sh", "-c", "echo this; echo that >&2", log={"separate": True})
    client.wait("apart")
    assert client.log("apart") == b"this\n"
    assert client.log("apart", stream="err") == b"that\n"


def test_two_follow_a_log_from_different_places(client: Client, host: LiveDaemon, tmp_path: Path) -> None:
    second, third = (
        tmp_path / "second",
        tmp_path / "third",
    )  # one for both: the second read could meet the first writer's end
    for fifo in (second, third):
        os.mkfifo(fifo)
    running(client, "followed", "/bin/sh", "-c", f"echo one; read x < {second}; echo two; read x < {third}; echo three")
    said(client, "followed", b"one")
    far = host.connect()
    request = client.send("logs", name="followed", follow=True)
    beyond = far.send("logs", name="followed", follow=True, offset=9)
    assert client.receive()["item"]["data"] == b"one\n"
    second.write_text("\n")
    assert client.receive()["item"] | {"time": 0} == {"offset": 4, "time": 0, "data": b"two\n"}
    third.write_text("\n")
    assert client.receive()["item"]["data"] == b"three\n"
    assert client.receive() == {"id": request, "end": True}
    assert far.receive()["item"]["data"] == b"hree\n"
    assert far.receive() == {"id": beyond, "end": True}


def test_a_log_that_was_cut_says_how_much_is_gone(client: Client, host: LiveDaemon) -> None:
    command = "i=0; while [ $i -lt 300 ]; do printf '%0999d\\n' $i; i=$((i+1)); done"
    client.submit("long", "/bin/sh", "-c", command, log={"cap": 131072, "segment": 65536})
    client.wait("long")
    first, *items = list(client.stream("logs", name="long"))
    data = b"".join(item["data"] for item in items)
    assert data.endswith(b"%0999d\n" % 299) and len(data) <= 131072
    segments = sorted(path.name for path in (host.state / "logs" / "long" / "out").glob("*.log"))
    begin = first["offset"]
    assert segments[0] == log_name(begin)
    (gone, *_) = list(client.stream("logs", name="long", offset=0))
    assert gone == {"dropped": begin, "offset": begin}


# --- events -----------------------------------------------------------------------------------------------------------


def cancel(client: Client, request: int) -> None:
    """Ends a stream, and hears all that is still said about it."""
    open_ones = {request, client.send("cancel", id=request)}
    while open_ones:
        message = client.receive()
        if "item" not in message:
            open_ones.discard(message["id"])


def test_events_by_kind_and_time(client: Client) -> None:
    client.submit("kinds", "/bin/true")
    client.wait("kinds")
    select = {"names": ["kinds"]}
    stored = list(client.stream("events", select=select))
    assert list(client.stream("events", select=select, kinds=["started", "exited"])) == stored[2:4]
    assert list(client.stream("events", select=select, kinds=["started", "exited"], tail=1)) == stored[3:4]
    since = stored[3]["at"]
    assert list(client.stream("events", select=select, after=since)) == [item for item in stored if item["at"] >= since]
    assert list(client.stream("events", after=time.time() + 60)) == []
    request = client.send("events", select=select, since=stored[-1]["seq"], kinds=["exited"], follow=True)
    client.send("start", select=select)
    while "item" not in (message := client.receive()) or message["id"] != request:
        pass
    assert message["item"]["kind"] == "exited"
    cancel(client, request)
    refused(client, "invalid", "events", kinds="exited")


def test_events_of_workers_that_come_and_of_those_that_are_gone(client: Client) -> None:
    client.submit("tale-1", "/bin/true")
    client.wait("tale-1")
    last = list(client.stream("events"))[-1]["seq"]
    request = client.send("events", select={"names": ["tale-*"]}, since=last, follow=True)
    client.submit("tale-2", "/bin/true")
    client.submit("other", "/bin/true")
    client.wait("tale-2", "other")
    client.verb("remove", "tale-2")
    told = []
    while not told or told[-1]["kind"] != "removed":
        message = client.receive()
        if message["id"] == request:
            told.append(message["item"])
    assert {item["worker"] for item in told} == {"tale-2"}
    cancel(client, request)
    assert list(client.stream("events", select={"names": ["tale-2"]}, since=last)) == told
    both = {item["worker"] for item in client.stream("events", select={"names": ["tale-2", "tale-1"]})}
    assert both == {"tale-1", "tale-2"}
    refused(client, "not_found", "events", select={"names": ["tale-2", "tale-3"]})


def test_events_are_told_once_each_stored_or_live(client: Client) -> None:
    client.submit("story", "/bin/true")
    client.wait("story")
    stored = list(client.stream("events", select={"names": ["story"]}))
    assert [item["kind"] for item in stored] == ["submitted", "queued", "started", "exited", "completed"]
    assert stored[0]["by"] == os.geteuid() and stored[2]["by"] is None
    assert list(client.stream("events", select={"names": ["story"]}, tail=2)) == stored[-2:]
    assert list(client.stream("events", select={"names": ["story"]}, since=stored[2]["seq"])) == stored[3:]

    request = client.send("events", select={"names": ["story"]}, since=stored[3]["seq"], follow=True)
    assert client.receive() == {"id": request, "item": stored[4]}
    asked = client.send("start", select={"names": ["story"]})
    live, told = [], 0
    while len(live) < 4 or not told:
        message = client.receive()
        if message["id"] == asked:
            told += 1
        else:
            live.append(message["item"])
    assert [item["kind"] for item in live] == ["queued", "started", "exited", "completed"]
    cancelled = client.send("cancel", id=request)
    assert {client.receive()["id"], client.receive()["id"]} == {request, cancelled}
    assert list(client.stream("events", select={"names": ["story"]}, since=stored[4]["seq"])) == live
    refused(client, "not_found", "events", select={"names": ["nobody"]})
    refused(client, "invalid", "events", tail=10_001)


# --- strangers --------------------------------------------------------------------------------------------------------

OPERATOR = """
import json, os, sys
from pathlib import Path
from tests.harness import CallError, Client
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
client = Client(Path(sys.argv[1]))
def ask(op, **args):
    try:
        return client.call(op, **args)
    except CallError as error:
        return {"code": error.code, "message": error.message}
select = {"names": ["foreign"]}
print(json.dumps({
    "ping": ask("ping")["problem"],
    "show": ask("show", select=select)[0]["spec"]["environment"],
    "stop": ask("stop", select=select)["workers"][0]["error"],
    "apply": ask("apply", documents=[{"where": "x", "base": None, "document":
        {"worker": {"foreign": {"command": ["/bin/true"]}}}}]),
    "prune": ask("apply", documents=[], prune=True),
    "reload": ask("reload"),
    "root": ask("submit", spec={"name": "as-root", "command": ["/bin/true"], "user": "root"}),
    "mine": ask("submit", spec={"name": "mine", "command": ["/usr/bin/id", "-u"]})["name"],
    "waited": ask("wait", select={"names": ["mine"]})[0]["exit"]["code"],
    "restart": ask("restart", select={"names": ["mine"]})["workers"][0]["error"],
}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_operator_sees_all_but_secrets_and_operates_its_own(client: Client, host: LiveDaemon) -> None:
    pid = running(client, "foreign", environment={"KEY": "hunter2"})
    os.chmod(host.state.parent, 0o755)
    os.chmod(host.state, 0o755)
    os.chmod(host.socket, 0o666)
    done = subprocess.run(
        [sys.executable, "-c", OPERATOR, str(host.socket)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert list(told["show"]) == ["KEY"] and "hunter2" not in done.stdout.decode()
    assert told["stop"]["code"] == "forbidden" and "belongs to uid 0, you are uid 12345" in told["stop"]["message"]
    for op in ("apply", "prune", "reload", "root"):
        assert told[op]["code"] == "forbidden", op
    assert told["restart"] is None and told["waited"] == 0
    client.wait("mine")
    assert client.log("mine", tail=1) == b"12345\n"
    assert alive(pid)
    assert client.call("show", select={"names": ["foreign"]})[0]["spec"]["environment"] == {"KEY": "hunter2"}
    os.kill(pid, signal.SIGKILL)
    client.wait("foreign")


def test_nothing_is_launched_where_the_configuration_does_not_say_what(client: Client) -> None:
    asked = {"scenario": "Data Science", "trace": "x", "port": 1, "competition": "y"}
    assert "set rd_agent.program" in refused(client, "forbidden", "launch", **asked)


def test_what_is_reported_counts_and_only_for_a_run(client: Client) -> None:
    running(client, "tells")
    told = client.call("report", name="tells", values={"iteration": 3}, added={"cost_usd": 0.25})
    assert told["measures"] == {"iteration": 3, "cost_usd": 0.25}
    row = client.worker("tells")
    assert (row["iteration"], row["cost_usd"]) == (3, 0.25)
    client.verb("kill", "tells")
    client.wait("tells")
    refused(client, "conflict", "report", name="tells", values={"iteration": 4})


def test_what_has_no_checkpoints_and_no_workspace_says_so(client: Client) -> None:
    running(client, "plain")
    assert "its spec has no [checkpoints]" in refused(client, "conflict", "checkpoints", name="plain")
    assert "it is running; stop it first" in refused(client, "conflict", "restore_workspace", name="plain")
    client.verb("kill", "plain")
    client.wait("plain")
    assert "its spec has no directory" in refused(client, "conflict", "restore_workspace", name="plain")
    assert "none is called nobody" in refused(client, "not_found", "checkpoints", name="nobody")
    (told,) = client.verb("resume", "plain")
    assert "has no checkpoints.resume to go on by; start it" in told["error"]["message"]


def test_what_profiles_there_are_and_what_a_worker_lacks_can_be_asked(client: Client) -> None:
    assert [one for one in client.call("profiles") if one["problem"]] == []
    assert refused(client, "not_found", "profile", name="nothing").startswith("cannot ")
    running(client, "lacking")
    (told,) = client.call("preflight", select={"names": ["lacking"]})
    assert (told["name"], told["asked"], told["problems"]) == ("lacking", False, [])
    client.verb("kill", "lacking")


def test_providers_are_told_with_their_breakers(client: Client) -> None:
    assert client.call("providers") == []
    client.submit("needs", "/bin/true", providers=["openai"])
    client.wait("needs")
    breaker = {"errors": 20, "window": 60.0, "cooldown": 120.0}
    assert client.call("providers") == [
        {
            "name": "openai", "phase": "closed", "why": "", "errors": 0, "breaker": breaker, "probe": None,
            "due_in": None, "workers": 1, "waiting": 0,
        }
    ]  # fmt: skip
    client.verb("remove", "needs")


def test_a_budget_is_raised_and_only_raised(client: Client) -> None:
    client.call("submit", spec={"name": "paid", "command": ["true"], "budgets": {"run_time": "1h"}}, start=False)
    chosen = {"names": ["paid"]}
    (told,) = client.call("budget", select=chosen, **{"raise": {"run_time": "2h"}})["workers"]
    assert (told["changed"], told["error"]) == (True, None)
    assert client.worker("paid")["budgets"] == [{"of": "worker", "measure": "run_time", "used": 0.0, "budget": 7200.0}]
    refused(client, "invalid", "budget", select=chosen, **{"raise": {"run_time": "1h"}})


def test_every_operation_of_the_table_is_tried_here() -> None:
    text = Path(__file__).read_text()
    tried = {op for op in OPERATIONS if f'"{op}"' in text}
    assert tried == set(OPERATIONS)
