"""Points in time as people type them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from rdagentctl.failure import UsageError
from rdagentctl.parse import duration


def point(option: str, text: str | None) -> float | None:
    """Seconds since the epoch from "10m" (ago), "today", "yesterday", "14:30", an ISO time, "@1700000000".

    Without a zone it is local time. Raises UsageError.
    """
    if text is None:
        return None
    ago = duration(text)
    if ago is not None:
        return time.time() - ago
    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"today": midnight, "yesterday": midnight - timedelta(days=1), "now": datetime.now()}
    try:
        if text in named:
            return named[text].timestamp()
        if text.startswith("@"):
            return float(text[1:])
        if ":" in text and "-" not in text[:8]:
            text = f"{midnight.date().isoformat()}T{text}"
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"cannot read {option} {text}: a time is expected, such as 10m (ago), 14:30, today or 2026-01-31T14:30"
        ) from None
