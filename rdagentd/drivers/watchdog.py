"""How a run learns that it is to give signs of life; see sd_watchdog_enabled(3)."""

from __future__ import annotations

from rdagentd.model.spec import Spec


def watchdog_variables(spec: Spec) -> dict[str, str]:
    """Variables of the run. WATCHDOG_PID is not among them, so that any of its processes may give them."""
    return {} if spec.watchdog is None else {"WATCHDOG_USEC": str(round(spec.watchdog * 1e6))}
