"""How far long work is: one line on standard error, where that is a terminal, and gone at the end."""

from __future__ import annotations

import os
import select
import sys
import time

from rdagentctl import render
from rdagentctl.link import ERROR, ITEM, RESULT, Link
from rdagentctl.selection import LIVE, REACHED
from rdagentctl.top.glyphs import of_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, TextIO

    from rdagentctl.client import Client
    from rdagentctl.top.glyphs import Glyphs

SHORT = 0.3
"""Seconds of work that need no line."""

_OFTEN = 0.2
"""Least seconds between two looks at the workers; they are looked at when something happened to them."""

_BACK = 5.0
"""Seconds: what was told of an image so long before we listened is still news."""

_WIDTH = 24


def wanted() -> bool:
    """Whether somebody sees it."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")


def line(what: str, done: int, total: int, took: float, glyphs: Glyphs) -> str:
    """Such as "stop ██████░░░░ 600 of 1000, 12s"; without a bar where there is one thing to do."""
    part = _WIDTH * done // max(1, total)
    far = f" {glyphs.full * part}{glyphs.empty * (_WIDTH - part)} {done} of {total}" if total > 1 else ""
    return f"{what}{far}, {render.ago(took)}"


class Bar:
    """The line; a context that removes it."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stderr
        self._glyphs = of_terminal()
        self._shown = ""
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def show(self, what: str, done: int, total: int, note: str = "") -> None:
        """Says how far it is."""
        took = time.monotonic() - self._began
        if took >= SHORT:
            text = line(what, done, total, took, self._glyphs) + (f": {note}" if note else "")
            self._write(render.fit(self._glyphs.text(text), self._columns() - 1, self._glyphs.cut))

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._file.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        if text != self._shown:
            self._shown = text  # first: whoever interrupts the writing finds it on the screen
            self._file.write(f"\r{text}\x1b[K")
            self._file.flush()


def attend(
    client: Client, what: str, chosen: dict[str, Any], until: str, deadline: float | None
) -> list[dict[str, Any]]:
    """What the operation `wait` answers, with a line that tells how many of the workers are there, and of images that come.

    deadline: monotonic. Raises TimeoutError then, Failure as `Client.call` does; `client` notes that the daemon was there.
    """
    watch = _Watch(client, what, chosen, until)
    with Bar() as bar:
        try:
            while watch.rows is None:
                watch.look()
                bar.show(what, watch.done, watch.total, watch.note)
                left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
                if left <= 0:
                    raise TimeoutError
                watch.hear(left)
            return watch.rows
        finally:
            watch.link.close()


class _Watch:
    """What is known while waiting. rows: the answer, once it is there."""

    def __init__(self, client: Client, what: str, chosen: dict[str, Any], until: str) -> None:
        self._client = client
        self._chosen = chosen
        self._until = until
        self._news = True
        self._looked = 0.0
        self._began = time.time()
        self.rows: list[dict[str, Any]] | None = None
        self.done, self.total, self.note = 0, 1, ""
        self.link = Link(client.path)
        self.link.connect()
        client.reached = True
        self.link.ask("wait", "wait", {"select": chosen, "until": until})
        self.link.ask("events", "events", {"select": chosen, "tail": 20, "follow": True})

    def look(self) -> None:
        """Asks how the workers are, if something happened since, and not too often."""
        if self._news and not self.link.asked("status") and time.monotonic() - self._looked >= _OFTEN:
            self._news, self._looked = False, time.monotonic()
            self.link.ask("status", "status", {"select": self._chosen})

    def hear(self, patience: float) -> None:
        """Takes what comes within so many seconds."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN | (select.POLLOUT if self.link.unsent else 0))
        if self._news:
            patience = min(patience, _OFTEN)
        if not poll.poll(patience * 1000):
            return
        self.link.flush()
        for tag, kind, value in self.link.receive():
            self._client.received += 1
            if tag == "wait":
                self._take(kind, value)
            elif tag == "status" and kind == RESULT:
                self.done, self.total = sum(map(self._there, value)), len(value)
            elif tag == "events" and kind == ITEM:
                self._news = True
                if value["kind"] == "pull" and value["at"] >= self._began - _BACK:
                    self.note = value["text"]

    def _take(self, kind: str, value: Any) -> None:
        if kind == ERROR:
            from rdagentctl.client import raise_error

            raise_error({"error": value})
        self.rows = value

    def _there(self, row: dict[str, Any]) -> bool:
        at_rest = row["state"] not in (*LIVE, "queued") and row["due_in"] is None
        return at_rest or (self._until in REACHED and REACHED[self._until](row))
