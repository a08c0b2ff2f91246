"""Requests and durations are counted once each, in the right bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdagentd.supervisor.families import histogram
from rdagentd.supervisor.traffic import BUCKETS, Durations, Traffic


@given(st.lists(st.floats(0, 100) | st.sampled_from(BUCKETS)))
def test_a_histogram_tells_how_many_took_no_longer_than_each_bound(seconds: list[float]) -> None:
    durations = Durations()
    for one in seconds:
        durations.add(one)
    told = histogram(durations)
    assert [bound for bound, _ in told["buckets"]] == [*map(str, BUCKETS), "+Inf"]
    for bound, count in told["buckets"]:
        assert count == sum(one <= float(bound) for one in seconds)
    assert told["sum"] == sum(seconds)


def test_errors_of_the_daemon_are_told_before_the_first() -> None:
    traffic = Traffic()
    traffic.expect(["ping"])
    assert traffic.requests == {("ping", "ok"): 0, ("ping", "unavailable"): 0, ("ping", "internal"): 0}
    traffic.answered("ping", "ok", 0.25)
    traffic.answered("wait", "ok", None)
    assert traffic.requests["ping", "ok"] == traffic.requests["wait", "ok"] == 1
    assert list(traffic.durations) == ["ping"] and traffic.durations["ping"].total == 0.25
