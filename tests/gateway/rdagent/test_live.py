"""Uploads become workers, their messages come back, they are controlled by their traces, and each ends with one END."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

from rdagentd.gateway.shapes import RESULTS, SHAPES
from tests.gateway.rdagent.site import Site
from tests.harness import alive, eventually

STOPPED = {"error_msg": "RD-Agent process was stopped by user.", "end_code": -1}
COMPLETED = {"error_msg": "RD-Agent process has completed.", "end_code": 0}


def test_an_upload_runs_and_its_messages_and_its_end_are_told(site: Site) -> None:
    called = site.launched("quick")
    assert site.ended(called) == COMPLETED
    assert site.tags(called) == ["research.hypothesis", "feedback.metric", "END"]
    assert called in site.get("/traces").json
    row = site.row(called)
    state = Path(row["labels"]["trace"]).parent
    assert row["labels"]["scenario"] == "Data Science" and state.name == "state"
    output = site.stdout(called)
    assert output.status == 200 and output.headers["content-disposition"].startswith("attachment")
    assert output.text.startswith(f'words ["data_science", "--competition", "quick"] in {state}')


def test_the_exit_code_is_the_end_code(site: Site) -> None:
    assert site.ended(site.launched("fails")) == {**COMPLETED, "end_code": 3}


def test_loops_and_hours_become_options(site: Site) -> None:
    fields = {"scenario": "Data Science", "competition": "MLE-Bench:quick", "loops": "3", "all_duration": "0.5"}
    called = site.upload(fields).json["id"]
    site.ended(called)
    assert site.row(called)["command"][1:] == [
        "data_science", "--competition", "quick", "--loop-n", "3", "--timeout", "0.5h",
    ]  # fmt: skip


def test_a_launch_by_the_json_api_is_a_trace_as_well(site: Site) -> None:
    asked = {"scenario": "Data Science", "trace": "by-api", "competition": "quick", "port": urlsplit(site.url).port}
    told = site.post("/api/v1/launch", asked).json
    Draft202012Validator({"components": {"schemas": SHAPES}, **RESULTS["launch"]}).validate(told)
    assert told["id"] == "Data Science/by-api" and site.ended(told["id"]) == COMPLETED
    assert site.tags(told["trace"]) == ["research.hypothesis", "feedback.metric", "END"]


def test_a_file_is_where_its_worker_can_read_it_and_nobody_else(site: Site) -> None:
    called = site.upload({"scenario": "General Model Implementation"}, ("../../My report.pdf", b"the model")).json["id"]
    assert site.ended(called) == COMPLETED
    assert site.trace(called)[0]["content"] == {"image": "the model"}
    state = Path(site.row(called)["labels"]["trace"]).parent
    kept = state / "uploads" / "My_report.pdf"
    assert kept.read_bytes() == b"the model"
    assert kept.parent.stat().st_mode & 0o077 == 0 and state.stat().st_mode & 0o077 == 0
    assert "ticket None" in site.stdout(called).text  # the program does not get it
    site.ended(site.launched("quick"))
    assert not (site.gateway.state / "uploads" / called.rpartition("/")[2]).exists()


def test_a_file_is_given_to_nobody_without_its_ticket(site: Site) -> None:
    called = site.upload({"scenario": "General Model Implementation"}, ("a.pdf", b"the model")).json["id"]
    path = f"/rd-agent/uploads/{called.rpartition('/')[2]}"
    site.ended(called)
    assert site.get(f"{path}/a.pdf").status == 403
    for wrong in (f"{path}/b.pdf", f"{path}/..%2fticket", f"{path}/ticket", "/rd-agent/uploads/..%2f..%2fetc/passwd"):
        assert site.get(wrong).status in (403, 404)


def test_an_upload_whose_size_is_not_told_is_cut_off_and_leaves_nothing(site: Site) -> None:
    mark = "mark"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="a.pdf"\r\n\r\n'.encode()
    chunks = itertools.chain([head], itertools.repeat(b"x" * (1 << 20), 25))
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    with contextlib.suppress(ConnectionError):  # it may hang up before it has all
        connection.request("POST", "/upload", chunks, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    assert not list((site.gateway.state / "uploads").glob("coming-*"))


def test_control_pauses_resumes_and_stops(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    eventually(lambda: "waiting" in site.stdout(called).text, "it to heed signals")
    pid = site.row(called)["run"]["pid"]
    assert site.control(called, "pause").json == {"status": "paused"}
    assert site.row(called)["state"] == "paused"
    assert site.control(called, "resume").json == {"status": "resumed"}
    assert site.row(called)["state"] == "running"
    assert site.control(called, "stop").json == {"status": "stopped"}
    assert not alive(pid)
    assert site.tags(called) == ["research.hypothesis", "END"] and site.ended(called) == STOPPED
    assert site.row(called)["exit"]["code"] == 130  # by its second SIGINT


def test_a_worker_that_a_person_submitted_takes_part_by_its_labels(site: Site, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    command = site.gateway.config.parent / "rdagent"
    environment = {"LOG_TRACE_PATH": trace, "LOG_UI_SERVER_PORT": site.url.rpartition(":")[2].strip("/")}
    spec = {
        "name": "mine", "command": [str(command), "data_science", "--competition", "quick"],
        "environment": environment, "labels": {"trace": trace, "scenario": "Data Science"},
    }  # fmt: skip
    client = site.daemon.connect()
    client.call("submit", spec=spec, start=False)
    eventually(lambda: "Data Science/mine" in site.get("/traces").json, "the gateway to know where its messages belong")
    client.verb("start", "mine")
    assert site.ended("Data Science/mine") == COMPLETED
    assert site.tags(trace) == ["research.hypothesis", "feedback.metric", "END"]  # by its path, too


def test_each_run_of_a_worker_that_is_started_again_has_an_end_of_its_own(site: Site) -> None:
    called = site.launched("quick")
    site.ended(called)
    site.daemon.connect().verb("start", site.row(called)["name"])
    eventually(lambda: site.tags(called, client="again").count("END") == 2, "a second END")


def test_a_worker_that_is_restarted_by_policy_has_no_end_until_it_is_at_rest(site: Site, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    restart = {"policy": "on-failure", "retries": 2, "delay": "0s"}
    site.daemon.connect().submit("again", "/bin/false", restart=restart, labels={"trace": trace})
    assert site.ended("Workers/again") == {**COMPLETED, "end_code": 1}
    assert site.tags("Workers/again") == ["END"] and site.daemon.connect().worker("again")["restarts"] == 2


def test_what_is_removed_keeps_its_messages_and_loses_its_output(site: Site) -> None:
    called = site.launched("quick")
    site.ended(called)
    site.daemon.connect().verb("remove", site.row(called)["name"])
    eventually(lambda: site.stdout(called).status == 404, "the log to be gone")
    assert site.stdout(called).json == {"error": "Stdout file not found"}
    assert site.tags(called) == ["research.hypothesis", "feedback.metric", "END"]
    assert site.control(called, "stop").json == {"status": "stopped"}


def test_what_is_removed_while_it_runs_ends(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    site.daemon.connect().verb("remove", site.row(called)["name"], force=True)
    assert site.ended(called)["end_code"] == -1
    assert site.tags(called) == ["research.hypothesis", "END"]


def test_ends_are_told_once_whatever_is_restarted_or_killed(site: Site) -> None:
    during, across = site.launched("waits"), site.launched("waits")
    site.began(during)
    site.began(across)
    assert site.gateway.process is not None
    site.gateway.process.kill()
    site.gateway.process.wait()
    name = site.row(during)["name"]
    client = site.daemon.connect()
    client.verb("stop", name)
    client.wait(name)
    site.daemon.kill()
    site.daemon.start("--config", str(site.gateway.config.parent / "rdagentd.toml"))
    site.gateway.start('anonymous = "operate"\n')
    assert site.ended(during) == STOPPED
    assert site.tags(across) == ["research.hypothesis"]
    site.daemon.kill()  # the gateway loses it, and finds it again
    site.daemon.start("--config", str(site.gateway.config.parent / "rdagentd.toml"))
    os.kill(site.row(across)["run"]["pid"], signal.SIGKILL)
    assert site.ended(across)["end_code"] == -signal.SIGKILL
    site.gateway.close()
    site.gateway.start('anonymous = "operate"\n')
    site.ended(site.launched("quick"))  # all is seen by then
    for called in (during, across):
        assert site.tags(called).count("END") == 1


def test_while_the_daemon_is_away_messages_are_read_and_sent_and_nothing_is_said_of_what_is_not_known(
    site: Site,
) -> None:
    called = site.launched("waits")
    site.began(called)
    path = site.path(called)
    site.gateway.close()
    site.daemon.kill()
    site.gateway.start('anonymous = "operate"\n')
    assert site.tags(called) == ["research.hypothesis"]
    message = {"tag": "said", "timestamp": "", "content": 1}
    assert site.post("/receive", {"id": path, "msg": message}).status == 200
    for answer in (site.control(called, "stop"), site.control(called, "pause"), site.stdout(called)):
        assert answer.status == 503 and answer.headers["retry-after"], answer.text
    assert site.post("/user_interaction/submit", {"id": called, "payload": 1}).status == 503
    assert site.upload({"scenario": "Data Science", "competition": "MLE-Bench:quick"}).status == 503
    assert site.tags(called) == ["research.hypothesis", "said"]
    site.daemon.start("--config", str(site.gateway.config.parent / "rdagentd.toml"))
    eventually(lambda: site.control(called, "stop").status == 200, "the gateway to find the daemon again")
    assert site.tags(called) == ["research.hypothesis", "said", "END"]
