"""The loop: one connection, one terminal, and pictures of what is known. Nothing in it waits for the daemon."""

from __future__ import annotations

import os
import select
import signal
import termios
import time

from rdagentctl import render
from rdagentctl.failure import UnreachableError
from rdagentctl.link import END, ERROR, ITEM, RESULT, Link
from rdagentctl.render import BOLD, RED
from rdagentctl.selection import LIVE
from rdagentctl.top import deeds
from rdagentctl.top.draw import picture, window_height
from rdagentctl.top.host import Host
from rdagentctl.top.keys import Keys
from rdagentctl.top.pane import LogPane
from rdagentctl.top.signals import LEAVE, end_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any

    from rdagentctl.top.glyphs import Glyphs
    from rdagentctl.top.scene import Scene
    from rdagentctl.top.screen import Screen
    from rdagentctl.top.signals import Signals

SOON = 0.5
"""Seconds after which a second sample of new workers is taken, so that their rates need not wait for the next refresh."""

RETRY = 0.5
"""Seconds between two attempts to reach a daemon that went away."""

SILENCE = 5.0
"""Seconds without an answer after which the daemon is said not to answer."""

_FRAME = 0.1
"""Least seconds between two pictures that no key asked for."""

_ESCAPE_WAITS = 0.05
"""Seconds after which an escape is the key, and not the beginning of a sequence."""

_TAIL = 1000
"""Lines of output to begin with."""

_STREAMS = ("out", "err")

_HUNG_UP = 128 + signal.SIGHUP


