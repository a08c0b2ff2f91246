"""The breaker of a provider, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.core import circuits
from rdagentd.core.circuits import CLOSED
from rdagentd.model.measures import Measures
from rdagentd.model.provider import Circuit, Phase, Provider

P = Provider(errors=3, window=60.0, cooldown=120.0)
OPEN = Circuit(Phase.OPEN, due=120.0, why="3 errors within 60 s")
HALF = Circuit(Phase.HALF_OPEN, why="3 errors within 60 s")
TRIED = Circuit(Phase.HALF_OPEN, probe="w", why="3 errors within 60 s")
TRYING = Circuit(Phase.HALF_OPEN, due=60.0, probe="w", why="3 errors within 60 s")
AGAIN = Circuit(Phase.OPEN, due=120.0, why="w tried it and met errors")

ROWS: list[tuple[Circuit, Callable[[Circuit], Circuit], Circuit]] = [
    (CLOSED, lambda c: circuits.failed(c, P, 2, "w", 0.0), Circuit(errors=((0.0, 2),))),
    (CLOSED, lambda c: circuits.failed(c, P, 3, "w", 0.0), OPEN),
    (Circuit(errors=((-59.0, 2),)), lambda c: circuits.failed(c, P, 1, "w", 0.0), OPEN),
    (Circuit(errors=((-60.0, 2),)), lambda c: circuits.failed(c, P, 1, "w", 0.0), Circuit(errors=((0.0, 1),))),
    (OPEN, lambda c: circuits.failed(c, P, 9, "w", 0.0), OPEN),
    (HALF, lambda c: circuits.failed(c, P, 9, "w", 0.0), HALF),
    (TRYING, lambda c: circuits.failed(c, P, 1, "other", 0.0), TRYING),
    (TRYING, lambda c: circuits.failed(c, P, 1, "w", 0.0), AGAIN),
    (OPEN, circuits.came_due, HALF),
    (TRYING, circuits.came_due, CLOSED),
    (CLOSED, lambda c: circuits.tried(c, "w"), CLOSED),
    (OPEN, lambda c: circuits.tried(c, "w"), OPEN),
    (HALF, lambda c: circuits.tried(c, "w"), TRIED),
    (TRIED, lambda c: circuits.tried(c, "other"), TRIED),
    (TRIED, lambda c: circuits.runs(c, P, "w", 0.0), TRYING),
    (TRIED, lambda c: circuits.runs(c, P, "other", 0.0), TRIED),
    (TRYING, lambda c: circuits.rests(c, "w"), TRIED),
    (TRYING, lambda c: circuits.got_on(c, "w"), CLOSED),
    (TRYING, lambda c: circuits.got_on(c, "other"), TRYING),
    (TRYING, lambda c: circuits.ended(c, "w"), HALF),
    (TRYING, lambda c: circuits.ended(c, "other"), TRYING),
]


@pytest.mark.parametrize(("before", "step", "after"), ROWS)
def test_each_step_leads_there(before: Circuit, step: Callable[[Circuit], Circuit], after: Circuit) -> None:
    assert step(before) == after


@given(
    provider=st.builds(Provider, st.integers(1, 30), st.floats(1, 100), st.just(10.0)),
    told=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=60),
)
def test_it_opens_with_the_error_that_makes_them_so_many_within_the_window(
    provider: Provider, told: list[tuple[float, int]]
) -> None:
    """Give or take one piece of the window, in which errors are counted together."""
    circuit, now = CLOSED, 0.0
    past: list[tuple[float, int]] = []
    for wait, count in told:
        now += wait
        past.append((now, count))
        circuit = circuits.failed(circuit, provider, count, "w", now)
        within = sum(many for at, many in past if now - at < provider.window)
        surely = sum(many for at, many in past if now - at < provider.window * 63 / 64)
        if circuit.phase is Phase.OPEN:
            assert within >= provider.errors
            assert circuit.due == now + provider.cooldown
            return
        assert surely < provider.errors
        assert len(circuit.errors) <= 65


NEXT = "the next worker that needs it tries it"
OUT = "starts that need it wait, one worker tries it in 120 s"
STORIES = [
    (CLOSED, OPEN, "provider_open", f"provider x is out: 3 errors within 60 s; {OUT}"),
    (OPEN, HALF, "provider_half_open", f"provider x: the cool-down is over; {NEXT}"),
    (HALF, TRIED, "provider_tried", "provider x: w tries whether it answers again"),
    (TRYING, HALF, "provider_half_open", f"provider x: w has ended, and it is not known to answer; {NEXT}"),
    (TRYING, CLOSED, "provider_closed", "provider x answers again: w tried it; starts go on"),
    (TRYING, AGAIN, "provider_open", f"provider x is out: w tried it and met errors; {OUT}"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "kind", "text"), STORIES)
def test_each_step_is_told(before: Circuit, after: Circuit, kind: str, text: str) -> None:
    assert circuits.story("x", P, before, after) == (kind, text)


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        (Measures(), Measures(provider_errors=2), 2),
        (Measures(provider_errors=2), Measures(provider_errors=5), 3),
        (Measures(), Measures(custom={"provider_errors.x": 4.0}), 4),
        (Measures(), Measures(custom={"provider_errors.y": 4.0}), 0),
        (Measures(custom={"provider_errors.x": 4.0}), Measures(custom={"provider_errors.x": 1.0}), 0),
    ],
)
def test_errors_are_what_came_on_top(before: Measures, after: Measures, count: float) -> None:
    assert circuits.errors_of("x", before, after) == count


@pytest.mark.parametrize("sign", [{"progress": 0.1}, {"iteration": 1}, {"step": "a"}, {"tokens": 1}, {"cost_usd": 0.1}])
def test_these_say_that_a_run_gets_on(sign: dict[str, float]) -> None:
    assert circuits.is_further(Measures(), Measures(**sign))  # type: ignore[arg-type]
    assert not circuits.is_further(Measures(), Measures(errors=1, status="waits"))
