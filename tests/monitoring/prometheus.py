"""Debian's Prometheus before a live gateway, hurried; and who it tells of alerts."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import re
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.harness import DEADLINE, eventually, free_port
from tests.monitoring.rules import DOCUMENT, ETC, seconds

HURRY = 60
"""The tests' minute is a second: so many times shorter is each duration of the shipped rules. The rest stays."""


SCRAPE, JUDGE = "1500ms", "500ms"
"""How often it scrapes and evaluates rules. It waits as long for an answer, which may be slow here."""


PATIENCE = 2 * DEADLINE
"""Seconds that an alert may take: the five that trouble has to last begin anew whenever a program stands still."""


def hurried(duration: str) -> str:
    """A duration of Prometheus, shortened."""
    return f"{seconds(duration) * 1000 // HURRY}ms"


def hurried_rules() -> dict[str, Any]:
    """The shipped rules, with each `for` and range shortened; and the silence of RdagentdWorkerStalled, a duration too."""
    document = copy.deepcopy(DOCUMENT)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\d+[smhd])\]", lambda found: f"[{hurried(found[1])}]", rule["expr"])
            if "for" in rule:
                rule["for"] = hurried(rule["for"])
            if rule["alert"] == "RdagentdWorkerStalled":
                rule["expr"], changed = re.subn(r"\b1800\b", str(1800 / HURRY), rule["expr"])
                assert changed == 1
    return document  # type: ignore[no-any-return]


class Alertmanager:
    """Takes what Prometheus posts, and wakes who waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alerts: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                manager._take(json.loads(body))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _take(self, alerts: list[dict[str, Any]]) -> None:
        with self._changed:
            for alert in alerts:
                self._alerts[frozenset(alert["labels"].items())] = alert
            self._changed.notify_all()

    def firing(self, name: str, **labels: str) -> dict[str, Any]:
        """Waits until such an alert fires; its texts are whole."""
        alert = self._until(lambda alert: not _over(alert), "fire", name, labels)
        assert not re.search(r"<error|<no value|\[no value", str(alert["annotations"])), alert["annotations"]
        return alert

    def resolved(self, name: str, **labels: str) -> dict[str, Any]:
        """Waits until it, which fired, was told to be over."""
        return self._until(_over, "resolve", name, labels)

    def quiet(self, but: str) -> None:
        """Waits until no other alert fires, except of a disk of this host that is full by itself."""
        allowed = {but, "RdagentdHostDiskFull"}
        with self._changed:
            assert self._changed.wait_for(lambda: self._firing() <= allowed, PATIENCE), f"firing: {self._firing()}"

    def _firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self._alerts.values() if not _over(alert)}

    def _until(
        self, condition: Callable[[dict[str, Any]], bool], what: str, name: str, labels: dict[str, str]
    ) -> dict[str, Any]:
        wanted = {"alertname": name, **labels}.items()

        def found() -> dict[str, Any] | None:
            alerts = (alert for key, alert in self._alerts.items() if key >= wanted and condition(alert))
            return next(alerts, None)

        with self._changed:
            alert = self._changed.wait_for(found, PATIENCE)
        assert alert, f"waited in vain for {dict(wanted)} to {what}; firing: {self._firing()}"
        return alert

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _over(alert: dict[str, Any]) -> bool:
    """A firing alert is told with an end that lies ahead, in case Prometheus dies."""
    return datetime.fromisoformat(alert["endsAt"]).timestamp() <= time.time()


class Prometheus:
    """Scrapes one target by the shipped configuration, with the rules hurried."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manager = Alertmanager()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, target: str, scheme: str = "http", **job: Any) -> None:
        """Returns once it has scraped the target ("host:port") for the first time. job: what is to be added to the job."""
        targets = [{"targets": [target], "labels": {"__scheme__": scheme}}]
        (self.directory / "targets.yml").write_text(yaml.safe_dump(targets))
        (self.directory / "rules.yml").write_text(yaml.safe_dump(hurried_rules(), width=10**6))
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(self._configuration(job)))
        self.port = free_port()  # Prometheus tells nobody which port it chose
        command = [
            "prometheus",
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--rules.alert.resend-delay=1s",
            "--log.level=warn",
        ]
        with (self.directory / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: self._ready() and self.query("up == 1"), "Prometheus to have scraped rdagentd")

    def _configuration(self, more: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((ETC / "prometheus" / "prometheus.yml").read_text())
        document["rule_files"] = [str(self.directory / "rules.yml")]
        [job] = document["scrape_configs"]
        job |= more
        job["scrape_interval"] = job["scrape_timeout"] = SCRAPE
        job["file_sd_configs"] = [{"files": [str(self.directory / "targets.yml")]}]
        document["global"] = {"evaluation_interval": JUDGE}
        document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self.manager.address]}]}]}
        return document

    def _ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "prometheus.log").read_text()
        with contextlib.suppress(ConnectionError):
            return self._get("/-/ready")[0] == 200
        return False

    def _get(self, path: str, **query: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path + "?" + urllib.parse.urlencode(query))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API."""
        status, body = self._get(f"/api/v1/{path}", **query)
        assert status == 200, body.decode()
        return json.loads(body)["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        """What it says now."""
        result: list[dict[str, Any]] = self.ask("query", query=query)["result"]
        return result

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(DEADLINE)
        self.manager.close()


@contextlib.contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Does it again and again, at most four times a second, until the block is left."""
    over = threading.Event()
    failed: list[BaseException] = []

    def repeat() -> None:
        try:
            while not over.wait(0.25):
                action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
