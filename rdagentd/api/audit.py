"""Who asked for what: each request for a change, allowed or refused, is a line of the event log, bounded against floods.

What a request changes is told besides by the stories of the workers that it changes, each with the uid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from rdagentd.api.peer import Peer
from rdagentd.core import events as ev
from rdagentd.supervisor.supervisor import Supervisor

WINDOW = 60.0
"""Seconds within which a line that repeats an earlier one of the same uid is counted instead of written."""

MOST_LINES = 300
"""Lines of one uid in a window; what goes beyond is counted too."""

MOST_UIDS = 1024
"""Uids of which lines are remembered at a time."""

_SHOWN = 8
"""Names in one line."""


@define(eq=False)
class _Window:
    """What one uid has asked lately."""

    lines: set[tuple[str, str]] = field(factory=set)
    dropped: int = 0


class Audit:
    """Writes the lines."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._windows: dict[int, _Window] = {}

    def asked(self, peer: Peer, op: str, names: Sequence[str] = (), **data: Any) -> None:
        """A change that is allowed, of these workers."""
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        what = " ".join((op, *names[:_SHOWN]))
        self._write(peer, None, "asked", f"asked by process {peer.pid}: {what}{more}", {"op": op, **data})

    def refused(self, peer: Peer, op: str, reason: str, worker: str | None = None) -> None:
        """A request that this person may not make."""
        known = worker if worker in self._supervisor.engine.workers else None
        self._write(peer, known, "refused", f"refused to process {peer.pid}: {reason}", {"op": op})

    def _write(self, peer: Peer, worker: str | None, kind: str, text: str, data: Mapping[str, Any]) -> None:
        window = self._windows.get(peer.uid)
        if window is None:
            if len(self._windows) >= MOST_UIDS:
                self._close(next(iter(self._windows)))
            window = self._windows[peer.uid] = _Window()
            asyncio.get_running_loop().call_later(WINDOW, self._close, peer.uid, window)
        # Whoever is refused may make as many processes as they like; what is allowed is told of each.
        line = (kind, text.partition(": ")[2] if kind == "refused" else text)
        if line in window.lines or len(window.lines) >= MOST_LINES:
            window.dropped += 1
            return
        window.lines.add(line)
        self._tell(ev.Noted(worker, kind, text, peer.uid, {"pid": peer.pid, **data}))

    def _close(self, uid: int, window: _Window | None = None) -> None:
        """Ends the window of a uid, and tells what was not written in it."""
        if window is not None and self._windows.get(uid) is not window:
            return
        closed = self._windows.pop(uid)
        if closed.dropped:
            text = f"{closed.dropped} more requests of uid {uid} within a minute were like those above, or too many to tell"
            self._tell(ev.Noted(None, "asked", text, uid, {"dropped": closed.dropped}))

    def _tell(self, event: ev.Noted) -> None:
        answer = self._supervisor.ask(event)  # not `post`: if it cannot be kept, nor can the change, and it is dropped
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
