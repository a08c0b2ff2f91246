"""Which workers are meant, and what a command over several of them came to."""

from __future__ import annotations

import sys
import time

from rdagentctl import render
from rdagentctl.client import resume
from rdagentctl.failure import Failure
from rdagentd.protocol.errors import EXIT_FAILED, EXIT_OF_CODE, EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

LIVE = ("starting", "running", "paused", "stopping")
"""States in which a worker has a process."""


REACHED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "running": lambda row: row["state"] == "running",
    "healthy": lambda row: row["health"] == "healthy",
    "ready": lambda row: bool(row.get("ready")),
}
"""Whether a worker is what is waited for, where that is no end."""


def select(arguments: Arguments, names: list[str] | None = None) -> dict[str, Any]:
    """The `select` of a request: names and globs as typed, and labels."""
    return {"names": arguments.words if names is None else names, "labels": arguments.pairs("label")}


def act(client: Client, arguments: Arguments, until: str = "", names: list[str] | None = None, **more: Any) -> int:
    """Carries out the command over the selection and tells what came of it; with --wait, once it is `until`."""
    verb = arguments.command.name
    timeout = arguments.seconds("timeout") if until else None
    answer = client.call(verb, {"select": select(arguments, names), **more})
    workers = answer["workers"]
    code = EXIT_OK
    if until and arguments.flag("wait"):
        moved = [worker["name"] for worker in workers if not worker.get("error")]
        chosen = {"names": moved, "labels": {}}
        rows = {row["name"]: row for row in wait(client, chosen, until, timeout, verb)} if moved else {}
        workers = [{**worker, **_of_row(rows.get(worker["name"]))} for worker in workers]
        if until == "running" and any(row["state"] == "failed" for row in rows.values()):
            code = EXIT_FAILED
    if arguments.flag("json"):
        render.show_json({"workers": workers})
    else:
        _tell(verb, workers)
    errors = [worker["error"] for worker in workers if worker.get("error")]
    return EXIT_OF_CODE.get(errors[0]["code"], EXIT_FAILED) if errors else code


def wait(
    client: Client, chosen: dict[str, Any], until: str, timeout: float | None, what: str = "wait"
) -> list[dict[str, Any]]:
    """Rows of the workers once all of them are `until`: rest, running, healthy, ready. Raises Failure after `timeout` seconds.

    Somebody at a terminal sees how far it is; what: what is done, for them.
    """
    watched = sys.stderr.isatty()
    deadline = None if timeout is None else time.monotonic() + timeout

    def once() -> list[dict[str, Any]]:
        if watched:
            from rdagentctl import progress

            if progress.wanted():
                return progress.attend(client, what, chosen, until, deadline)
        left = None if deadline is None else deadline - time.monotonic()
        rows: list[dict[str, Any]] = client.call("wait", {"select": chosen, "until": until}, within=left)
        return rows

    try:
        return resume(client, once)
    except TimeoutError:
        client.close()
        rows = client.call("status", {"select": chosen})
        there = [REACHED[until](row) if until in REACHED else row["state"] not in LIVE for row in rows]
        how = [(until == "healthy" and row["health"]) or row["state"] for row in rows]
        late = [f"{row['name']} is {is_so}" for row, is_so, ok in zip(rows, how, there, strict=True) if not ok]
        told = ", ".join(map(render.plain, late[:5])) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
        raise Failure(f"cannot wait any longer: {render.ago(timeout or 0)} are over, but {told or 'not all'}") from None


def _of_row(row: dict[str, Any] | None) -> dict[str, Any]:
    return {key: row[key] for key in ("state", "want", "reason")} if row else {}


def _tell(verb: str, workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        name = render.plain(worker["name"])
        if worker.get("error"):
            sys.stdout.flush()
            print(render.plain(worker["error"]["message"]), file=sys.stderr)
            continue
        state = "removed" if verb == "remove" and worker.get("state") in (None, "removed") else worker.get("state")
        reason = worker.get("reason")
        why = f" ({render.plain(reason['text'])})" if reason else ""
        print(f"{name}: {'' if worker.get('changed', True) else 'already '}{state}{why}")
