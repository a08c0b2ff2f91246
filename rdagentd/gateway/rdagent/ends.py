"""What is told when a worker has come to rest: RD-Agent's END message."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rdagentd.gateway.rdagent.journal import END

AT_REST = ("stopped", "completed", "failed")

_STOPPED = {"error_msg": "RD-Agent process was stopped by user.", "end_code": -1}
_REMOVED = {"error_msg": "RD-Agent process was removed.", "end_code": -1}
_COMPLETED = "RD-Agent process has completed."


def is_at_rest(row: Mapping[str, Any]) -> bool:
    """Whether nothing follows unless somebody asks for it; a restart by policy is to come while it is in backoff."""
    return row["state"] in AT_REST and row["due_in"] is None


def end_of(row: Mapping[str, Any] | None, now: float) -> dict[str, Any] | None:
    """The message for a worker that is at rest, or is gone (None); None for one that is not, or never ran.

    Its time is that of the end of the run, so that two messages about the same end are alike.
    """
    if row is None:
        return _message(now, _REMOVED)
    reason = (row["reason"] or {}).get("code")
    if not is_at_rest(row) or reason == "submitted":
        return None
    ended_at = row["run"] and row["run"]["ended_at"]
    return _message(now if ended_at is None else ended_at, _STOPPED if reason == "stopped" else _content(row["exit"]))


def _message(at: float, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"tag": END, "timestamp": datetime.fromtimestamp(at, UTC).isoformat(), "content": dict(content)}


def _content(ended: Mapping[str, Any] | None) -> dict[str, Any]:
    """What multiprocessing.Process.exitcode would be: the code, or the signal's number below zero; 1 where there is neither."""
    if ended is None:
        return {"error_msg": "RD-Agent process was never started.", "end_code": 1}
    if ended["kind"] == "code":
        return {"error_msg": _COMPLETED, "end_code": ended["code"]}
    name = ended["signal"]
    code = -int(signal.Signals[name]) if name in signal.Signals.__members__ else ended["code"]
    return {"error_msg": f"RD-Agent process has ended: {ended['reason']}.", "end_code": 1 if code is None else code}
