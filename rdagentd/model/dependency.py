"""A dependency: what another worker must have come to before this one is started."""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """What is waited for. completed: whatever the result; healthy and ready: by the checks of that worker."""

    STARTED = "started"
    HEALTHY = "healthy"
    READY = "ready"
    COMPLETED = "completed"
    COMPLETED_SUCCESSFULLY = "completed_successfully"