class App:
    """chosen: the `select` of the workers that are looked at. Returns from `run` with the exit code."""

    def __init__(  # noqa: PLR0913 -- the parts of the whole
        self, link: Link, chosen: dict[str, Any], scene: Scene, *, screen: Screen, signals: Signals, glyphs: Glyphs
    ) -> None:
        self._link = link
        self._chosen = chosen
        self._scene = scene
        self._screen = screen
        self._signals = signals
        self._glyphs = glyphs
        self._keys = Keys()
        self._host = Host()
        self._pids: dict[str, int | None] = {"daemon": None, "executor": None}
        self._due = self._retry = self._draw = 0.0
        self._drawn = self._heard = self._connected = 0.0
        self._code: int | None = None

    def run(self) -> int:
        """Until the person leaves, or the terminal does. Raises Failure if it is no rdagentd that answers."""
        try:
            while self._code is None:
                now = time.monotonic()
                self._keep_up(now)
                if now >= self._draw:
                    self._picture(now)
                self._wait()
        except (OSError, termios.error):  # of the link's nothing comes here, so it is the terminal that is gone
            return _HUNG_UP
        finally:
            self._link.close()
        return self._code

    # --- time ---------------------------------------------------------------------------------------------------------

    def _keep_up(self, now: float) -> None:
        """What is due."""
        try:
            if not self._link.connected and now >= self._retry:
                self._connect(now)
            if now >= self._due:
                self._refresh(now)
        except UnreachableError as error:
            self._lose(error, now)

    def _connect(self, now: float) -> None:
        try:
            self._link.connect()
        except UnreachableError as error:
            self._away(error, now)
            return
        self._connected = self._heard = now
        self._link.ask("version", "version")
        pane = self._scene.pane
        if isinstance(pane, LogPane):
            pane.open.clear()
            self._follow(pane)
        self._due = now

    def _lose(self, error: UnreachableError, now: float) -> None:
        """A connection that ends is made again at once, unless it was just made."""
        self._scene.question = None
        self._retry = now
        if now - self._connected < RETRY:
            self._away(error, now)

    def _away(self, error: UnreachableError, now: float) -> None:
        self._retry = now + RETRY
        reason = str(error).partition(". Start it")[0].removeprefix(f"cannot reach rdagentd at {self._link.path}: ")
        self._say_gone(reason, now)

    def _say_gone(self, why: str, now: float) -> None:
        if not self._scene.gone:
            self._scene.since = now
        self._scene.gone = why
        self._draw = now

    def _refresh(self, now: float) -> None:
        """Asks for what a new picture needs; nothing twice while an answer is still to come."""
        scene, link = self._scene, self._link
        self._due = now + (scene.interval if link.connected else 1.0)
        self._draw = min(self._draw, now + _FRAME)
        scene.host = self._host.look(self._pids)
        scene.board.meter.forget(now - max(3 * scene.interval, SILENCE))
        if not link.connected:
            return
        if link.asked("ping") and now - self._heard > SILENCE:
            self._say_gone("it takes requests and says nothing", now)
        self._ask_once("ping", "ping")
        self._ask_once("status", "status", {"select": self._chosen})
        self._ask_usage()
        pane = scene.pane
        if pane is not None and pane.kind == deeds.WHY:
            self._ask_once(("why", pane.name), "why", {"select": _only(pane.name)})

    def _ask_once(self, tag: Hashable, op: str, args: dict[str, Any] | None = None) -> None:
        if not self._link.asked(tag):
            self._link.ask(tag, op, args)

    # --- usage --------------------------------------------------------------------------------------------------------

    def _ask_usage(self) -> None:
        """Of what is to be seen alone, unless all are sorted by it."""
        if self._scene.board.column.needs_use:
            if any(row["state"] in LIVE for row in self._scene.board.rows):
                self._ask_once("usage", "usage", {"select": self._chosen})
            return
        names = self._visible()
        if names:
            self._ask_once("usage", "usage", {"select": {"names": names, "labels": {}}})

    def _visible(self) -> list[str]:
        """Workers on the screen that use something."""
        pane, board = self._scene.pane, self._scene.board
        if pane is not None:
            row = self._row(pane.name)
            return [pane.name] if row is not None and row["state"] in LIVE else []
        return [row["name"] for row, *_ in board.window(self._height()) if row["state"] in LIVE]

    def _look_at_new(self, now: float) -> None:
        """Workers that came into sight are measured at once, and soon again."""
        uses = self._scene.board.meter.uses
        if self._link.connected and any(name not in uses for name in self._visible()):
            self._ask_usage()
            self._due = min(self._due, now + SOON)

    def _row(self, name: str) -> dict[str, Any] | None:
        return next((row for row in self._scene.board.rows if row["name"] == name), None)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until something comes or is due, and deals with it."""
        poll = select.poll()
        poll.register(self._screen.keys, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        link = self._link.fileno() if self._link.connected else -1
        if link >= 0:
            poll.register(link, select.POLLIN | (select.POLLOUT if self._link.unsent else 0))
        until = min(self._due, self._draw, *(() if self._link.connected else (self._retry,)))
        timeout = max(0.0, until - time.monotonic())
        if self._keys.pending:
            timeout = min(timeout, _ESCAPE_WAITS)
        ready = dict(poll.poll(timeout * 1000 + 1))
        now = time.monotonic()
        try:
            if self._signals.fileno() in ready:
                self._signalled()
            if self._screen.keys in ready:
                self._typed(now)
            elif self._keys.pending:
                self._press(self._keys.flush(), now)
            if link in ready and self._link.connected and self._link.fileno() == link:
                self._link.flush()
                self._hear(now)
        except UnreachableError as error:
            self._lose(error, now)

    def _signalled(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGTSTP:
                self._screen.leave()
                self._signals.stop()
            if number in (signal.SIGTSTP, signal.SIGCONT):
                self._screen.enter()
                self._heard = self._due = time.monotonic()  # nobody listened meanwhile
            elif number in LEAVE:
                self._code = 128 + number
                if number != signal.SIGINT:
                    self._screen.leave()
                    end_by(number)
            else:
                self._screen.anew()
                self._look_at_new(time.monotonic())
            self._draw = 0.0

    def _typed(self, now: float) -> None:
        data = os.read(self._screen.keys, 4096)
        if not data:
            self._code = _HUNG_UP
            return
        self._press(self._keys.feed(data), now)

    def _press(self, keys: list[str], now: float) -> None:
        """What is pasted behind a key that asks does not answer the question."""
        self._draw = 0.0
        for key in keys:
            asked = self._scene.question
            deed = deeds.press(self._scene, key, self._height())
            if deed is not None:
                self._do(*deed, now)
            if self._code is not None or (self._scene.question is not None and asked is None):
                return
        self._look_at_new(now)

    def _do(self, deed: str, name: str, now: float) -> None:
        if deed == deeds.QUIT:
            self._code = 0
        elif deed == deeds.REDRAW:
            self._screen.anew()
        elif deed in (deeds.CLOSE, deeds.LOGS, deeds.WHY):
            for stream in _STREAMS:
                self._link.cancel(("logs", stream))
            self._due = now
            if isinstance(self._scene.pane, LogPane) and self._link.connected:
                self._follow(self._scene.pane)
        elif not self._link.connected:
            self._scene.said = ("rdagentd does not answer; nothing was done", RED)
        else:
            self._link.ask(("deed", deed, name), deed, {"select": _only(name)})

    def _follow(self, pane: LogPane) -> None:
        """Follows the output from where it was read up to; both streams, of which most workers have one."""
        for stream in _STREAMS:
            if stream in pane.open:
                continue
            pane.open.add(stream)
            pane.told_over = False
            offset = pane.offsets.get(stream)
            begin = {"tail": _TAIL} if offset is None else {"offset": offset}
            self._link.ask(("logs", stream), "logs", {"name": pane.name, "stream": stream, "follow": True, **begin})

    def _hear(self, now: float) -> None:
        for tag, kind, value in self._link.receive():
            self._heard = now
            if self._scene.gone:
                self._scene.gone, self._scene.said = "", None
            name = tag[0] if isinstance(tag, tuple) else tag
            _HEARD[str(name)](self, tag, kind, value, now)
            self._draw = min(self._draw, max(now, self._drawn + _FRAME))

    def _heard_ping(self, _tag: Any, kind: str, value: Any, now: float) -> None:
        if kind == RESULT:
            self._scene.told = value
            self._pids["daemon"] = value["pid"]
        else:
            self._complain(value)

    def _heard_version(self, _tag: Any, kind: str, value: Any, now: float) -> None:
        if kind == RESULT:
            self._pids["executor"] = (value["executor"] or {}).get("pid")

    def _heard_status(self, _tag: Any, kind: str, value: Any, now: float) -> None:
        self._scene.board.put(value if kind == RESULT else [])
        if kind != RESULT:
            self._complain(value)
        self._look_at_new(now)
        self._tend_log()

    def _tend_log(self) -> None:
        """Output that has ended goes on when its worker does; if it does not, that is said once."""
        pane = self._scene.pane
        row = self._row(pane.name) if isinstance(pane, LogPane) and not pane.open else None
        if row is None or not isinstance(pane, LogPane):
            return
        if deeds.is_live(row):
            self._follow(pane)
        else:
            pane.over(f"{pane.name} is {row['state']}")

    def _heard_usage(self, _tag: Any, kind: str, value: Any, now: float) -> None:
        if kind == RESULT:  # else one of them was just removed
            self._scene.board.use(now, value)

    def _heard_why(self, tag: Any, kind: str, value: Any, now: float) -> None:
        pane = self._scene.pane
        if pane is None or (pane.kind, pane.name) != tag:
            return
        pane.lines.clear()
        if kind == RESULT:
            pane.lines.extend((render.plain(sentence), "") for sentence in value[0]["sentences"])
        else:
            pane.lines.append((render.plain(value["message"]), RED))

    def _heard_logs(self, tag: Any, kind: str, value: Any, now: float) -> None:
        pane, stream = self._scene.pane, tag[1]
        if not isinstance(pane, LogPane):
            return
        if kind == ITEM and "dropped" in value:
            pane.gap(stream, value["dropped"], value["offset"])
        elif kind == ITEM:
            pane.take(stream, value["offset"], value["data"])
        elif kind == ERROR:
            pane.open.discard(stream)
            pane.note(value["message"])
        elif kind == END:
            pane.open.discard(stream)
            self._due = now

    def _heard_deed(self, tag: Any, kind: str, value: Any, now: float) -> None:
        worker = value["workers"][0] if kind == RESULT else {"error": value}
        if worker.get("error"):
            self._complain(worker["error"])
        else:
            reason = worker.get("reason")
            why = f" ({render.plain(reason['text'])})" if reason else ""
            already = "" if worker.get("changed", True) else "already "
            self._scene.said = (f"{tag[2]}: {already}{worker['state']}{why}", BOLD)
        self._due = now

    def _complain(self, error: dict[str, Any]) -> None:
        self._scene.said = (render.plain(error["message"]), RED)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _height(self) -> int:
        return window_height(self._scene, self._screen.size()[1], self._glyphs)

    def _picture(self, now: float) -> None:
        columns, rows = self._screen.size()
        self._screen.show(picture(self._scene, columns, rows, now, self._glyphs))
        self._drawn, self._draw = now, float("inf")


_HEARD = {
    "ping": App._heard_ping,
    "version": App._heard_version,
    "status": App._heard_status,
    "usage": App._heard_usage,
    "why": App._heard_why,
    "logs": App._heard_logs,
    "deed": App._heard_deed,
    "cancel": lambda *_: None,
}
"""What came, by the first word of its tag."""


def _only(name: str) -> dict[str, Any]:
    return {"names": [name], "labels": {}}
