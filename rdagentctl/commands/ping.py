"""rdagentctl ping: sees whether the daemon answers."""

from __future__ import annotations

import sys
import time

from rdagentctl import render
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


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
    problem = answer.get("problem")
    if problem:
        print(f"but it cannot keep what it promises: {render.plain(problem)}", file=sys.stderr)
    return EXIT_FAILED if problem else EXIT_OK
