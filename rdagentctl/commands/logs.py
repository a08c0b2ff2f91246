"""rdagentctl logs: shows a worker's output."""

from __future__ import annotations

import time

from rdagentctl.failure import UsageError
from rdagentctl.output import JsonLines, Lines, Sink, copy
from rdagentctl.times import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    request: dict[str, Any] = {
        "name": arguments.words[0],
        "stream": arguments.text("stream") or "out",
        "run": _run(arguments.text("run")),
        "since": point("--since", arguments.text("since")),
        "until": point("--until", arguments.text("until")),
        "tail": arguments.number("tail"),
        "follow": arguments.flag("follow"),
    }
    if request["since"] is not None and request["since"] > time.time():
        raise UsageError(f"cannot show logs since {arguments.text('since')}: that is to come")
    copy(client, [request], [_sink(arguments, request["stream"])])
    return 0


def _sink(arguments: Arguments, stream: str) -> Sink:
    wanted = _wanted(arguments.text("grep"), invert=arguments.flag("invert"))
    if arguments.flag("json"):
        return JsonLines(stream, wanted or (lambda _: True))
    return Lines(stream, wanted) if wanted else Sink(stream)


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
