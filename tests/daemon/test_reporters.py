"""What workers tell by the rules of their specs, with a real daemon and executor; no crash counts it twice or loses it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from rdagentd.supervisor.logs import LogReader
from tests.harness import Client, LiveDaemon, eventually, free_port

COST = {"source": "log", "measure": "cost_usd", "pattern": "cost {number}", "add": True}
LOOP = {"source": "log", "measure": "iteration", "pattern": "loop {int}"}


def told(client: Client, name: str = "w", **expected: Any) -> dict[str, Any]:
    """The row, once it says so."""

    def row() -> Any:
        found = client.worker(name)
        return found if expected.items() <= found.items() else None

    found: dict[str, Any] = eventually(row, f"{expected} of {name}")
    return found


def test_lines_are_understood_while_a_run_lives_and_to_the_last_byte_when_it_ends(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"echo loop 1; echo cost 0.25; printf 'cost 0.'; read x < {go}; printf '5\\nloop 2\\ncost 1'; exit 3"
    rules = [COST, LOOP, {"source": "log", "measure": "lines", "pattern": "cost", "add": True}]
    client.submit("w", "/bin/sh", "-c", script, reporters=rules)
    row = told(client, iteration=1, cost_usd=0.25)
    assert (row["state"], row["measures"]) == ("running", {"lines": 1.0})
    go.write_text("\n")
    (row,) = client.wait("w")
    assert (row["iteration"], row["cost_usd"], row["measures"]) == (2, 1.75, {"lines": 3.0})
    assert row["exit"]["code"] == 3


def test_what_runs_cost_adds_up_over_restarts(daemon: LiveDaemon, client: Client) -> None:
    restart = {"policy": "on-failure", "delay": "1ms", "retries": 2}
    client.submit("w", "/bin/sh", "-c", "echo cost 0.1; exit 1", reporters=[COST], restart=restart)
    (row,) = client.wait("w")
    assert (row["state"], row["restarts"], row["cost_usd"]) == ("failed", 2, 0.3)
    (shown,) = client.call("show", select={"names": ["w"]})
    assert [run["measures"]["cost_usd"] for run in shown["runs"]] == [0.1, 0.1, 0.1]


def test_streams_that_are_apart_are_both_read(daemon: LiveDaemon, client: Client) -> None:
    client.submit("w", "/bin/sh", "-c", "echo cost 1; echo cost 2 >&2", reporters=[COST], log={"separate": True})
    assert client.wait("w")[0]["cost_usd"] == 3.0


def test_whenever_the_daemon_dies_each_line_counts_once(daemon: LiveDaemon, client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"while read x < {go}; do i=0; while [ $i -lt 2000 ]; do echo cost 0.001; i=$((i+1)); done; done"
    client.submit("w", "/bin/sh", "-c", script, reporters=[COST])
    for number in range(1, 5):
        go.write_text("more\n")
        eventually(lambda: (client.worker("w")["cost_usd"] or 0) > 2 * number - 2, "some of it to be read")  # noqa: B023
        daemon.kill()
        again = daemon.start()
        assert again is not None
        client = again
        told(client, cost_usd=float(2 * number))


def test_an_end_while_nobody_listened_is_not_decided_about_before_its_last_words_are_read(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    client.submit("w", "/bin/sh", "-c", f"read x < {go}; echo cost 2; echo loop 9", reporters=[COST, LOOP])
    (row,) = client.wait("w", until="running")
    daemon.kill()
    go.write_text("\n")
    eventually(lambda: not Path(f"/proc/{row['run']['pid']}").exists(), "the worker to end")
    again = daemon.start()
    assert again is not None
    (row,) = again.wait("w")
    assert (row["state"], row["iteration"], row["cost_usd"]) == ("completed", 9, 2.0)


@pytest.mark.parametrize("point", ["before-commit", "after-commit", "before-send-ack"])
def test_a_daemon_that_dies_between_report_and_end_counts_the_end_once(daemon: LiveDaemon, point: str) -> None:
    client = daemon.start()
    assert client is not None
    daemon.kill()
    daemon.start(env={"RDAGENTD_FAILPOINTS": f"{point}:{1 if 'ack' in point else 4}:kill"}, ready=False)
    try:
        client = daemon.client()
        client.submit("w", "/bin/sh", "-c", "echo cost 2", reporters=[COST])
        client.wait("w")
    except (AssertionError, ConnectionError):
        pass
    assert daemon.process is not None
    assert daemon.process.wait(20) == -signal.SIGKILL
    again = daemon.start()
    assert again is not None
    if not again.status():
        again.submit("w", "/bin/sh", "-c", "echo cost 2", reporters=[COST])
    assert again.wait("w")[0]["cost_usd"] == 2.0


def test_output_that_the_cap_dropped_before_it_was_read_is_told_and_stops_nothing(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"echo cost 1; read x < {go}; yes cost 0 | head -c 400000; echo; echo cost 5; read x < {go}"
    log = {"cap": "64K", "segment": "16K"}
    client.submit("w", "/bin/sh", "-c", script, reporters=[COST], log=log)
    told(client, cost_usd=1.0)
    client.wait("w", until="running")  # its answer says that all of this is on disk
    daemon.kill()
    go.write_text("\n")
    reader = LogReader(daemon.state / "logs" / "w" / "out")
    eventually(lambda: reader.bounds()[1] >= 400_015, "all of it to be written")
    again = daemon.start()
    assert again is not None
    told(again, cost_usd=6.0, state="running")
    event = next(again.stream("events", kinds=["misread"], follow=True))
    assert "bytes of its output were dropped before they could be read" in event["text"]
    again = daemon.connect()  # the other one follows
    (why,) = again.call("why", select={"names": ["w"]})
    assert any("Of what it tells" in text and "dropped" in text for text in why["sentences"])


def test_files_are_read_at_the_end_those_of_earlier_runs_aside(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    """As Ralph writes its metrics: one file a run, at its end."""
    (tmp_path / "metrics_0.json").write_text(json.dumps({"summary": {"iterations": 99}, "cost": {"total": 99}}))
    os.utime(tmp_path / "metrics_0.json", (1, 1))
    text = json.dumps({"summary": {"iterations": 3}, "cost": {"total": 0.5}, "errors": ["a", "b"]})
    rules = [
        {"source": "json", "measure": name, "file": "metrics_*.json", "path": path}
        for name, path in (("iteration", "summary.iterations"), ("cost_usd", "cost.total"), ("errors", "errors"))
    ]
    script = f"echo '{text}' > metrics_1.json"
    client.submit("w", "/bin/sh", "-c", script, directory=str(tmp_path), reporters=rules)
    (row,) = client.wait("w")
    assert (row["iteration"], row["cost_usd"], row["errors"]) == (3, 0.5, 2)


def test_a_worker_with_an_endpoint_of_its_own_is_asked_while_it_runs(
    daemon: LiveDaemon, client: Client, tmp_path: Path
) -> None:
    server = (
        "import http.server, socketserver\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        '        self.wfile.write(b\'# TYPE t counter\\nt{model="a"} 3\\nt{model="b"} 4\\ntt 100\\n\')\n'
        "s = http.server.HTTPServer(('127.0.0.1', PORT), H); print('port', s.server_port, flush=True); s.serve_forever()\n"
    )
    port = free_port()
    rule = {
        "source": "prometheus", "measure": "tokens", "url": f"http://127.0.0.1:{port}/metrics", "metric": "t", "every": "1s"
    }  # fmt: skip
    client.submit("w", "python3", "-c", server.replace("PORT", str(port)), reporters=[rule])
    told(client, tokens=7)
    client.verb("stop", "w")
    assert client.wait("w")[0]["tokens"] == 7


def test_damaged_input_counts_errors_and_the_worker_runs_on(daemon: LiveDaemon, client: Client, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"tokens": "many", "cut":')
    rules = [{"source": "json", "measure": "tokens", "file": "state.json", "path": "tokens", "every": "1s"}, LOOP]
    script = f"touch {tmp_path}/state.json; echo loop 4; sleep 1000"
    client.submit("w", "/bin/sh", "-c", script, directory=str(tmp_path), reporters=rules)
    told(client, iteration=4)
    events = client.stream("events", kinds=["misread"], follow=True)
    assert "cannot read state.json" in next(iter(events))["text"]
    row = client.worker("w")
    assert (row["state"], row["tokens"]) == ("running", None)
