"""rdagentctl logs: shows what workers wrote."""

from __future__ import annotations

import time

from rdagentctl.failure import UsageError
from rdagentctl.output import JsonLines, Lines, NamedLines, Sink, copy
from rdagentctl.selection import select
from rdagentctl.times import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

STREAMS = ("out", "err")


MOST_FOLLOWED = 200
"""Streams that one connection can follow at a time, with room below the 256 requests that the daemon takes of one."""


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    asked = request(arguments)
    names = _names(client, arguments)
    streams = STREAMS if asked["stream"] == "both" else (asked["stream"],)
    if asked["follow"] and len(names) * len(streams) > MOST_FOLLOWED:
        raise UsageError(f"cannot follow {len(names)} logs: at most {MOST_FOLLOWED} at a time; name fewer workers")
    pairs = [
        ({**asked, "name": name, "stream": stream}, _sink(arguments, name, stream, names))
        for name in names
        for stream in streams
    ]
    for some in [pairs] if asked["follow"] else [[pair] for pair in pairs]:
        copy(client, [one for one, _ in some], [sink for _, sink in some])
    return 0


def request(arguments: Arguments) -> dict[str, Any]:
    """What is asked of the daemon for each log, but for its name. Raises UsageError."""
    since = point("--since", arguments.text("since"))
    if since is not None and since > time.time():
        raise UsageError(f"cannot show logs since {arguments.text('since')}: that is to come")
    asked = {
        "stream": arguments.text("stream") or "out",
        "run": _run(arguments.text("run")),
        "since": since,
        "until": point("--until", arguments.text("until")),
        "tail": arguments.number("tail"),
        "follow": arguments.flag("follow"),
    }
    return {**asked, "runs": True} if arguments.flag("json") else asked


def _names(client: Client, arguments: Arguments) -> list[str]:
    """One name is taken as it is; for globs, groups, labels and several names the daemon is asked which workers these are."""
    words = arguments.words
    if len(words) == 1 and not arguments.options.get("label") and not set(words[0]) & set("*?[@"):
        return words
    return [row["name"] for row in client.call("status", {"select": select(arguments)})]


def _sink(arguments: Arguments, name: str, stream: str, names: list[str]) -> Sink:
    wanted = _wanted(arguments.text("grep"), invert=arguments.flag("invert"))
    if arguments.flag("json"):
        return JsonLines(stream, wanted or _every, name)
    if len(names) > 1:
        return NamedLines(stream, wanted or _every, name, max(map(len, names)))
    return Lines(stream, wanted) if wanted else Sink(stream)


def _every(line: bytes) -> bool:
    return True


def _run(text: str | None) -> str | int | None:
    """A run id, or a negative number that counts from the latest run."""
    return int(text) if text and text[0] == "-" and text[1:].isdecimal() else text


def _wanted(pattern: str | None, *, invert: bool) -> Callable[[bytes], bool] | None:
    if pattern is None:
        if invert:
            raise UsageError("cannot invert: --invert goes with --grep REGEX")
        return None
    import re

    try:
        search = re.compile(pattern.encode(errors="surrogateescape")).search
    except re.error as error:
        raise UsageError(f"cannot read --grep {pattern}: {error}") from None
    return lambda line: (search(line) is None) == invert
