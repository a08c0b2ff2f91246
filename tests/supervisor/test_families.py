"""The table of metrics: names by Prometheus' conventions, and what each tells of a worker."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.config.metrics import WorkerFamily
from rdagentd.model.measures import Measures, Spent
from rdagentd.model.run import Exit, ExitKind, Run, Usage
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.families import EACH, FAMILIES, OF_WORKERS, Family, Kind, One, head
from rdagentd.supervisor.iterations import BOUNDS
from rdagentd.supervisor.traffic import Durations
from tests.supervisor.values import workers

COUNTED = {
    "user": 1.5, "system": 0.25, "memory": 1000, "memory_peak": 3000, "tasks": 4, "tasks_peak": 5, "throttled": None,
    "forks_refused": 0, "read": 70, "written": None, "log": {"out": 150}, "active": 60.0,
}  # fmt: skip
PROMISED = {"cpu_usage_percent", "memory_usage_percent", "disk_usage_percent"}
"""Without our prefix: the guides of the agent systems have them so."""


def told(one: One) -> dict[str, Any]:
    """The values of a worker by the name of the family, without the prefix; by the family's own label where it has one."""
    found: dict[str, Any] = {}
    for family in OF_WORKERS:
        for labels, value in family.samples([(("w", "default"), one)]):
            assert labels[:2] == ("w", "default")
            found[" ".join((family.name.removeprefix("rdagentd_worker_"), *labels[2:]))] = value
    return found


def worker(state: State, run: Run | None = None, **fields: Any) -> Worker:
    return Worker("w", Spec("w", ("true",)), 0, state=state, run=run, **fields)


def test_names_are_unique_and_tell_the_kind() -> None:
    table: tuple[Family[Any], ...] = (*FAMILIES, *OF_WORKERS)
    names = [family.name for family in table]
    assert len(set(names)) == len(names)
    for family in table:
        assert re.fullmatch(r"rdagentd_[a-z][a-z_]*|ralph_[a-z_]*", family.name) or family.name in PROMISED
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER), family.name
        assert family.name.endswith("_info") == (family.kind is Kind.INFO), family.name
        assert "le" not in family.labels and family.help.endswith((".", "]."))
        assert not re.search(r"milli|kilo|_ms\b|_mb\b", family.name), "base units"


def test_all_that_can_be_left_out_is_there_and_all_of_workers_can_be_left_out() -> None:
    assert [family.name for family in OF_WORKERS] == list(WorkerFamily)
    assert head(OF_WORKERS[0], EACH)["labels"] == ("worker", "group", "state")


def test_a_run_that_lives_is_told_as_it_was_last_found() -> None:
    run = Run("r", "w", 1, pid=7, started_at=50.0, log_start={"out": 100})
    one = One(worker(State.RUNNING, run, restarts=3), {"code": 2}, COUNTED, {"state": 9, "cache": 8})
    assert told(one) == {
        "state running": 1, "restarts_total": 3, "exits_total code": 2, "run_start_time_seconds": 50.0,
        "cpu_seconds_total": 1.75, "memory_bytes": 1000, "memory_peak_bytes": 3000, "tasks": 4,
        "io_read_bytes_total": 70, "log_bytes_total": 50, "disk_bytes state": 9, "disk_bytes cache": 8,
        "last_activity_timestamp_seconds": 60.0,
    }  # fmt: skip


def test_a_run_that_nobody_was_asked_about_yet_has_only_what_is_known() -> None:
    run = Run("r", "w", 1, pid=7, started_at=50.0)
    assert told(One(worker(State.RUNNING, run), {}, {}, {})) == {
        "state running": 1, "restarts_total": 0, "run_start_time_seconds": 50.0,
    }  # fmt: skip


def test_silence_counts_from_the_start_of_the_run() -> None:
    """What the log held before belongs to another run."""
    run = Run("r", "w", 1, pid=7, started_at=90.0)
    assert told(One(worker(State.RUNNING, run), {}, COUNTED, {}))["last_activity_timestamp_seconds"] == 90.0
    container = {key: value for key, value in COUNTED.items() if key != "active"}
    assert "last_activity_timestamp_seconds" not in told(One(worker(State.RUNNING, run), {}, container, {}))


def test_what_a_run_used_stays_until_the_next_one_begins() -> None:
    usage = Usage(2.0, 1.0, 4096, memory_peak=3000, tasks_peak=5, read=70, written=80)
    run = Run(
        "r", "w", 1, pid=7, started_at=50.0, exit=Exit(ExitKind.CODE, code=0), usage=usage,
        log_start={"out": 100}, log_end={"out": 160},
    )  # fmt: skip
    assert told(One(worker(State.COMPLETED, run), {}, {}, {})) == {
        "state completed": 1, "restarts_total": 0, "cpu_seconds_total": 3.0, "memory_peak_bytes": 3000,
        "io_read_bytes_total": 70, "io_written_bytes_total": 80, "log_bytes_total": 60,
    }  # fmt: skip


def test_a_worker_that_never_ran() -> None:
    assert told(One(worker(State.STOPPED), {}, {}, {})) == {"state stopped": 1, "restarts_total": 0}


@settings(deadline=None)
@given(workers(), st.sampled_from([{}, COUNTED]), st.dictionaries(st.sampled_from(["code", "lost"]), st.integers(0)))
def test_every_sample_of_any_worker_has_its_labels_and_a_number(
    any_worker: Worker, counted: dict[str, Any], exits: dict[str, int]
) -> None:
    for family in OF_WORKERS:
        seen = set()
        for labels, value in family.samples([(("w", "g"), One(any_worker, exits, counted, {"state": 1}))]):
            assert len(labels) == 2 + len(family.labels) and all(type(label) in (str, State) for label in labels)
            assert type(value) in (int, float) and labels not in seen
            seen.add(labels)


def test_what_a_run_tells_of_itself_is_told_with_what_those_before_it_came_to() -> None:
    measures = Measures(progress=0.5, iteration=3, tokens=10, cost_usd=0.5, custom={"accuracy": 0.75})
    live = Run("r", "w", 1, started_at=50.0, measures=measures)
    found = told(One(worker(State.RUNNING, live, spent=Spent(tokens=5, cost_usd=1.0, iterations=7)), {}, {}, {}))
    assert (found["progress_ratio"], found["iterations_total"], found["tokens_total"]) == (0.5, 10, 15)
    assert (found["cost_usd_total"], found["measure accuracy"]) == (1.5, 0.75)
    assert not {name for name in found if name.startswith(("errors", "ralph"))}, "never told, and no worker of Ralph's"


def test_workers_of_ralph_are_told_by_its_own_names_too() -> None:
    durations = Durations(BOUNDS)
    durations.add(7.0)
    ralph = Worker(
        "w", Spec("w", ("ralph",), labels={"profile": "ralph2"}), 0, state=State.RUNNING, launched=100.0,
        run=Run("r", "w", 1, measures=Measures(iteration=3, errors=1)), spent=Spent(iterations=2, run_time=10.0),
    )  # fmt: skip
    found = told(One(ralph, {}, {}, {}, durations, now=105.0))
    assert (found["ralph_iterations_total"], found["ralph_errors_total"], found["ralph_runtime_seconds"]) == (
        5,
        1,
        15.0,
    )
    took = found["ralph_iteration_duration_seconds"]
    assert took["sum"] == 7.0 and took["buckets"][1:3] == [["5.0", 0], ["10.0", 1]]
