"""What an assistant reads of a worker: values where they are, and words for all that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rdagentd.look import documents
from rdagentd.look.told import at, told
from rdagentd.supervisor.reporters import summed

DOCUMENT = {
    "summary": {"iterations": 3, "name": "x"},
    "errors": ["a", "b"],
    "cost": [{"usd": 0.5}],
    "none": None,
    "yes": True,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("summary.iterations", 3),
        ("summary.name", "x"),
        ("errors", 2),
        ("cost.0.usd", 0.5),
        ("cost.-1.usd", 0.5),
        ("yes", 1),
    ],
)
def test_a_path_leads_to_a_value_or_to_how_many_there_are(path: str, value: Any) -> None:
    assert at(DOCUMENT, path) == value


@pytest.mark.parametrize("path", ["summary.x", "errors.9", "errors.x", "summary.iterations.x", "none"])
def test_a_path_that_leads_nowhere_is_told(path: str) -> None:
    with pytest.raises(ValueError, match=rf"there is no {path}|none is null"):
        at(DOCUMENT, path)


def asked(*files: tuple[str, str, bool], since: float = 0.0) -> list[Any]:
    return told({"files": files, "metrics": [], "since": since})


def test_the_newest_file_of_this_run_counts_or_the_sum_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        path = tmp_path / "deep" / f"m{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"n": number}))
        os.utime(path, (number * 100, number * 100))
    files = (("deep/m*.json", "n", False), ("**/m*.json", "n", True), ("none*.json", "n", False))
    assert asked(*files, since=150) == [(3, ""), (5.0, ""), (None, "")]
    assert asked(files[0], since=301) == [(None, "")]


def test_damaged_files_are_told_and_none_makes_it_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(documents, "MAX_FILE", 1000)
    (tmp_path / "cut").write_text('{"n":')
    (tmp_path / "large").write_text(" " * 1001)
    (tmp_path / "huge").write_text('{"n": ' + "9" * 900 + "}")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ("cut", "large", "huge", "directory", "pipe")
    found = asked(*[(name, "n", False) for name in names])
    assert [value for value, _ in found] == [None] * 5
    for (_, trouble), name in zip(found, names, strict=True):
        assert trouble.startswith(f"cannot read {name}: ")


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path.startswith("/metrics") else 404)
        self.end_headers()
        if self.path == "/metrics?many":
            self.wfile.write(b"".join(b't{n="%d"} 1\n' % number for number in range(300)))
        elif self.path == "/metrics":
            self.wfile.write(b'# TYPE t counter\nt{m="a b"} 3\nt{m="}"} 4.5\ntt 100\nt_sum 9\n')

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_of_an_endpoint_the_lines_of_one_metric_are_taken_and_summed(endpoint: str) -> None:
    ((lines, trouble),) = told({"files": [], "metrics": [(f"{endpoint}/metrics", "t")], "since": 0})
    assert (lines, trouble) == ('t{m="a b"} 3\nt{m="}"} 4.5\n', "")
    assert summed(lines, "t") == 7.5


@pytest.mark.parametrize(
    ("path", "metric", "words"),
    [
        ("/metrics", "absent", "there is no metric absent"),
        ("/other", "t", "it answers 404"),
        ("/metrics?many", "t", "t has 300 series, at most 200 are summed"),
    ],
)
def test_an_endpoint_that_does_not_tell_is_told(endpoint: str, path: str, metric: str, words: str) -> None:
    ((value, trouble),) = told({"files": [], "metrics": [(endpoint + path, metric)], "since": 0})
    assert value is None and words in trouble


def test_nobody_there(endpoint: str) -> None:
    ((value, trouble),) = told({"files": [], "metrics": [("http://127.0.0.1:1/", "t")], "since": 0})
    assert (value, trouble) == (None, "cannot read http://127.0.0.1:1/: Connection refused")


@pytest.mark.parametrize("lines", ["t{", "t x\n", "t{a=b} 1\n"])
def test_lines_that_are_no_metrics_are_refused(lines: str) -> None:
    with pytest.raises(ValueError):
        summed(lines, "t")


def test_the_program_answers_in_json_and_imports_little(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"n": 1}')
    wanted = json.dumps({"files": [["m.json", "n", False]], "metrics": [], "since": 0})
    command = [sys.executable, "-I", "-X", "importtime", "-m", "rdagentd.look", "told", wanted]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[1.0, ""]]
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "json" in imported and not {"attrs", "msgpack", "asyncio", "prometheus_client"} & imported
