"""Two samples make a rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdagentctl.top.rates import COUNTERS, Meter
from tests.rdagentctl.top.values import sample

RUNS = {"web": "r1"}


def told(**more: object) -> list[dict[str, object]]:
    return [{"name": "web", "usage": sample(**more)}]  # type: ignore[arg-type]


def test_the_difference_by_the_time_between() -> None:
    meter = Meter()
    meter.take(10.0, told(cpu=1.0, read=100, log=0), RUNS)
    assert meter.uses["web"].rates == dict.fromkeys(COUNTERS)
    meter.take(12.0, told(cpu=2.5, system=0.5, read=300, log=1000), RUNS)
    assert meter.uses["web"].rates == {"cpu": 1.0, "read": 100.0, "written": 0.0, "log": 500.0}


def test_another_run_begins_anew() -> None:
    meter = Meter()
    meter.take(10.0, told(cpu=100.0), RUNS)
    meter.take(11.0, told(cpu=0.5), {"web": "r2"})
    assert meter.uses["web"].rates["cpu"] is None
    meter.take(12.0, told(cpu=1.0), {"web": "r2"})
    assert meter.uses["web"].rates["cpu"] == 0.5


def test_what_nobody_counts_has_no_rate() -> None:
    meter = Meter()
    meter.take(10.0, told(user=None, read=None), RUNS)
    meter.take(11.0, told(user=1.0, read=5), RUNS)
    assert meter.uses["web"].rates == {"cpu": None, "read": None, "written": 0.0, "log": 0.0}


def test_samples_at_the_same_time_keep_what_was_known() -> None:
    meter = Meter()
    for at, cpu in ((10.0, 1.0), (11.0, 2.0), (11.001, 2.5)):
        meter.take(at, told(cpu=cpu), RUNS)
    assert meter.uses["web"].rates["cpu"] == 1.0
    meter.take(12.0, told(cpu=4.0), RUNS)
    assert meter.uses["web"].rates["cpu"] == 2.0


def test_workers_without_a_run_and_old_samples_are_forgotten() -> None:
    meter = Meter()
    meter.take(10.0, told(), {})
    assert meter.uses == {}
    meter.take(10.0, told(), RUNS)
    meter.forget(10.0)
    assert "web" in meter.uses
    meter.forget(10.5)
    assert meter.uses == {}


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(0, 1 << 40)), min_size=2, max_size=9))
def test_a_rate_is_never_negative_and_counts_all_that_grew(steps: list[tuple[float, int]]) -> None:
    meter, at, total = Meter(), 0.0, 0
    for took, grew in steps:
        at, total = at + took, total + grew
        meter.take(at, told(log=total), RUNS)
    took, grew = steps[-1]
    rate = meter.uses["web"].rates["log"]
    assert rate is not None
    assert abs(rate * took - grew) <= 1e-6 * max(1, grew) * max(1, at)
    meter.take(at + 1, told(log=0), RUNS)  # the sum over processes loses what ended
    assert meter.uses["web"].rates["log"] == 0.0
