"""How long iterations took: each counts once."""

from __future__ import annotations

from attrs import evolve

from rdagentd.model.measures import Measures
from rdagentd.model.run import Exit, ExitKind, Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.iterations import Iterations

SPEC = Spec("w", ("ralph",), labels={"profile": "ralph"})


def at(iteration: int | None, run: str = "r1", over: bool = False) -> Worker:
    ended = Exit(ExitKind.CODE, 0) if over else None
    return Worker(
        "w", SPEC, 0, state=State.RUNNING, run=Run(run, "w", 1, exit=ended, measures=Measures(iteration=iteration))
    )


def taken(*seen: tuple[Worker, float]) -> tuple[float, int]:
    """Seconds of all, and how many."""
    iterations = Iterations()
    for worker, now in seen:
        iterations.saved(worker, now)
    found = iterations.durations.get("w")
    return (found.total, sum(found.counts)) if found else (0.0, 0)


def test_an_iteration_lasts_until_the_next_one_or_the_end() -> None:
    assert taken((at(1), 10), (at(2), 15), (at(2, over=True), 22)) == (12, 2)


def test_telling_again_and_other_news_of_the_worker_count_nothing() -> None:
    assert taken((at(1), 10), (at(1), 12), (at(2), 15), (at(2), 16)) == (5, 1)


def test_iterations_that_nobody_told_of_share_the_time() -> None:
    assert taken((at(1), 10), (at(4), 25)) == (15, 3)


def test_a_new_run_begins_anew() -> None:
    assert taken((at(3), 10), (at(3, over=True), 11), (at(1, "r2"), 100), (at(2, "r2"), 101)) == (2, 2)
    assert taken((at(3), 10), (at(1, "r2"), 100), (at(2, "r2"), 101)) == (1, 1)


def test_workers_of_other_profiles_are_not_looked_at() -> None:
    other = evolve(at(1), spec=evolve(SPEC, labels={}))
    assert taken((other, 10), (evolve(at(2), spec=other.spec), 15)) == (0.0, 0)
