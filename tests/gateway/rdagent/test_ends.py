"""The END message for each way in which a worker comes to rest."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.gateway.rdagent.ends import end_of


def row(state: str, reason: str = "", ended: dict[str, Any] | None = None, due: float | None = None) -> dict[str, Any]:
    ended = ended and {"code": None, "signal": None, "reason": "it ended", **ended}
    run = {"ended_at": 1_000_000.0} if ended else None
    return {"state": state, "due_in": due, "reason": {"code": reason}, "run": run, "exit": ended}


@pytest.mark.parametrize(
    ("worker", "content"),
    [
        (row("completed", "completed", {"kind": "code", "code": 0}), ("RD-Agent process has completed.", 0)),
        (row("failed", "never_restarted", {"kind": "code", "code": 3}), ("RD-Agent process has completed.", 3)),
        (row("stopped", "stopped", {"kind": "code", "code": 130}), ("RD-Agent process was stopped by user.", -1)),
        (row("stopped", "stopped"), ("RD-Agent process was stopped by user.", -1)),
        (row("failed", "", {"kind": "signal", "signal": "SIGKILL"}), ("RD-Agent process has ended: it ended.", -9)),
        (
            row("failed", "", {"kind": "out_of_memory", "signal": "SIGKILL"}),
            ("RD-Agent process has ended: it ended.", -9),
        ),
        (row("failed", "", {"kind": "timed_out", "code": 130}), ("RD-Agent process has ended: it ended.", 130)),
        (row("failed", "", {"kind": "could_not_start"}), ("RD-Agent process has ended: it ended.", 1)),
        (row("failed", "", {"kind": "lost"}), ("RD-Agent process has ended: it ended.", 1)),
        (row("failed", "driver"), ("RD-Agent process was never started.", 1)),
        (None, ("RD-Agent process was removed.", -1)),
    ],
)
def test_what_is_at_rest_has_an_end(worker: dict[str, Any] | None, content: tuple[str, int]) -> None:
    message = end_of(worker, 2_000_000.0)
    assert message is not None and message["tag"] == "END"
    assert message["content"] == {"error_msg": content[0], "end_code": content[1]}
    had_run = worker is not None and worker["run"] is not None
    assert message["timestamp"] == ("1970-01-12T13:46:40+00:00" if had_run else "1970-01-24T03:33:20+00:00")


@pytest.mark.parametrize(
    "worker",
    [
        *(row(state) for state in ("queued", "starting", "running", "paused", "stopping", "backoff")),
        row("failed", "breaker_open", {"kind": "code", "code": 1}, due=60.0),
        row("stopped", "submitted"),
    ],
)
def test_what_goes_on_or_never_began_has_none(worker: dict[str, Any]) -> None:
    assert end_of(worker, 2_000_000.0) is None
