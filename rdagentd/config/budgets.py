"""Budgets as people write them: cost_usd = 0.5, run_time = "8h", log_bytes = "1G"."""

from __future__ import annotations

import re
from typing import Any

from rdagentd.config.kinds import Kind, duration, size, whole
from rdagentd.config.problems import refused, show, wrong_type
from rdagentd.config.resources import optional
from rdagentd.config.section import Conflict, Section, named
from rdagentd.model.budgets import Budget, Budgets, Flow, SharedBudgets
from rdagentd.model.spec import Spec

_MOST_DOLLARS = 1_000_000
_DOLLARS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?")


def _dollars(value: Any) -> float:
    if type(value) is str and _DOLLARS.fullmatch(value):
        value = float(value)
    if type(value) is str:
        raise refused(f"{show(value)} is not a number of US dollars", "write 0.50", value)
    if type(value) is not int and type(value) is not float:
        raise wrong_type("a number of US dollars", value)
    if not 0 <= value <= _MOST_DOLLARS:  # false for NaN too
        raise refused(f"{show(value)} is out of range", f"0 to {_MOST_DOLLARS}", value)
    return float(value) + 0.0


_COUNT = optional(whole(0, 10**15))
_ZERO = "0: none is to be spent, and none need be reported."
_FLOW: dict[str, tuple[Kind | Section, str]] = {
    "cost_usd": (optional(Kind("number of US dollars", _dollars)), f"US dollars, as reported. {_ZERO}"),
    "tokens": (_COUNT, f"Tokens of models, as reported. {_ZERO}"),
    "iterations": (_COUNT, f"Iterations, as reported: the next one is not begun. {_ZERO}"),
    "run_time": (duration(unlimited=True, zero=False), "Time of running, pauses not counted."),
    "log_bytes": (optional(size(1)), "Output of all streams, whether it is still kept or not."),
}
_BUDGET: dict[str, tuple[Kind | Section, str]] = {
    **_FLOW,
    "disk": (optional(size(1 << 20)), "What its `state` and `cache` directories may hold together."),
}
_HINTS = {
    "cost": "did you mean cost_usd?",
    "usd": "did you mean cost_usd?",
    "iteration": "did you mean iterations?",
    "loops": "did you mean iterations?",
    "time": "did you mean run_time?",
    "log": "did you mean log_bytes?",
}

BUDGETS = Section(
    Budgets,
    {
        **_BUDGET,
        "run": (
            Section(Flow, _FLOW, hints={**_HINTS, "disk": "a run has none of its own; did you mean budgets.disk?"}),
            "The same for each single run.",
        ),
        "within": (
            duration(zero=False),
            "A run that has not reported what one of its budgets is for after so long is stopped: `over_budget`.",
        ),
    },
    hints=_HINTS,
)

_NO_DISK = {**_HINTS, "disk": "a day has none of its own; give it to workers, groups or owners"}

SHARED_BUDGETS = Section(
    SharedBudgets,
    {
        "group": (named(Section(Budget, _BUDGET, hints=_HINTS)), "What all workers of a group may spend, by its name."),
        "owner": (
            named(Section(Budget, _BUDGET, hints=_HINTS)),
            "What all workers of a person may spend, by name or number of the user.",
        ),
        "day": (Section(Flow, _FLOW, hints=_NO_DISK), "What all workers may spend from 00:00 to 24:00 UTC."),
    },
    hints={"groups": "did you mean group?", "owners": "did you mean owner?", "user": "did you mean owner?"},
)


def _unmeasured(spec: Spec) -> str:
    nothing = spec.state is None and spec.cache is None
    return "needs `state` or `cache`: what else it writes is not measured" if spec.budgets.disk and nothing else ""


DISK_CONFLICT = Conflict("budgets.disk", ("budgets", "state", "cache"), _unmeasured)
"""What is wrong with a whole spec because of them."""
