"""rdagentctl ping: sees whether the daemon answers."""

from __future__ import annotations

import os
import sys
import time

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


TOLD = "/run/rdagentd-gateway/gateway.json"
"""Where the system's gateway tells its addresses. One of `rdagentd up` does so beside the control socket."""


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    begin = time.perf_counter()
    answer = client.call("ping")
    took = time.perf_counter() - begin
    if arguments.flag("json"):
        render.show_json(answer)
    else:
        print(
            f"rdagentd {render.plain(answer['version'])} answers in {took * 1000:.1f} ms: "
            f"pid {answer['pid']}, up {render.ago(answer['uptime'])}"
        )
        for url in _pages(client.path):
            print(f"its page: {render.plain(url)}")
    problem = answer.get("problem")
    if problem:
        print(f"but it cannot keep what it promises: {render.plain(problem)}", file=sys.stderr)
    return EXIT_FAILED if problem else EXIT_OK


def _pages(socket: str) -> Iterator[str]:
    """Where a gateway that lives listens first. What is not told, or not as it should be, is passed over."""
    directory = os.path.dirname(socket)
    try:
        with open(TOLD if directory == "/run/rdagentd" else os.path.join(directory, "gateway.json")) as file:
            import json  # 6.6 ms; only where a gateway is

            told = json.load(file)
        if os.path.exists(f"/proc/{told['pid']:d}"):
            yield str(told["urls"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return
