"""When a run is stalled, as people write it."""

from __future__ import annotations

from typing import Any

from rdagentd.config.kinds import Kind, choice, duration, each
from rdagentd.config.problems import refused
from rdagentd.config.section import Section
from rdagentd.model.stall import Action, Signal, Stall

_EACH = each(choice(Signal), len(Signal))


def _signals(value: Any) -> tuple[Signal, ...]:
    chosen = _EACH.parse(value)
    if not chosen:
        raise refused("names none", f"one or more of {', '.join(Signal)}")
    return tuple(signal for signal in Signal if signal in chosen)


STALL = Section(
    Stall,
    {
        "after": (
            duration(zero=False),
            "Without any of the signals for so long, pauses not counted, a run is stalled.",
        ),
        "signals": (
            Kind(_EACH.says, _signals),
            "What shows that it gets on: output, a report that tells something new, a checkpoint, CPU time (1 % of a CPU).",
        ),
        "action": (
            choice(Action),
            "What follows the warning: `restart` and `stop` end the run as `stalled`, and only the first has another follow.",
        ),
    },
    hints={"timeout": "did you mean after?", "on_stall": "did you mean action?"},
    optional=True,
)
