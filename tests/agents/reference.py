"""RD-Agent 1.0.0's own server, run by its own Python; instead of RD-Agent a process that ends at once (quick), or waits."""

import contextlib
import os
import random
import socket
import time

import rdagent.log.server.app as server


def run(task: server.RDAgentTask) -> None:
    """What a task does. Its output is a file from the beginning, as RDAgentTask._run has it."""
    os.makedirs(os.path.dirname(task.stdout_path), exist_ok=True)
    with open(task.stdout_path, "w") as file:
        file.write("output\n")
    if "quick" not in task.trace_name:
        post(task, {"tag": "research.hypothesis", "timestamp": "", "content": {}})
        time.sleep(1000)


def post(task: server.RDAgentTask, message: dict) -> None:
    import requests

    headers = {"Authorization": f"Bearer {server.app.config['AUTH_TOKEN']}"}
    body = {"id": task.log_trace_path, "msg": message}
    requests.post(f"http://127.0.0.1:{task.ui_server_port}/receive", json=body, headers=headers, timeout=60)


server.RDAgentTask._run = run
port = 0
while not port:
    with socket.socket() as free, contextlib.suppress(OSError):
        free.bind(("127.0.0.1", random.randrange(20000, 32700)))  # below those that the kernel gives to whoever asks
        port = free.getsockname()[1]
print(port, flush=True)
server.main(port=port)
