"""How a run that lives is by its health checks, in sentences: what is known, and what the last probe came to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rdagentd.config.units import format_duration
from rdagentd.model.health import Check, Health, Probe
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.probes import Answer

Answers = Mapping[Check, Sequence[Answer]]


def how_it_is(worker: Worker, answers: Answers) -> list[str]:
    """A sentence for each check of a run that runs. answers: since the daemon began, the newest last."""
    health = worker.spec.health
    if health is None or worker.state is not State.RUNNING:
        return []
    asked = [(check, probe) for check in Check if (probe := health.probe(check)) is not None]
    return [_sentence(worker, check, probe, answers.get(check, ())) for check, probe in asked]


def _sentence(worker: Worker, check: Check, probe: Probe, answers: Sequence[Answer]) -> str:
    well = worker.found_ready if check is Check.READY else worker.health is Health.HEALTHY
    head = _HEADS[check, well] if check is Check.READY or well else _NOT[worker.health]
    failures = worker.unready if check is Check.READY else worker.failures
    if not answers:
        kept = f": {worker.ailment}" if worker.ailment and check is Check.HEALTH else ""
        return f"{head}{kept}; this daemon has not asked it yet."
    last = answers[-1]
    ago = f"{format_duration(max(0, round(time.time() - last.at)))} ago"
    if last.ok is None:
        return f"{head}; it could not be asked {ago}: {last.text}."
    count = f" ({failures} of {probe.retries} failures in a row)" if failures else ""
    but = ", but its last check failed" if well and not last.ok else ""
    return f"{head}{but}: {last.text}, {ago}{count}."


_HEADS = {
    (Check.HEALTH, True): "It is healthy",
    (Check.READY, True): "It is ready",
    (Check.READY, False): "It is not ready",
}
_NOT = {
    Health.NONE: "Nothing is known of its health",
    Health.STARTING: "It has not been healthy yet",
    Health.UNHEALTHY: "It is unhealthy",
}


def check_rows(answers: Answers) -> dict[str, list[dict[str, Any]]]:
    """The answers as plain data, by check."""
    return {
        check.value: [{"at": one.at, "ok": one.ok, "text": one.text} for one in told]
        for check, told in answers.items()
    }  # fmt: skip
