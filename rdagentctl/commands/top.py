"""rdagentctl top: watches workers live."""

from __future__ import annotations

import os
import sys

from rdagentctl.failure import UsageError
from rdagentctl.selection import select
from rdagentctl.top import glyphs
from rdagentctl.top.board import Board
from rdagentctl.top.scene import Scene

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments

INTERVAL = 2.0
"""Seconds between two pictures."""

_LEAST = 0.2


def run(client: Client, arguments: Arguments) -> int:
    """The exit code; 130 after ctrl-C."""
    chosen, interval, number = select(arguments), arguments.seconds("interval"), arguments.number("number")
    if interval is not None and interval < _LEAST:
        raise UsageError(f"cannot draw every {interval:g} s: {_LEAST:g} is the least")
    scene = Scene(Board(arguments.text("sort") or "state"), INTERVAL if interval is None else interval)
    once = arguments.flag("once")
    if once or arguments.flag("batch") or arguments.flag("json") or number is not None:
        from rdagentctl.top import batch

        plain = glyphs.of_terminal()
        return batch.run(client, chosen, scene, plain, number=1 if once else number, as_json=arguments.flag("json"))
    _check_terminal()
    client.call("ping")  # what keeps us from the daemon is said in the ordinary way, before the screen is taken
    client.call("status", {"select": chosen})
    client.close()
    return _watch(client.path, chosen, scene)


def _check_terminal() -> None:
    """Raises UsageError where no picture can be drawn."""
    instead = "rdagentctl top --once prints one picture, --batch one after the other"
    for name, file in (("input", sys.stdin), ("output", sys.stdout)):
        if file is None or not file.isatty():
            raise UsageError(f"cannot draw: standard {name} is no terminal; {instead}")
    term = os.environ.get("TERM") or "dumb"
    if term in ("dumb", "unknown"):
        raise UsageError(f"cannot draw: the terminal is said to have no screen (TERM={term}); {instead}")


def _watch(path: str, chosen: dict[str, object], scene: Scene) -> int:
    from rdagentctl.link import Link
    from rdagentctl.top.app import App
    from rdagentctl.top.screen import Screen
    from rdagentctl.top.signals import Signals

    shown = glyphs.of_terminal()
    screen = Screen(sys.stdin.fileno(), sys.stdout.fileno(), shown)
    with Signals() as signals:
        try:
            screen.enter()
            return App(Link(path), chosen, scene, screen=screen, signals=signals, glyphs=shown).run()
        finally:
            screen.leave()
