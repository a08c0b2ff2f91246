"""rdagentctl run: submits a command, shows its output, exits as it did."""

from __future__ import annotations

import signal
import sys

from rdagentctl import render
from rdagentctl.client import resume
from rdagentctl.ends import exit_code
from rdagentctl.given import profile, spec
from rdagentctl.output import JsonLines, Sink, copy
from rdagentctl.selection import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

_INSIST = ("stop", "kill")
"""What the first and the second interrupt ask for; the third only ends rdagentctl."""


def run(client: Client, arguments: Arguments) -> int:
    """The worker's own exit code; 0 if it was left running."""
    given = spec(arguments, profile(arguments, client))
    separate = given.get("log", {}).get("separate") is True
    answer = _submit(client, given)
    name = answer["name"]
    if sys.stderr.isatty():
        print(f"{render.plain(name)}: {answer['state']}", file=sys.stderr)
    streams = ("out", "err") if separate else ("out",)
    with_runs = {"runs": True} if arguments.flag("json") else {}
    requests: list[dict[str, Any]] = [
        {"name": name, "stream": stream, "follow": True, **with_runs} for stream in streams
    ]
    pulls = given.get("driver") == "docker" and sys.stderr.isatty()
    if not _follow(client, arguments, requests, pulls=pulls):
        return 0
    row = resume(client, lambda: client.call("status", {"select": {"names": [name], "labels": {}}}))[0]
    if arguments.flag("json"):
        render.show_json(row, stream=True)
    elif not row["exit"] or row["exit"]["kind"] != "code":
        print(f"{render.plain(name)}: {render.ending(row['exit']) or row['state']}", file=sys.stderr)
    return exit_code(row)


def _submit(client: Client, given: dict[str, Any]) -> Any:
    """The answer. An interrupt in between is kept for later: the worker may be there already, and somebody must decide."""
    held = []

    def hold(*_: object) -> None:
        held.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one means: do not wait for the daemon

    signal.signal(signal.SIGINT, hold)
    answer = client.call("submit", {"spec": given, "start": True})
    client.interrupted = bool(held)
    return answer


def _follow(client: Client, arguments: Arguments, requests: list[dict[str, Any]], *, pulls: bool) -> bool:
    """Shows the output until the worker is at rest; False if the person left it running.

    pulls: before there is any, an image may have to come, and somebody looks on.
    """
    name = requests[0]["name"]
    files = {"out": sys.stdout.buffer, "err": sys.stderr.buffer}
    as_json = arguments.flag("json")
    sinks = [
        JsonLines(request["stream"], lambda _: True, name)
        if as_json
        else Sink(request["stream"], files[request["stream"]])
        for request in requests
    ]
    insisted = 0
    while True:
        try:
            if pulls and not client.interrupted:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                wait(client, {"names": [name], "labels": {}}, "running", None, f"start {name}")
            # an interrupt is raised only while nothing is under way, so that no output is lost or shown twice
            signal.signal(signal.SIGINT, client.interrupt)
            copy(client, requests, sinks)
            return True
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            client.interrupted = False
            client.close()
        try:
            decision = "stop" if insisted else _decide(arguments, name)
        except KeyboardInterrupt:  # impatient
            decision = "stop"
        if decision == "leave":
            print(f"{name} runs on; its output: rdagentctl logs -f {name}", file=sys.stderr)
            return False
        if decision == "stop":
            if insisted == len(_INSIST):
                raise KeyboardInterrupt
            verb = _INSIST[insisted]
            insisted += 1
            print(f"{name}: {verb} is asked for", file=sys.stderr)
            client.call(verb, {"select": {"names": [name], "labels": {}}})


def _decide(arguments: Arguments, name: str) -> str:
    """What is to become of the worker: stop, leave or go."""
    if arguments.flag("detach-on-interrupt"):
        return "leave"
    if arguments.flag("stop-on-interrupt") or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "stop"
    words = {"s": "stop", "l": "leave", "g": "go"}
    for _ in range(10):
        print(f"\n{name} still runs: (s)top it, (l)eave it running, (g)o on watching? ", end="", file=sys.stderr)
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:  # the terminal is gone
            return "leave"
        if answer.strip()[:1].lower() in words:
            return words[answer.strip()[:1].lower()]
    return "leave"
