"""What tests do to RD-Agent's API, be it ours or the reference's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from attrs import frozen

from tests.gateway.client import Answer, LiveGateway, ask
from tests.harness import DEADLINE, LiveDaemon, eventually


def form(fields: dict[str, str], files: list[tuple[str, bytes]] = ()) -> tuple[bytes, dict[str, str]]:  # type: ignore[assignment]
    """A multipart body and its headers; files: names and contents, all in the field `files`."""
    mark = uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    for name, content in files:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{mark}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={mark}"}


class Api:
    """A server of RD-Agent's API at `url`. headers: sent with everything."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self.headers = headers or {}

    def get(self, path: str) -> Answer:
        return ask(self.url, path, headers=self.headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return ask(self.url, path, "POST", body, {**self.headers, **(headers or {})})

    def upload(self, fields: dict[str, str], *files: tuple[str, bytes]) -> Answer:
        body, headers = form(fields, list(files))
        return self.post("/upload", body, headers)

    def launched(self, competition: str) -> str:
        """Id of a trace of Data Science."""
        answer = self.upload({"scenario": "Data Science", "competition": f"MLE-Bench:{competition}"})
        assert answer.status == 200, answer.text
        return str(answer.json["id"])

    def trace(self, called: str, **more: Any) -> list[dict[str, Any]]:
        """Messages, all of them unless said otherwise."""
        answer = self.post("/trace", {"id": called, "all": True, "reset": True, **more})
        assert answer.status == 200, answer.text
        return list(answer.json)

    def tags(self, called: str, **more: Any) -> list[str]:
        return [message["tag"] for message in self.trace(called, **more)]

    def path(self, called: str) -> str:
        """What RD-Agent calls the trace when it sends a message."""
        raise NotImplementedError

    def control(self, called: str, action: str) -> Answer:
        return self.post("/control", {"id": called, "action": action})

    def stdout(self, called: str) -> Answer:
        return self.get(f"/stdout?id={quote(called)}")

    def ended(self, called: str, within: float = DEADLINE) -> dict[str, Any]:
        """Content of END, once it is there; within: seconds."""
        last = eventually(
            lambda: [m for m in self.trace(called, client="waiter")[-1:] if m["tag"] == "END"],
            f"END of {called}",
            within,
        )
        return dict(last[0]["content"])

    def began(self, called: str) -> None:
        """Waits for the first message."""
        eventually(lambda: self.trace(called, client="waiter"), f"a message of {called}")


@frozen
class Site(Api):
    """Ours: the daemon, and the gateway before it."""

    daemon: LiveDaemon
    gateway: LiveGateway

    @property
    def url(self) -> str:  # type: ignore[override]
        return self.gateway.url

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]
        return {}

    def row(self, called: str) -> dict[str, Any]:
        """The worker behind a trace."""
        rows = self.daemon.connect().status()
        return next(row for row in rows if row["labels"].get("rd-agent-id") == called)

    def path(self, called: str) -> str:
        return str(self.row(called)["labels"]["trace"])


def compact(answer: Answer) -> str:
    """An answer on one line: its status, and its body if that is JSON."""
    if answer.headers.get("content-type", "").startswith("application/json"):
        return f"{answer.status} {json.dumps(answer.json)}"
    return f"{answer.status} ({answer.headers.get('content-type', 'nothing').partition(';')[0]})"
