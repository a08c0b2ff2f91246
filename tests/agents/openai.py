"""An OpenAI server for tests: it answers chats from the JSON schema of the request, and embeddings with the same vector."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

CODE = """```python
import csv, os, time
print("Section: data loading and preprocessing")
print("=== Start of EDA part ===\\nTwo rows, two columns.\\n=== End of EDA part ===")
time.sleep(SECONDS)
os.makedirs("models", exist_ok=True)
with open("submission.csv", "w", newline="") as file:
    csv.writer(file).writerows([["id", "target"], [1, 0], [2, 1]])
with open("scores.csv", "w", newline="") as file:
    csv.writer(file).writerows([["", "text"], ["model", 0.5], ["ensemble", 0.5]])
print("debug_time: 1\\nestimated_time: 1")
```"""
"""A whole data_science pipeline as RD-Agent wants it; the metric is called as everything here is called: text."""


def instance(schema: dict[str, Any], defs: dict[str, Any]) -> Any:
    """The plainest value that a JSON schema allows: true, the first of an enumeration, one of each list."""
    if "$ref" in schema:
        return instance(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for one in ("anyOf", "allOf", "oneOf"):
        if one in schema:
            return instance(schema[one][0], defs)
    kind = schema.get("type")
    if kind == "object":
        extra = schema.get("additionalProperties")
        made = {key: instance(value, defs) for key, value in schema.get("properties", {}).items()}
        return made or ({"key": instance(extra, defs)} if isinstance(extra, dict) else {})
    if kind == "array":
        return [instance(schema.get("items", {"type": "string"}), defs)]
    return {"boolean": True, "integer": 1, "number": 1.0, "null": None}.get(str(kind), "text")


def _plainest(key: str, how: str) -> Any:
    """Yes to what is asked yes or no, but for whether it should be tuned and run again."""
    if "yes or no" in how:
        return "yes"
    return "tuning" not in key if re.search("true|boolean", how, re.IGNORECASE) else "text"


def answer(request: dict[str, Any], seconds: float) -> str:
    """What the model says; the program that it writes takes so many seconds."""
    wanted = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return json.dumps(instance(schema, schema.get("$defs", {})))
    asked = str(request["messages"][0]["content"]).rpartition("```json")[2]
    if wanted.get("type") == "json_object":
        described = re.findall(r'"([A-Za-z_ ]+)"\s*:([^\n]*)', asked)  # by an example in the prompt
        return json.dumps({key: _plainest(key, how) for key, how in described})
    return CODE.replace("SECONDS", str(seconds))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner: OpenAI = self.server.owner  # type: ignore[attr-defined]
        owner.asked += 1
        if self.path.endswith("/embeddings"):
            inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
            data = [{"object": "embedding", "index": n, "embedding": [0.1] * 8} for n in range(len(inputs))]
            self._send({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
            return
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message = {"role": "assistant", "content": answer(request, owner.seconds) + "\t \n" * owner.blanks}
        time.sleep(owner.thinks)
        if request.get("stream"):
            chunks = [{"delta": message, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
            base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
            lines = [json.dumps({**base, "choices": [{"index": 0, **chunk}]}) for chunk in chunks]
            body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
            self._reply(body, "text/event-stream")
            return
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send({"id": "1", "object": "chat.completion", "created": 0, "model": request["model"],
                    "choices": [choice], "usage": usage})  # fmt: skip

    def _send(self, body: dict[str, Any]) -> None:
        self._reply(json.dumps(body).encode(), "application/json")

    def _reply(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """It is quiet."""


class OpenAI:
    """The server, on a port of its own, while it is entered. asked: how many requests came.

    seconds: how long the programs take that it writes. thinks: seconds until it answers.
    blanks: tokens that say nothing at the end of each answer: litellm tells the cost by the text.
    """

    seconds = 0.0
    blanks = 0
    thinks = 0.0

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.asked = 0
        self._server.owner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
