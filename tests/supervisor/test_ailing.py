"""How a run is by its checks, in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.model.health import Check, Health, HealthCheck, Probe
from rdagentd.model.run import Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor import ailing
from rdagentd.supervisor.ailing import how_it_is
from rdagentd.supervisor.probes import Answer

OK = "HTTP 200"
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ailing.time, "time", lambda: NOW)


def told(*answers: Answer, state: State = State.RUNNING, **fields: Any) -> list[str]:
    spec = Spec("w", ("x",), health=HealthCheck(tcp="127.0.0.1:1"))
    worker = Worker("w", spec, 0, state=state, run=Run("r", "w", 1), **fields)
    return how_it_is(worker, {Check.HEALTH: answers} if answers else {})


def ago(seconds: float, ok: bool | None, text: str) -> Answer:
    return Answer(NOW - seconds, ok, text)


@pytest.mark.parametrize(
    ("answer", "fields", "sentence"),
    [
        (ago(12, True, OK), {"health": Health.HEALTHY}, "It is healthy: HTTP 200, 12 s ago."),
        (ago(5, False, "no"), {"health": Health.STARTING}, "It has not been healthy yet: no, 5 s ago."),
        (ago(5, False, "no"), {"health": Health.HEALTHY, "failures": 1},
         "It is healthy, but its last check failed: no, 5 s ago (1 of 3 failures in a row)."),
        (ago(5, False, "no"), {"health": Health.UNHEALTHY, "failures": 3},
         "It is unhealthy: no, 5 s ago (3 of 3 failures in a row)."),
        (ago(5, None, "the executor cannot be reached"), {"health": Health.HEALTHY},
         "It is healthy; it could not be asked 5 s ago: the executor cannot be reached."),
    ],
)  # fmt: skip
def test_the_last_answer_is_told(answer: Answer, fields: dict[str, Any], sentence: str) -> None:
    assert told(ago(40, True, "an older one"), answer, **fields) == [sentence]


def test_a_new_daemon_tells_what_was_kept() -> None:
    assert told(health=Health.UNHEALTHY, failures=3, ailment="HTTP 503") == [
        "It is unhealthy: HTTP 503; this daemon has not asked it yet."
    ]
    assert told(health=Health.HEALTHY) == ["It is healthy; this daemon has not asked it yet."]


def test_only_of_a_run_that_runs() -> None:
    assert told(ago(1, True, OK), state=State.PAUSED, health=Health.HEALTHY) == []


def test_readiness_has_a_sentence_of_its_own() -> None:
    spec = Spec("w", ("x",), health=HealthCheck(tcp="127.0.0.1:1", ready=Probe(notify=True)))
    worker = Worker("w", spec, 0, state=State.RUNNING, run=Run("r", "w", 1), health=Health.HEALTHY, unready=2)
    answers = {Check.HEALTH: [ago(3, True, OK)], Check.READY: [ago(2, False, "it has not said READY=1")]}
    assert how_it_is(worker, answers) == [
        "It is healthy: HTTP 200, 3 s ago.",
        "It is not ready: it has not said READY=1, 2 s ago (2 of 3 failures in a row).",
    ]
