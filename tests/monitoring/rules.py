"""The shipped alert rules as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ETC = Path(__file__).parents[2] / "etc"
RULES = ETC / "prometheus" / "rdagentd.rules.yml"

DOCUMENT: dict[str, Any] = yaml.safe_load(RULES.read_text())
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in DOCUMENT["groups"] for rule in group["rules"]}

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> int:
    """Prometheus' `5m` in seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]
