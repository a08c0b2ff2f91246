"""What came by a NOTIFY_SOCKET, as events."""

from __future__ import annotations

from rdagentd.core import events as ev
from rdagentd.supervisor.notices import events_of


def test_measures_are_reported_and_the_rest_is_for_the_lifecycle() -> None:
    fields = {
        "READY": "1", "STATUS": "thinking", "X_RDAGENT_PROGRESS": "0.5", "X_RDAGENT_COST_USD": "0.25",
        "X_RDAGENT_ACCURACY": "0.9", "X_RDAGENT_CHECKPOINT": "/w/1", "WATCHDOG": "1",
    }  # fmt: skip
    measured = {"status": "thinking", "progress": "0.5", "cost_usd": "0.25", "accuracy": "0.9"}
    rest = {"READY": "1", "X_RDAGENT_CHECKPOINT": "/w/1", "WATCHDOG": "1"}
    assert list(events_of("w", "r1", fields)) == [
        ev.Reported("w", "r1", measured, "notify"),
        ev.Notified("w", "r1", rest),
    ]


def test_nothing_is_made_of_nothing() -> None:
    assert list(events_of("w", "r1", {})) == []
    assert [type(event) for event in events_of("w", "r1", {"STATUS": "x"})] == [ev.Reported]
    assert [type(event) for event in events_of("w", "r1", {"X_RDAGENT_": "x"})] == [ev.Notified]
