"""The states."""

from __future__ import annotations

from rdagentd.model.worker import AT_REST, LIVE, State


def test_a_state_is_live_or_at_rest_or_waiting() -> None:
    assert not LIVE & AT_REST
    assert set(State) - LIVE - AT_REST == {State.QUEUED, State.BACKOFF}
