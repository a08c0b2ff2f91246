"""Stands for RD-Agent in tests: sends messages as WebStorage of RD-Agent 1.0.0 does, and does what the competition says.

quick: two messages, then the end. fails: exit code 3. waits: one message, then nothing, until the second SIGINT.
general_model FILE: one message with what is in the file.
"""

import json
import os
import signal
import sys
import time
import urllib.request

TRACE, PORT = os.environ["LOG_TRACE_PATH"], os.environ["LOG_UI_SERVER_PORT"]


def send(tag: str, content: object) -> None:
    message = {"id": TRACE, "msg": {"tag": tag, "timestamp": "2026-01-01T00:00:00+00:00", "content": content}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/receive", json.dumps(message).encode(), {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=60).read()
    except OSError as error:
        print("Failed to connect to the web storage server:", error, flush=True)


def wait() -> None:
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(1) if not asked else sys.exit(130))
    print("waiting", flush=True)
    while True:
        time.sleep(1000)


print(
    "words", json.dumps(sys.argv[1:]), "in", os.getcwd(), "ticket", os.environ.get("RDAGENTD_UPLOAD_TOKEN"), flush=True
)
competition = sys.argv[sys.argv.index("--competition") + 1] if "--competition" in sys.argv else sys.argv[1]
if competition == "general_model":
    with open(sys.argv[2], encoding="utf-8") as file:
        send("research.pdf_image", {"image": file.read()})
else:
    send("research.hypothesis", {"hypothesis": competition})
if competition == "waits":
    wait()
elif competition == "fails":
    sys.exit(3)
else:
    send("feedback.metric", {"result": "{}"})
